"""The seed's way, without Python on the host: `TASK=... docker compose -f compose.headless.yml run --rm opencode`.

No host looks on here, so one program plays both parts: the container's PID 1 takes the snapshot, works like the
program of any other run, and makes the result and applies it by the very same rules. Only the model is elsewhere,
in the `gateway` service, which speaks the link over a unix socket. Standard library only, but for `gateway`, which
runs on Debian's httpx and anyio.
"""
