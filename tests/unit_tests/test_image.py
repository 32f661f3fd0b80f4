"""The pure half of the sandbox image: what goes in and what it is called. No engine is needed."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from langchain_sandbox._version import __version__
from langchain_sandbox.engine.images import base_image, build, builder
from langchain_sandbox.engine.images import package_image as image
from langchain_sandbox.errors import SandboxUnavailableError

FILES = {
    "engine/Dockerfile": "FROM scratch\n",
    "compose/entrypoint.sh": "exec true\n",
    "agent/native/bash": "exec true\n",
    "agent/native/gc_timer.c": "int nothing;\n",
    **{name: f"# {name}\n" for name in image._INSIDE if "*" not in name},
    "link.py": "LINK = 1\n",
    "agent/__init__.py": '"""Agent."""\n',
    "agent/main.py": "def main(): ...\n",
    "agent/reaper.py": "REAPER = 1\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "langchain_sandbox"
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def tag_of(package: Path) -> str:
    return image._tag(image._context(package))


def test_context_holds_what_the_container_runs_and_nothing_else(package: Path) -> None:
    (package / "pool.py").write_text("host only")
    (package / "agent" / "notes.txt").write_text("not code")
    elsewhere = {"engine/Dockerfile", "compose/entrypoint.sh", "agent/native/bash", "agent/native/gc_timer.c"}
    assert set(image._context(package)) == {
        "Dockerfile",
        "agent/__main__.py",
        "agent/entrypoint.sh",
        "native/bash",
        "native/gc_timer.c",
        "agent/langchain_sandbox/__init__.py",
        "agent/models.json",
        *(f"agent/langchain_sandbox/{name}" for name in FILES if name not in elsewhere),
    }


def test_context_has_the_files_as_they_are(package: Path) -> None:
    context = image._context(package)
    for name in ("link.py", "agent/__init__.py", "agent/main.py", "agent/reaper.py"):
        assert context[f"agent/langchain_sandbox/{name}"].decode() == FILES[name]


def test_inside_the_package_itself_is_empty_because_langchain_is_not_there(package: Path) -> None:
    (package / "__init__.py").write_text("import langchain_core")
    assert image._context(package)["agent/langchain_sandbox/__init__.py"] == b""


def test_the_main_file_starts_the_agent(package: Path) -> None:
    main = image._context(package)["agent/__main__.py"].decode()
    compile(main, "__main__.py", "exec")
    assert "case []:\n        from langchain_sandbox.agent.main import main\n" in main
    assert main.endswith("\nmain()\n")


def test_the_model_catalogue_is_empty(package: Path) -> None:
    catalogue = json.loads(image._context(package)["agent/models.json"])
    assert catalogue == {"sandbox": {"id": "sandbox", "name": "sandbox", "env": [], "models": {}}}


def test_dockerfile_comes_from_the_checkout_when_the_package_has_none(package: Path) -> None:
    (package / "engine/Dockerfile").unlink()
    (package.parent / "Dockerfile").write_text("FROM checkout\n")
    assert image._context(package)["Dockerfile"] == b"FROM checkout\n"


@pytest.mark.parametrize("name", ["engine/Dockerfile", "link.py", "agent/main.py"])
def test_an_incomplete_package_says_what_is_missing(package: Path, name: str) -> None:
    (package / name).unlink()
    with pytest.raises(SandboxUnavailableError, match=re.escape(str(package / name))):
        image._context(package)


def test_tag_is_a_valid_reference_with_the_version(package: Path) -> None:
    assert re.fullmatch(rf"{image.REPOSITORY}:{re.escape(__version__)}-[0-9a-f]{{12}}", tag_of(package))


def test_tag_stays_when_only_times_change(package: Path, tmp_path: Path) -> None:
    before = tag_of(package)
    (package / "link.py").touch()
    moved = (tmp_path / "langchain_sandbox").rename(tmp_path / "elsewhere")
    assert tag_of(moved) == before


@pytest.mark.parametrize("name", sorted(FILES))
def test_tag_changes_with_every_file_that_goes_in(package: Path, name: str) -> None:
    before = tag_of(package)
    with (package / name).open("a") as file:
        file.write("# changed\n")
    assert tag_of(package) != before


def test_tag_changes_when_a_file_comes_goes_or_is_renamed(package: Path) -> None:
    tags = {tag_of(package)}
    (package / "agent/reaper.py").rename(package / "agent/harvester.py")
    tags.add(tag_of(package))
    (package / "agent/harvester.py").unlink()
    tags.add(tag_of(package))
    (package / "agent/new.py").write_text("")
    tags.add(tag_of(package))
    assert len(tags) == 4


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("OPENCODE_VERSION", "9.9.9"),
        ("OPENCODE_PACKAGES", {("amd64", True): "another"}),
        ("__version__", "9.9.9"),
    ],
)
def test_tag_changes_with_every_setting(
    package: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: object
) -> None:
    before = tag_of(package)
    monkeypatch.setattr(image, setting, value)
    assert tag_of(package).rpartition("-")[2] != before.rpartition("-")[2]


def test_a_local_version_still_makes_a_valid_tag(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "__version__", "0.1.0+dirty")
    assert re.fullmatch(rf"{image.REPOSITORY}:[\w.-]+", tag_of(package))


def test_the_ca_bundle_goes_in_from_the_first_variable_that_can_be_read(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"certificates")
    environ = {"SSL_CERT_FILE": str(tmp_path / "absent"), "REQUESTS_CA_BUNDLE": str(bundle)}
    assert build.ca_files(environ) == {"ca/host-ca.crt": b"certificates"}


@pytest.mark.parametrize("environ", [{}, {"SSL_CERT_FILE": "/dev/null"}, {"SSL_CERT_FILE": "/"}])
def test_without_a_ca_bundle_there_is_an_empty_placeholder(environ: dict[str, str]) -> None:
    assert build.ca_files(environ) == {"ca/host-ca.crt": b""}


def test_the_ca_bundle_is_no_part_of_what_the_tag_is_made_of(package: Path) -> None:
    assert not any(name.startswith("ca/") for name in image._context(package))


def test_build_arguments_carry_the_proxies_that_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost", "HTTP_PROXY": "", "PATH": "/bin"}
    assert build.build_arguments(environ, base="debian:x", package="opencode-y") == {
        "HTTPS_PROXY": "http://proxy:3128",
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "no_proxy": "localhost",
        "BASE": "debian:x",
        "OPENCODE_VERSION": image.OPENCODE_VERSION,
        "OPENCODE_PACKAGE": "opencode-y",
        "VERSION": __version__,
    }


@pytest.mark.parametrize(
    ("architecture", "avx2", "package_name"),
    [
        ("amd64", True, "opencode-linux-x64"),
        ("amd64", False, "opencode-linux-x64-baseline"),
        ("arm64", True, "opencode-linux-arm64"),
        ("arm64", False, "opencode-linux-arm64"),
    ],
)
def test_the_binary_fits_the_engine(architecture: str, package_name: str, *, avx2: bool) -> None:
    assert build._opencode_package(architecture, avx2=avx2) == package_name


def test_an_architecture_without_a_binary_is_refused() -> None:
    with pytest.raises(SandboxUnavailableError, match="s390x"):
        build._opencode_package("s390x", avx2=False)


def test_the_archive_is_the_same_every_time_and_readable_for_every_uid(package: Path) -> None:
    context = image._context(package) | build.ca_files({})
    archive = builder.build_archive(context)
    assert archive == builder.build_archive(dict(reversed(context.items())))
    with tarfile.open(fileobj=io.BytesIO(archive)) as entries:
        members = {member.name: member for member in entries}
    folders = {name for name, member in members.items() if member.isdir()}
    inside = {"agent/langchain_sandbox", "agent/langchain_sandbox/agent", "agent/langchain_sandbox/engine"}
    assert folders == {"agent", "ca", "native", *inside}
    assert set(members) - folders == set(context)
    assert all(members[name].mode == 0o755 for name in folders)
    assert all(members[name].mode == 0o644 for name in context)
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_the_dockerfile_and_the_package_agree_on_the_opencode_version() -> None:
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    assert f"\nARG OPENCODE_VERSION={image.OPENCODE_VERSION}\n" in dockerfile


def test_the_dockerfile_keeps_its_promises() -> None:
    text = (Path(__file__).parents[2] / "Dockerfile").read_text()
    last_stage = text.rpartition("\nFROM ")[2]
    instructions = re.findall(r"^([A-Z]+) ", last_stage, re.MULTILINE)
    assert instructions[-2:] == ["COPY", "RUN"]
    assert "COPY agent/ " in last_stage
    assert "ca/" not in last_stage
    assert "USER" not in instructions


def test_a_base_made_on_the_spot_gets_security_updates_too() -> None:
    assert base_image._add_updates("deb http://mirror.example/debian bookworm main\n") == (
        "deb http://mirror.example/debian bookworm main\n"
        "deb http://mirror.example/debian bookworm-updates main\n"
        "deb http://mirror.example/debian-security bookworm-security main\n"
    )
