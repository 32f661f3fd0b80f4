"""Derived images on the real engine: a project's dependencies go in, and nothing of this host's stays."""

from __future__ import annotations

import io
import json
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from connect_proxy import ConnectProxy
from docker.errors import APIError
from package_index import PackageIndex, make_package, make_wheel
from support import bash, make_repository, outputs, say

from langchain_sandbox import Sandbox, SandboxConfigError, SandboxUnavailableError
from langchain_sandbox.cli import main
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images import derived_image
from langchain_sandbox.engine.images.base_image import find_base
from langchain_sandbox.engine.images.build import carry_out, plan_image
from langchain_sandbox.engine.images.choice import choose_image
from langchain_sandbox.engine.images.derived_image import build_derived
from langchain_sandbox.engine.images.host_settings import CA_VARIABLES, read_ca
from langchain_sandbox.engine.images.package_image import OPENCODE_VERSION, image_tag
from langchain_sandbox.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker

TABLE = """\
[tool.langchain-sandbox]
requirements = ["requirements-dev.txt"]
npm = ["is-odd@3.0.1"]
"""
TINY = "#!/usr/bin/env node\nconsole.log(43)\n"
USES_PACKAGE = "import humanize\n\n\ndef test_size():\n    assert humanize.naturalsize(3000) == '3.0 kB'\n"


@pytest.fixture(autouse=True, scope="module")
def no_stage_left(client: docker.DockerClient) -> Iterator[None]:
    """The engine keeps a build's stages as its cache; those of made-up packages are of no use to anybody."""
    before = _stages(client)
    yield
    for image in _stages(client) - before:
        with suppress(APIError):  # a later stage's removal has taken it with it
            client.api.remove_image(image, force=True)


def _stages(client: docker.DockerClient) -> set[str]:
    """The images without a name that are stages of derived images."""
    unnamed = [item["Id"] for item in client.api.images(filters={"dangling": True})]
    marks = ("/tmp/stages", "ARG STAGE")
    return {
        image
        for image in unnamed
        if any(mark in step["CreatedBy"] for step in client.api.history(image) for mark in marks)
    }


@pytest.fixture
def made(client: docker.DockerClient) -> Iterator[list[str]]:
    """Tags that a test made, to be removed after it."""
    tags: list[str] = []
    yield tags
    for tag in reversed(tags):
        client.images.remove(tag, force=True)


@pytest.fixture
def make_base(client: docker.DockerClient, made: list[str]) -> Callable[[str, str], str]:
    """Makes a base image, as a company might have one."""

    def make(name: str, steps: str) -> str:
        dockerfile = f"FROM {find_base(client, architecture=client.version()['Arch'])}\n{steps}"
        client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=f"sandbox-test:{name}", rm=True)
        made.append(f"sandbox-test:{name}")
        return f"sandbox-test:{name}"

    return make


def look(*commands: str, **options: Any) -> tuple[list[str], str]:
    """What commands print in a sandbox, and the id of the image that it ran in."""
    script = [*map(bash, commands), say()]
    with ScriptedModel(script) as model, Sandbox(model=model.endpoint, **options).start("Look.") as handle:
        printed = outputs(handle.events())
        result = handle.result()
    assert result.ok, result.ending
    return printed, result.receipt.image


def in_image(client: docker.DockerClient, tag: str, script: str) -> str:
    """What a shell script prints in an image, as root."""
    return client.containers.run(
        tag, ["-c", script], entrypoint="/bin/sh", user="0", network_mode="none", remove=True
    ).decode()


