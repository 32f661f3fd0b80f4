"""A company's proxy: it tunnels HTTPS for whoever has the password."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import threading
from contextlib import suppress
from typing import Self


class ConnectProxy:
    """The proxy, at an address of this host that build containers reach."""

    def __init__(self, host: str, *, user: str, password: str) -> None:
        self.served: list[str] = []
        self._login = f"{user}:{password}"
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _, target, _ = self.rfile.readline().decode().split()
                headers = [line.decode().strip().lower() for line in iter(self.rfile.readline, b"\r\n")]
                token = base64.b64encode(proxy._login.encode()).decode()
                if f"proxy-authorization: basic {token}".lower() not in headers:
                    self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                    return
                proxy.served.append(target)
                address, _, port = target.rpartition(":")
                with socket.create_connection((address, int(port)), timeout=10) as upstream:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _relay(self.connection, upstream)

        self._server = socketserver.ThreadingTCPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{self._login}@{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Bytes both ways until either ends, gracefully or not."""
    with suppress(ConnectionError):
        _copy(one, other)


def _copy(one: socket.socket, other: socket.socket) -> None:
    while True:
        for end in select.select([one, other], [], [], 30)[0] or [None]:
            data = end.recv(65536) if end is not None else b""
            if not data:
                return
            (other if end is one else one).sendall(data)
