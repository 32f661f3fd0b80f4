"""200 MB flow into the workspace while a model's tokens stream and nobody reads the events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from langchain_sandbox.testing import ScriptedModel

MEGABYTES = 200

# In a process of its own, so that its memory can be told. The tokens are asked for by a client inside the container,
# from the moment that it runs; OpenCode gets its task when the files are there.
PROGRAM = r"""
import json, resource, subprocess, sys, time
from langchain_sandbox import Limits, Sandbox

CLIENT = '''
import http.client, json, time
for _ in range(100):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 4000)
        connection.request("POST", "/v1/chat/completions", json.dumps({"messages": [], "stream": True}))
        break
    except OSError:
        time.sleep(0.05)
response = connection.getresponse()
last, gap, tokens, first = time.monotonic(), 0.0, 0, time.monotonic()
while line := response.readline():
    if b"token" in line:
        tokens += 1
        gap, last = max(gap, time.monotonic() - last), time.monotonic()
print(json.dumps({"tokens": tokens, "gap": gap, "seconds": last - first}))
'''

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

sandbox = Sandbox(limits=Limits(workspace="1g"))
with sandbox.start("Look.", workspace=sys.argv[1]) as small:
    small.result()
before = peak()
handle = sandbox.start("Look.", workspace=sys.argv[2], timeout=200)
name = f"langchain-sandbox-{handle.run_id}"
while True:
    client = subprocess.run(["docker", "exec", name, "python3", "-c", CLIENT], capture_output=True, text=True)
    if client.returncode == 0:
        break
    if handle.done:
        sys.exit(handle.result().ending.message + client.stderr)
result = handle.result()  # not one event was read
print(json.dumps({"client": json.loads(client.stdout), "status": result.status, "ending": result.ending.message,
                  "grown": peak() - before, "timings": result.timings.model_dump(),
                  "events": sum(1 for _ in handle.events())}))
"""


def test_files_tokens_and_a_sleeping_reader(tmp_path: Path) -> None:
    big, small = tmp_path / "big", tmp_path / "small"
    big.mkdir(), small.mkdir()
    block = os.urandom(1024 * 1024)
    for number in range(MEGABYTES // 10):
        (big / f"{number}.bin").write_bytes(block * 10)

    def answer(messages: list) -> dict:
        if not messages:  # the client's
            return {"text": ["token "] * 100, "chunk_delay": 0.05}
        return {"text": ["word "] * 2000, "delay": 10.0}  # longer than the client's tokens take

    with ScriptedModel(answer) as model:
        environment = os.environ | {"SANDBOX_MODEL_BASE_URL": model.endpoint.base_url}
        command = [sys.executable, "-c", PROGRAM, str(small), str(big)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["status"] == "completed", seen
    assert seen["client"]["tokens"] == 100
    assert seen["client"]["gap"] < 2.0, seen  # the tokens never waited for the files
    assert seen["grown"] < 100, seen  # MiB: the files passed through, they were not kept
    assert seen["events"] < 1000, seen  # two thousand words that nobody read became a few texts
