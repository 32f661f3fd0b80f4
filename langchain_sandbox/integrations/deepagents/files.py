"""Files into the container and out of it, as commands: what is run for one file, and what its exit code says. Pure.

Docker's own way to copy files does not see the container's writable places, which are in memory. The scripts run in the
container, where paths mean what they mean there: no path of the host's is ever looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_sandbox.executions import CommandResult

# -I and -S: neither the workspace nor the environment can put code into these.
_PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")

_CODES = {21: "file_not_found", 22: "permission_denied", 23: "is_directory", 24: "invalid_path"}

# Opened without waiting: a pipe in the file's place must not hold us, and neither may a device be read for ever.
_OPEN = """
import errno, os, shutil, stat, sys
CODES = {
    errno.ENOENT: 21, errno.EACCES: 22, errno.EPERM: 22, errno.EROFS: 22, errno.EISDIR: 23,
    errno.ENOTDIR: 24, errno.ELOOP: 24, errno.ENAMETOOLONG: 24, errno.EINVAL: 24, errno.ENXIO: 24, errno.EEXIST: 24,
}
path = sys.argv[1]
def open_(flags):
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        sys.exit(23 if stat.S_ISDIR(mode) else 24)
    return descriptor
try:
"""

_CLOSE = """
except OSError as error:
    print(error.strerror)
    sys.exit(CODES.get(error.errno, 1))
"""

_DOWNLOAD = f"""{_OPEN}
    left = int(sys.argv[2]) + 1
    with open(open_(os.O_RDONLY), "rb") as file:
        while left and (piece := file.read(min(left, 1 << 20))):
            sys.stdout.buffer.write(piece)
            left -= len(piece)
        sys.stdout.flush()
{_CLOSE}"""

_UPLOAD = f"""{_OPEN}
    if os.path.isdir(path):
        sys.exit(23)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(open_(os.O_WRONLY | os.O_CREAT), "wb") as file:
        file.truncate(0)
        shutil.copyfileobj(sys.stdin.buffer, file)
{_CLOSE}"""


def build_download(path: str, *, limit: int) -> tuple[str, ...]:
    """The command that prints a file, or its beginning if it is too long: then one byte more than may be.

    Args:
        path: Where it is, absolute.
        limit: Bytes that it may have. Some have no end, or one that is far away.
    """
    return (*_PYTHON, _DOWNLOAD, path, str(limit))


def build_upload(path: str) -> tuple[str, ...]:
    """The command that writes its input into a file, and makes the folders above it.

    Args:
        path: Where it will be, absolute.
    """
    return (*_PYTHON, _UPLOAD, path)


def check_path(path: str) -> str | None:
    """What is wrong with a path before anything is run, as deepagents calls it."""
    bad = not path.startswith("/") or path.endswith("/") or "\0" in path
    return "invalid_path" if bad else None


def parse_failure(result: CommandResult) -> str | None:
    """What went wrong with a file, as deepagents calls it, or in words; `None` if nothing did.

    Args:
        result: How the command ended.
    """
    if result.timed_out:
        return f"it took longer than the {result.seconds:.0f} s that it may"
    if result.truncated:
        return f"the file has more than the {len(result.output)} bytes that may be downloaded"
    if result.ok:
        return None
    words = " ".join(result.text[-200:].split())
    return _CODES.get(result.exit_code) or words or f"the copy ended with {result.exit_code}"
