"""Package indexes for pip and npm as a company has them: HTTPS with a certificate of its own CA, and a password."""

from __future__ import annotations

import base64
import io
import ipaddress
import json
import ssl
import subprocess
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import docker


def make_wheel(name: str, version: str, code: str) -> bytes:
    """A wheel with one module."""
    information = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{information}/RECORD"] = "".join(f"{path},,\n" for path in files) + f"{information}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def make_package(name: str, version: str, files: dict[str, str]) -> bytes:
    """An npm package whose one program is `tiny.js`."""
    files = {"package.json": json.dumps({"name": name, "version": version, "bin": {"tiny": "tiny.js"}}), **files}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Who does not know the CA hangs up: that is one of the tests."""


class PackageIndex:
    """The index, where build containers reach it: at this host's address on the engine's bridge."""

    def __init__(self, folder: Path, client: docker.DockerClient, *, user: str, password: str) -> None:
        (configuration,) = client.networks.get("bridge").attrs["IPAM"]["Config"]
        network = ipaddress.ip_network(configuration["Subnet"])
        self.host = configuration.get("Gateway") or str(network[1])
        self.token = base64.b64encode(f"{user}:{unquote(password)}".encode()).decode()
        self._login = f"{user}:{password}"
        self._files: dict[str, bytes] = {}
        self.ca = folder / "ca.pem"
        self.served: list[str] = []
        _make_certificates(folder, self.host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        try:
            self._server = _QuietServer((self.host, 0), self._handler())
        except OSError as error:
            pytest.skip(f"the engine's bridge is not on this machine: {error}")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"https://{self._login}@{self.host}:{self._server.server_port}/simple"

    def add(self, name: str, content: bytes) -> None:
        project = name.partition("-")[0].replace("_", "-")
        self._files[f"/files/{name}"] = content
        self._files[f"/simple/{project}/"] = f'<a href="/files/{name}">{name}</a>'.encode()

    @property
    def npmrc(self) -> str:
        """What a user's `.npmrc` says about the scope @team."""
        place = f"//{self.host}:{self._server.server_port}/npm/"
        return f"@team:registry=https:{place}\n{place}:_authToken={self.token}\n"

    def add_npm(self, name: str, version: str, content: bytes) -> None:
        address = f"https://{self.host}:{self._server.server_port}/npm/files/{version}.tgz"
        release = {"name": name, "version": version, "bin": {"tiny": "tiny.js"}, "dist": {"tarball": address}}
        found = {"name": name, "dist-tags": {"latest": version}, "versions": {version: release}}
        self._files[f"/npm/{name.replace('/', '%2f')}"] = json.dumps(found).encode()
        self._files[f"/npm/files/{version}.tgz"] = content

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                allowed = self.headers.get("Authorization") in {f"Basic {index.token}", f"Bearer {index.token}"}
                content = index._files.get(self.path) if allowed else None
                self.send_response(200 if content is not None else 404 if allowed else 401)
                if content is not None:
                    index.served.append(self.path)
                    self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        return Handler


def _make_certificates(folder: Path, host: str) -> None:
    """A CA in ca.pem and a certificate of it in server.pem."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    (folder / "extensions").write_text(f"subjectAltName=IP:{host}\n")
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout")
    openssl("req", "-x509", *key, "ca.key", "-out", "ca.pem", "-subj", "/CN=Company CA", "-days", "2")
    openssl("req", *key, "server.key", "-out", "server.csr", "-subj", "/CN=index")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "server.pem", "-days", "2", "-extfile", "extensions"),
    )