def test_a_project_that_says_what_it_needs_runs_its_own_tests_without_network(
    tmp_path: Path, client: docker.DockerClient, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    repository = make_repository(
        tmp_path / "repository",
        {
            "pyproject.toml": TABLE,
            "requirements-dev.txt": "-c pins.txt  # the includes go in too\nhumanize\n",
            "pins.txt": "humanize==4.9.0\n",
            "test_size.py": USES_PACKAGE,
            "odd.mjs": "import isOdd from 'is-odd'; console.log(isOdd(3));\n",
        },
    )
    with ScriptedModel([say()]) as model, pytest.raises(SandboxUnavailableError) as refused:
        Sandbox(model=model.endpoint, workspace=repository).run("Look.")
    assert f"Build it with `langchain-sandbox build --workspace {repository}`" in str(refused.value)

    assert main(["build", "--workspace", str(repository)]) == 0
    said = capsys.readouterr()
    tag = said.out.removesuffix("\n")
    made.append(tag)
    assert tag.startswith(f"{image_tag()}-")
    assert f"Building what [tool.langchain-sandbox] in {repository}/pyproject.toml says." in said.err
    assert main(["build", "--workspace", str(repository)]) == 0
    again = capsys.readouterr()
    assert again.out == said.out
    assert "Step" not in again.err

    marks = client.images.get(tag).labels
    assert marks[labels.DERIVED_FROM] == image_tag()
    assert marks[labels.DERIVED_NPM] == "is-odd@3.0.1"
    assert marks[labels.IMAGE] == "1"

    printed, image = look(
        "pytest -q -p no:cacheprovider",
        "python -m pytest -q -p no:cacheprovider; python3 -c 'import humanize; print(humanize.__version__)'",
        "node odd.mjs; npm --version",
        "find / -xdev -perm /6000 2>/dev/null; tr '\\0' ' ' </proc/1/cmdline; timeout 3 python -m pip --version",
        workspace=repository,
    )
    assert image == client.images.get(tag).id
    assert "1 passed" in printed[0]
    assert "1 passed" in printed[1]
    assert "4.9.0" in printed[1]
    assert printed[2].startswith("true\n10.")
    assert printed[3].startswith("/usr/bin/python3 -I -S /opt/langchain-sandbox")
    assert "No module named pip" in printed[3]


def test_a_companys_own_image_is_the_base(
    tmp_path: Path, client: docker.DockerClient, made: list[str], make_base: Callable[[str, str], str]
) -> None:
    base = make_base(
        "company",
        "RUN apt-get update && apt-get install -y --no-install-recommends python3-pip python3-venv passwd"
        " && python3 -m venv /opt/company && rm -rf /var/lib/apt/lists/*"
        " && echo 'WORD = \"ours\"' > /opt/company/lib/python3.11/site-packages/company.py\n"
        'ENV PATH=/opt/company/bin:$PATH PYTHONPATH=/nowhere\nSHELL ["/bin/bash", "-c"]\n'
        'USER nobody\nWORKDIR /srv\nENTRYPOINT ["/bin/false"]\nHEALTHCHECK --interval=1s CMD touch /tmp/checked\n',
    )
    (tmp_path / "requirements.txt").write_text("humanize==4.9.0\n")
    tag = build_derived(requirements=[tmp_path / "requirements.txt"], apt=["sudo", "jq"], base=base)
    made.append(tag)
    assert client.images.get(tag).labels[labels.DERIVED_BASE_ID] == client.images.get(base).id
    printed, _ = look(
        "python -c 'import company, humanize, sys; print(company.WORD, sys.prefix)'; python -m pytest --version",
        "find / -xdev -perm /6000 2>/dev/null; opencode --version; jq --version; ls /tmp",
        image=tag,
    )
    assert printed[0].startswith("ours /opt/project/python\npytest")
    assert printed[1].startswith(OPENCODE_VERSION)
    assert "jq-" in printed[1]
    assert "checked" not in printed[1]


@pytest.mark.parametrize(
    ("name", "steps", "reason"),
    [
        ("bare", "RUN rm /usr/bin/apt-get\n", "sandbox-test:bare has no apt-get"),
        ("old", "RUN printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/python3; chmod +x /usr/bin/python3\n", "older than 3.11"),
        ("shell", "RUN rm -f /usr/bin/apt-get /bin/sh /usr/bin/sh\n", "no /bin/sh"),
        ("disk", "VOLUME /data\n", "declares the volume /data"),
    ],
)
def test_a_base_that_cannot_work_is_refused(
    make_base: Callable[[str, str], str], capsys: pytest.CaptureFixture[str], name: str, steps: str, reason: str
) -> None:
    assert main(["build", "--from", make_base(name, steps)]) in {2, 3}
    said = capsys.readouterr()
    assert said.out == ""
    assert reason in said.err.rpartition("error: ")[2].splitlines()[0]


def test_a_private_index_is_reached_and_leaves_no_trace(
    tmp_path: Path, client: docker.DockerClient, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    password, proxy_password = "pass%20word-5f3a", "proxy-word-77c1"
    monkeypatch.setattr(derived_image.secrets, "token_hex", lambda _size: "stage-of-this-test")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (tmp_path / "requirements.txt").write_text("tiny-thing==1.0\n")
    lines: list[str] = []
    others = read_ca(os.environ)  # this machine's, if its own way out needs one
    for variable in (*CA_VARIABLES, "PIP_EXTRA_INDEX_URL", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with (
        PackageIndex(tmp_path, client, user="ada", password=password) as index,
        ConnectProxy(index.host, user="ada", password=proxy_password) as proxy,
    ):
        index.add("tiny_thing-1.0-py3-none-any.whl", make_wheel("tiny_thing", "1.0", "ANSWER = 42\n"))
        index.add_npm("@team/tiny", "1.0.0", make_package("@team/tiny", "1.0.0", {"tiny.js": TINY}))
        (tmp_path / "npmrc").write_text(index.npmrc)
        (tmp_path / "bundle.pem").write_bytes(others + index.ca.read_bytes())
        monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "npmrc"))
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        build = partial(
            build_derived,
            requirements=[tmp_path / "requirements.txt"],
            npm=["@team/tiny"],
            client=client,
            progress=lines.append,
        )
        with pytest.raises(SandboxUnavailableError, match="signed by a CA that the build does not know") as refused:
            build()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
        tag = build()
        made.append(tag)
    assert index.served == [
        *("/simple/tiny-thing/", "/files/tiny_thing-1.0-py3-none-any.whl"),
        *("/npm/@team%2ftiny", "/npm/files/1.0.0.tgz"),
    ]
    assert proxy.served
    assert in_image(client, tag, "python -c 'import tiny_thing; print(tiny_thing.ANSWER)'; tiny") == "42\n43\n"

    certificate = index.ca.read_text().splitlines()[3]
    traces = (password, "pass word-5f3a", certificate, index.url, "PIP_INDEX_URL", proxy_password, index.token)
    recorded = json.dumps([client.api.history(tag), client.api.inspect_image(tag)])
    for trace in traces:
        assert trace not in str(refused.value)
        assert trace not in "\n".join(lines)
        assert trace not in recorded
    assert "https_proxy" not in recorded.lower()
    wanted = " ".join(f"-e '{trace}'" for trace in traces)
    folders = "/etc /home /opt /root /tmp /usr /var"
    # That the search would find something is shown by what it must find.
    assert in_image(client, tag, f"grep -rlF {wanted} -e 'ANSWER = 42' {folders}").splitlines() == [
        "/opt/project/python/lib/python3.11/site-packages/tiny_thing.py"
    ]
    assert client.api.images(all=True, filters={"label": f"{labels.STAGE}=stage-of-this-test"}) == []


def test_a_repository_picks_sandbox_images_only(tmp_path: Path, client: docker.DockerClient, made: list[str]) -> None:
    repository = make_repository(
        tmp_path / "repository", {"pyproject.toml": '[tool.langchain-sandbox]\nimage = "sandbox-test:picked"\n'}
    )
    with ScriptedModel([say()]) as model:
        sandbox = Sandbox(model=model.endpoint, workspace=repository)
        with pytest.raises(SandboxUnavailableError, match="a run does neither for a repository"):
            sandbox.run("Look.")
        client.images.get(find_base(client, architecture=client.version()["Arch"])).tag("sandbox-test", "picked")
        made.append("sandbox-test:picked")
        with pytest.raises(SandboxConfigError, match="that is no sandbox image"):
            sandbox.run("Look.")
    steps = 'ENTRYPOINT ["/bin/false"]\nCMD ["x"]\nENV LD_PRELOAD=/nowhere LD_LIBRARY_PATH=/nowhere\nUSER nobody\n'
    dockerfile = io.BytesIO(f"FROM {image_tag()}\n{steps}".encode())
    picked, _ = client.images.build(fileobj=dockerfile, tag="sandbox-test:picked", rm=True)
    # It has our label from ours; how it would like to be started does not matter.
    printed, image = look("id -u", workspace=repository)
    assert printed == ["1000\n"]
    assert image == picked.id
    # What the caller names goes first.
    (repository / "pyproject.toml").write_text('[tool.langchain-sandbox]\nimage = "sandbox-test:absent"\n')
    assert choose_image(client, image_tag(), workspace=repository) == client.images.get(image_tag()).id


def test_the_opencode_for_old_cpus_builds_and_works(client: docker.DockerClient, made: list[str]) -> None:
    plan = plan_image(client, cpu="baseline")
    if plan.architecture != "amd64":
        pytest.skip("there is one OpenCode for this architecture")
    assert plan.package == "opencode-linux-x64-baseline"
    plan = replace(plan, tag="sandbox-test:baseline")
    carry_out(client, plan, rebuild="if-missing", report=print)
    made.append(plan.tag)
    assert client.images.get(plan.tag).labels[labels.PACKAGE] == plan.package
    printed, _ = look("opencode --version", image=plan.tag)
    assert printed == [f"{OPENCODE_VERSION}\n"]
