"""What a build takes over from this host: proxies, CA, and where pip and npm look for packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from langchain_sandbox.engine.images.host_settings import (
    HostSettings,
    find_passwords,
    npm_registry,
    read_host_settings,
    read_proxies,
    redact,
)


def read(home: Path, **environ: str) -> HostSettings:
    # This machine's own pip.conf must not decide a test; an empty one of our own is last, and says nothing.
    return read_host_settings({"PIP_CONFIG_FILE": "/dev/null", **environ}, home=home)


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_proxies_are_set_under_both_names() -> None:
    environ = {"HTTPS_PROXY": "http://a:1", "http_proxy": "http://b:2", "NO_PROXY": "", "no_proxy": "x"}
    assert read_proxies(environ) == {
        "HTTPS_PROXY": "http://a:1",
        "https_proxy": "http://a:1",
        "HTTP_PROXY": "http://b:2",
        "http_proxy": "http://b:2",
        "NO_PROXY": "x",
        "no_proxy": "x",
    }


def test_pips_index_comes_from_variables(tmp_path: Path) -> None:
    found = read(tmp_path, PIP_INDEX_URL="https://a.example/simple", PIP_TRUSTED_HOST="a.example b.example")
    assert found.pip == {"PIP_INDEX_URL": "https://a.example/simple", "PIP_TRUSTED_HOST": "a.example b.example"}


def test_pips_index_comes_from_its_files_and_variables_go_first(tmp_path: Path) -> None:
    write(
        tmp_path / ".config/pip/pip.conf",
        "[global]\nindex-url = https://user.example/simple\nextra-index-url =\n  https://b.example\n  /srv/simple\n"
        "[install]\ntrusted_host = b.example\n[download]\nno-index = yes\n",
    )
    environ = {"XDG_CONFIG_DIRS": str(tmp_path / "none"), "VIRTUAL_ENV": str(tmp_path / "none")}
    found = read_host_settings(environ, home=tmp_path)
    assert found.pip["PIP_INDEX_URL"] == "https://user.example/simple"
    assert found.pip["PIP_EXTRA_INDEX_URL"] == "https://b.example"
    assert found.pip["PIP_TRUSTED_HOST"] == "b.example"
    assert [note for note in found.notes if "/srv/simple" in note]
    last = write(tmp_path / "last.conf", "[global]\nindex-url = https://last.example/simple\n")
    assert read_host_settings(environ | {"PIP_CONFIG_FILE": str(last)}, home=tmp_path).pip["PIP_INDEX_URL"] == (
        "https://last.example/simple"
    )
    variable = environ | {"PIP_CONFIG_FILE": str(last), "PIP_INDEX_URL": "https://v.example"}
    assert read_host_settings(variable, home=tmp_path).pip["PIP_INDEX_URL"] == "https://v.example"


def test_a_folder_of_this_machine_is_left_out_and_named(tmp_path: Path) -> None:
    found = read(tmp_path, PIP_EXTRA_INDEX_URL="file:///srv/simple https://b.example")
    assert found.pip == {"PIP_EXTRA_INDEX_URL": "https://b.example"}
    assert "file:///srv/simple is a folder of this machine" in found.notes[0]


NPMRC = """\
; comment
registry=https://npm.example/
@team:registry = https://team.example/
//npm.example/:_authToken=${NPM_TOKEN}
cafile=/etc/company.pem
prefix=/home/ada/.npm
"""


def test_npms_registry_and_its_tokens_come_along_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / ".npmrc", NPMRC)
    found = read(tmp_path, NPM_TOKEN="t0ken")
    assert found.npmrc.splitlines() == [
        "registry=https://npm.example/",
        "@team:registry = https://team.example/",
        "//npm.example/:_authToken=t0ken",
    ]
    assert found.secrets() == {"t0ken"}
    assert npm_registry({}, home=tmp_path) == "https://npm.example/"
    assert npm_registry({"npm_config_registry": "https://v.example"}, home=tmp_path) == "https://v.example"
    # It would be a build argument, which is recorded.
    assert npm_registry({"npm_config_registry": "https://u:p@v.example"}, home=tmp_path) == "https://npm.example/"


def test_secrets_are_taken_out_of_what_is_printed(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        PIP_INDEX_URL="https://ada:p%40ss@a.example/simple",
        HTTPS_PROXY="http://ada:pr0xy@proxy:3128",
        npm_config_registry="https://ada:npm-pass@npm.example/",
    )
    assert found.secrets() == {"p%40ss", "p@ss", "pr0xy", "npm-pass"}
    assert find_passwords("--index-url=https://token-1@a.example/simple -i https://u:p@b.example x==1") == {
        "token-1",
        "p",
    }
    assert redact("https://ada:p%40ss@a.example p@ss pr0xy", found.secrets()) == "https://ada:****@a.example **** ****"


def test_the_steps_environment_is_quoted(tmp_path: Path) -> None:
    settings = HostSettings(pip={"PIP_INDEX_URL": "https://u:it's$(touch pwned)@a.example"})
    path = write(tmp_path / "environment", settings.files()["host/environment"].decode())
    printed = subprocess.run(
        ["sh", "-euc", f'. {path}; printf %s "$PIP_INDEX_URL"'],
        capture_output=True,
        check=True,
        text=True,
        cwd=tmp_path,
    )
    assert printed.stdout == "https://u:it's$(touch pwned)@a.example"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"])
def test_the_ca_comes_from_any_of_the_usual_variables(tmp_path: Path, variable: str) -> None:
    bundle = write(tmp_path / "ca.pem", "certificates")
    assert read(tmp_path, **{variable: str(bundle)}).files()["host/ca.crt"] == b"certificates"
