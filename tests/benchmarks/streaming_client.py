"""A client that times the first byte of streamed chat completions. It runs on the host and inside a container.

    streaming_client.py PORT          measure once for each line of standard input, and print the seconds
    streaming_client.py PORT COUNT    measure COUNT times, and after each say so to the server, as its turn

Standard library only: the container has nothing else.
"""

from __future__ import annotations

import http.client
import json
import sys
import time

MEASURE = "measure"
TURN = "turn "
_FILLER = "You are a coding agent. " * 1250  # the size of OpenCode's first request


def build_body(words: str) -> bytes:
    """A request whose last message is `words`."""
    messages = [{"role": "system", "content": _FILLER}, {"role": "user", "content": words}]
    return json.dumps({"model": "model", "stream": True, "messages": messages}).encode("ascii")


def time_first_byte(port: int, words: str) -> float:
    """Ask on a new connection, and return the seconds to the first byte of the answer's body."""
    body = build_body(words)
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/chat/completions", body=body, headers={"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read(1)
    took = time.perf_counter() - began
    rest = response.read()
    connection.close()
    if response.status != http.HTTPStatus.OK:
        sys.exit(f"{response.status}: {rest[:500]!r}")
    return took


def main() -> None:
    """Measure as the command line says."""
    port = int(sys.argv[1])
    if len(sys.argv) > 2:
        for _ in range(int(sys.argv[2])):
            time_first_byte(port, f"{TURN}{time_first_byte(port, MEASURE)}")
        return
    for _ in sys.stdin:
        sys.stdout.write(f"{time_first_byte(port, MEASURE)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
