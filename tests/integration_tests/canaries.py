"""Programs that run in a sandbox: one leaves canaries wherever it can, the other looks for them and for anything else.

Only their texts are used here: a test gives them to the model as commands.
"""

from __future__ import annotations

CANARY = "kiwi-5417"

# What the second program needs of OpenCode's interface: the password is in the environment of every tool.
_ASK = """
import base64, json, os, urllib.request
def ask(path, body=None):
    words = base64.b64encode(b"opencode:" + os.environ.get("OPENCODE_SERVER_PASSWORD", "").encode()).decode()
    data = None if body is None else json.dumps(body).encode()
    head = {"Authorization": "Basic " + words, "Content-Type": "application/json"}
    request = urllib.request.Request("http://127.0.0.1:4096" + path, data, head)
    return json.load(urllib.request.urlopen(request, timeout=20))
"""

_PLANT = (
    _ASK
    + """
import ctypes, mmap, pathlib, subprocess, sys
canary, home, done = "ki" + "wi-5417", os.environ["HOME"], []
places = ["canary.txt", ".git/info/canary", "/tmp/canary", "/dev/shm/canary", "/var/tmp/canary", "/usr/local/bin/rg",
    "/usr/local/bin/git", "/run/ws/canary", "/etc/canary", "/opt/langchain-sandbox/canary"]
places += [f"{home}/{name}" for name in (".bashrc", ".profile", ".zshenv", ".local/bin/git", ".local/bin/rg",
    ".config/opencode/AGENTS.md", ".config/opencode/plugin/canary.js", ".local/share/opencode/auth.json",
    ".cache/opencode/bin/rg", ".cache/opencode/canary", ".gitconfig", ".config/git/config", "opencode.log")]
for place in places:
    try:
        path = pathlib.Path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"[user]\\n\\tname = {canary}\\n" if "config" in path.name else f"export CANARY={canary} # {canary}\\n"
        with path.open("a") as file:
            file.write(text)
        path.chmod(0o755)
        done.append(place)
    except OSError:
        pass
done.append(ask("/session", {"title": canary})["title"])
keeper = '''
import ctypes, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.shmget(0x6b697769, 4096, 0o1666)
libc.msgget(0x6b697769, 0o1666)
listeners = [socket.create_server(("127.0.0.1", port)) for port in (8123, 40001)]
watch = libc.inotify_init()
libc.inotify_add_watch(watch, b"/run/ws/repo", 0xfff)
time.sleep(600)
'''
subprocess.Popen([sys.executable, "-c", keeper, canary], start_new_session=True, stdin=-3, stdout=-3, stderr=-3)
print(json.dumps(done))
"""
)

_SEEK = (
    _ASK
    + """
import pathlib, re, subprocess
canary = b"ki" + b"wi-5417"
def read(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b""
def shape(path):
    return re.sub(r"\\.[0-9a-f]{16}-\\d+\\.so|[0-9a-f]{40}", "#", path)
found, files = [], []
for root in ("/run/home", "/run/ws", "/tmp", "/dev/shm", "/var/tmp", "/usr/local", "/etc", "/opt/langchain-sandbox"):
    for folder, _, names in os.walk(root):
        for name in names:
            path = f"{folder}/{name}"
            if not path.startswith(("/usr", "/etc", "/opt", "/run/ws/repo/.git/")):
                files.append(shape(path))
            if name != "opencode" and canary in read(path):
                found.append(path)
processes = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    words = read(f"/proc/{pid}/cmdline")
    processes.append(words.split(b"\\0")[0].decode())
    if canary in words + read(f"/proc/{pid}/environ"):
        found.append(f"process {pid}")
listening = sorted(int(line.split()[1].split(":")[1], 16) for line in read("/proc/net/tcp").decode().splitlines()[1:]
    if line.split()[3] == "0A")
print(json.dumps({
    "found": found,
    "files": sorted(files),
    "folders": sorted(shape(folder) for root in ("/run/home", "/tmp", "/dev/shm") for folder, _, _ in os.walk(root)),
    "processes": sorted(processes),
    "listening": listening,
    "ipc": [read(f"/proc/sysvipc/{kind}").count(b"\\n") for kind in ("shm", "msg", "sem")],
    "git": subprocess.run(["git", "config", "--list", "--show-origin"], capture_output=True, text=True).stdout,
    "status": subprocess.run(["git", "status", "--short"], capture_output=True, text=True).stdout,
    "log": subprocess.run(["git", "log", "--all", "--format=%s"], capture_output=True, text=True).stdout,
    "environment": sorted(name for name in os.environ),
    "titles": [each["title"] for each in ask("/session")],
    "agents": sorted(each["name"] for each in ask("/agent")),
}))
"""
)


def _as_command(program: str) -> str:
    return f"python3 - <<'THE_END'\n{program}\nTHE_END"


PLANT = _as_command(_PLANT)
SEEK = _as_command(_SEEK)
