"""What a build takes over from this host: its CA bundle, its proxies, and where pip and npm look for packages.

All of it belongs to the place where an image is built and none of it into the image. Proxies are build arguments
that the engine knows and does not record. The rest goes into files that only build stages see, and `derive`
removes those stages' images too.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_FOLDER = "/tmp/host"  # noqa: S108 - a build stage's, not ours

# pip's options about where packages come from, as its configuration files call them.
_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "no-index")
_PIP_SECTIONS = ("global", "install")  # the later one wins
# Of npm's configuration: registries, scopes' registries, and what authenticates at them.
_NPM_LINE = re.compile(r"\s*(?:@[\w.-]+:)?(?:registry|strict-ssl|always-auth)\s*=|\s*//[^=\s]+:[\w-]+\s*=")
_NPM_SECRET = re.compile(r":(?:_authToken|_auth|_password)\s*=\s*\"?([^\s\"]+)")
_NPM_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SCRIPT = f"""\
# The system's own CAs and this host's: a bundle that holds a company's CA alone must not shut out the others.
if [ -s {_FOLDER}/ca.crt ]; then
  cat /etc/ssl/certs/ca-certificates.crt {_FOLDER}/ca.crt > {_FOLDER}/bundle.crt
  export PIP_CERT={_FOLDER}/bundle.crt NODE_EXTRA_CA_CERTS={_FOLDER}/bundle.crt GIT_SSL_CAINFO={_FOLDER}/bundle.crt
fi
if [ -s {_FOLDER}/npmrc ]; then export NPM_CONFIG_USERCONFIG={_FOLDER}/npmrc; fi
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What `read_host_settings` found.

    Args:
        ca: The CA bundle in PEM, or nothing.
        proxies: Build arguments, under the upper and the lower case name that programs look for.
        pip: Environment variables for pip.
        npmrc: Lines for npm's configuration file.
        notes: What was left out and why, for the user.
    """

    ca: bytes = b""
    proxies: Mapping[str, str] = field(default_factory=dict)
    pip: Mapping[str, str] = field(default_factory=dict)
    npmrc: str = ""
    notes: tuple[str, ...] = ()

    def files(self) -> dict[str, bytes]:
        """Files for the build context's `host/`; a step begins with `. /tmp/host/environment`."""
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self.pip.items()))
        return {
            "host/ca.crt": self.ca,
            "host/environment": (_SCRIPT + exports).encode(),
            "host/npmrc": self.npmrc.encode(),
        }

    def secrets(self) -> set[str]:
        """Passwords and tokens among the settings, in every spelling that a program may print."""
        found = set(_NPM_SECRET.findall(self.npmrc))
        for text in (*self.pip.values(), *self.proxies.values(), self.npmrc):
            found |= find_passwords(text)
        return found


def read_host_settings(environ: Mapping[str, str] | None = None, *, home: Path | None = None) -> HostSettings:
    """Read what this host's pip, npm and HTTPS clients are told.

    Args:
        environ: Where to read variables; the process environment by default.
        home: Where the user's configuration files are; the user's home by default.

    Example:
        ```python
        read_host_settings({"PIP_INDEX_URL": "https://packages.example/simple"}).pip
        ```
    """
    environ = os.environ if environ is None else environ
    home = Path.home() if home is None else home
    options = _pip_options(_pip_files(environ, home)) | _pip_variables(environ)
    pip, notes = _reachable(options)
    return HostSettings(
        ca=read_ca(environ),
        proxies=read_proxies(environ),
        pip=pip,
        npmrc=_npm_lines(environ, home),
        notes=tuple(notes),
    )


def read_ca(environ: Mapping[str, str]) -> bytes:
    """The CA bundle of the first variable that names a readable one; else nothing."""
    for variable in CA_VARIABLES:
        try:
            content = Path(environ[variable]).read_bytes()
        except (KeyError, OSError):
            continue
        if content:
            return content
    return b""


def read_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxies that are set. Under both names each: apt looks for the lower case alone, people set the upper."""
    found: dict[str, str] = {}
    for upper in _PROXY_VARIABLES:
        lower = upper.lower()
        value = environ.get(lower) or environ.get(upper)
        if value:
            found |= {upper: environ.get(upper) or value, lower: value}
    return found


def npm_registry(environ: Mapping[str, str] | None = None, *, home: Path | None = None) -> str | None:
    """Address of the npm registry that this host uses, if it is one that needs no password."""
    environ = os.environ if environ is None else environ
    for line in reversed(_npm_lines(environ, Path.home() if home is None else home).splitlines()):
        name, _, value = (part.strip() for part in line.partition("="))
        if name == "registry" and not find_passwords(value):
            return value
    return None


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without these."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text


def find_passwords(text: str) -> set[str]:
    """What logs in, of the addresses in a text, as it is written and as it is meant."""
    found: set[str] = set()
    for word in text.split():
        try:
            parts = urlsplit(word.rpartition("=")[2] if "=" in word.partition("://")[0] else word)
            secret = parts.password or parts.username  # a token often stands alone
        except ValueError:
            continue
        if secret:
            found |= {secret, unquote(secret)}
    return found


def _pip_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """The configuration files of pip, as pip reads them; what a later one says wins."""
    if environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        *(Path(folder) / "pip/pip.conf" for folder in reversed(shared.split(os.pathsep))),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        home / "Library/Application Support/pip/pip.conf",
        config / "pip/pip.conf",
        Path(environ.get("VIRTUAL_ENV") or sys.prefix) / "pip.conf",
    ]
    return [*files, *(Path(name) for name in (environ.get("PIP_CONFIG_FILE"),) if name)]


def _pip_options(files: Iterable[Path]) -> dict[str, str]:
    options: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, configparser.Error):
            continue
        for section in _PIP_SECTIONS:
            for name, value in parser.items(section) if parser.has_section(section) else ():
                if name.replace("_", "-") in _PIP_OPTIONS and value:
                    options[name.replace("_", "-")] = value
    return options


def _pip_variables(environ: Mapping[str, str]) -> dict[str, str]:
    names = {option: "PIP_" + option.upper().replace("-", "_") for option in _PIP_OPTIONS}
    return {option: environ[name] for option, name in names.items() if environ.get(name)}


def _reachable(options: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Variables for pip in a build, without the folders of this machine, which a build does not have."""
    variables, notes = {}, []
    for option, value in options.items():
        kept = []
        for part in value.split():
            if option.endswith("index-url") and not part.startswith(("http://", "https://")):
                notes.append(f"pip's {option} {part} is a folder of this machine, which a build does not see: left out")
            else:
                kept.append(part)
        if kept:
            variables["PIP_" + option.upper().replace("-", "_")] = " ".join(kept)
    return variables, notes


def _npm_lines(environ: Mapping[str, str], home: Path) -> str:
    named = environ.get("NPM_CONFIG_USERCONFIG") or environ.get("npm_config_userconfig")
    try:
        text = Path(named or home / ".npmrc").read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    lines = [line.strip() for line in text.splitlines() if _NPM_LINE.match(line)]
    registry = environ.get("npm_config_registry") or environ.get("NPM_CONFIG_REGISTRY")
    if registry:
        lines.append(f"registry={registry}")
    # npm fills in variables when it reads the file; a build has none of them.
    filled = (_NPM_VARIABLE.sub(lambda found: environ.get(found[1], found[0]), line) for line in lines)
    return "".join(f"{line}\n" for line in filled)
