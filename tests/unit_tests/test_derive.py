"""The pure half of derived images: what may go in, what they are called, and the Dockerfile."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from langchain_sandbox.cli import build as build_command
from langchain_sandbox.cli import main
from langchain_sandbox.engine import labels
from langchain_sandbox.engine.images import builder, derived_image
from langchain_sandbox.engine.images.build import ImagePlan, build_image, plan_image
from langchain_sandbox.engine.images.choice import choose_image
from langchain_sandbox.engine.images.derived_dockerfile import build_dockerfile, stage_scripts
from langchain_sandbox.engine.images.package_image import image_context, image_tag
from langchain_sandbox.engine.images.recipe import Recipe, read_recipe
from langchain_sandbox.errors import SandboxConfigError, SandboxUnavailableError

OURS = image_context()["Dockerfile"].decode()
BASE_ID = "sha256:" + "b" * 64


class FakeImage:
    def __init__(self, **config: Any) -> None:
        self.id = BASE_ID
        self.attrs = {"Architecture": "amd64", "Config": config}
        self.labels = config.get("Labels")


class FakeEngine:
    """An engine of amd64 with images by name; that nothing else is asked is part of the tests."""

    def __init__(self, **images: FakeImage) -> None:
        self._images = images | {image.id: image for image in images.values()}
        self.images = self
        self.api = argparse.Namespace(base_url="http+docker://elsewhere")

    def get(self, name: str) -> FakeImage:
        try:
            return self._images[name]
        except KeyError:
            raise ImageNotFound(name) from None

    def version(self) -> dict[str, str]:
        return {"Arch": "amd64"}


def plan(recipe: Recipe, **images: FakeImage) -> derived_image.DerivedPlan:
    return derived_image.plan_derived(FakeEngine(**images), recipe)  # type: ignore[arg-type]


def test_what_compose_starts_follows_what_was_built() -> None:
    moved: list[tuple[str, str]] = []
    image: Any = FakeImage()
    image.tag = lambda *name: moved.append(name)
    engine: Any = FakeEngine(**{image_tag(): image})
    assert build_image(client=engine) == image_tag()
    assert moved == [("langchain-opencode-sandbox", "latest")]


@pytest.mark.parametrize("name", ["jq", "libpq5=15.10-0+deb12u1", "g++", "libc6:amd64", "curl/bookworm-backports"])
def test_names_of_debian_packages(name: str) -> None:
    assert read_recipe(apt=[name]).apt == (name,)


@pytest.mark.parametrize("name", ["typescript", "vitest@3", "@types/node@^22.1.0", "left-pad@1.3.0-rc.1", "a@latest"])
def test_names_of_npm_packages(name: str) -> None:
    assert read_recipe(npm=[name]).npm == (name,)


@pytest.mark.parametrize(
    "options",
    [
        {"apt": [name]}
        for name in (
            "",
            "jq; rm -rf /",
            "-o=x",
            "--force",
            "jq\nRUN x",
            "$(id)",
            "JQ",
            "./x.deb",
            "jq=",
            "git-",
            "git=1-",
            "a b",
        )
    ]
    + [{"npm": [name]} for name in ("", "../x", "-g", "a b", "git+https://x.example/y", "a@file:x", "a\n", "a@$(id)")]
    + [{"base": name} for name in ("", "a b", "x\nRUN y", "-x", "${BASE}", "a@sha256:1")],
)
def test_what_is_no_name_gets_into_no_dockerfile(options: dict[str, Any]) -> None:
    with pytest.raises(SandboxConfigError, match=r"is not an? "):
        read_recipe(**options)


def test_the_same_input_has_the_same_tag_and_any_other_has_another(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("humanize\n")
    tag = plan(read_recipe(requirements=[file], apt=["bb", "aa"], npm=["y", "x"])).tag
    assert re.fullmatch(re.escape(image_tag()) + "-[0-9a-f]{12}", tag)
    file.touch()
    moved = file.rename(tmp_path / "other.txt")
    assert plan(read_recipe(requirements=[moved], apt=["aa", "bb", "aa"], npm=["x", "y"])).tag == tag
    recipe = read_recipe(requirements=[moved], apt=["aa", "bb"], npm=["x", "y"])
    moved.write_text("humanize==4.9.0\n")
    base = FakeImage()
    other_base = FakeImage()
    other_base.id = "sha256:" + "c" * 64
    tags = {
        tag,
        plan(read_recipe(requirements=[moved], apt=["aa", "bb"], npm=["x", "y"])).tag,
        plan(replace(recipe, apt=("aa",))).tag,
        plan(replace(recipe, npm=("x",))).tag,
        plan(replace(recipe, apt=("aa",), npm=("bb", "x", "y"))).tag,
        plan(replace(recipe, base="base"), base=base).tag,
        plan(replace(recipe, base="base"), base=other_base).tag,
    }
    assert len(tags) == 7


def test_the_tag_changes_with_our_own_image_and_with_how_a_derived_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(apt=["jq"])
    before = plan(recipe).tag
    monkeypatch.setattr(derived_image, "stage_scripts", lambda: {"stages/python.sh": b"another\n"})
    assert plan(recipe).tag != before
    engine: Any = FakeEngine()
    package = replace(plan_image(engine), tag=f"{image_tag()}x")
    assert derived_image.plan_derived(engine, recipe, package=package).tag.startswith(f"{image_tag()}x-")


def test_labels_say_what_an_image_was_made_from() -> None:
    marks = plan(read_recipe(apt=["jq", "curl"], base="base"), base=FakeImage()).labels()
    assert marks == {
        labels.DERIVED_FROM: image_tag(),
        labels.DERIVED_BASE: "base",
        labels.DERIVED_BASE_ID: BASE_ID,
        labels.DERIVED_APT: "curl jq",
        labels.PACKAGE: "opencode-linux-x64",
    }


def test_packages_are_installed_in_stages_that_the_image_does_not_come_from() -> None:
    recipe = Recipe(requirements={"install-0.txt": b"x\n", "include-1.txt": b"y\n"}, apt=("jq",), npm=("vitest@3",))
    text = build_dockerfile(recipe, image="ours:1", package_dockerfile=OURS)
    assert text.startswith("# Made by `langchain-sandbox build`.\nFROM ours:1 AS project\n")
    first, last = text.partition("\nFROM project AS ")[0], text.rpartition("\nFROM project\n")[2]
    assert last == "COPY --from=python /out/ /\nCOPY --from=node /out/ /\n"
    assert "host/" not in first
    assert "python.sh install-0.txt\n" in text
    assert "node.sh npm@10 vitest@3\n" in text
    for stage in ("python", "node"):
        steps = text.partition(f"\nFROM project AS {stage}\n")[2].partition("\nFROM ")[0]
        # What is removed afterwards begins before the first secret comes in.
        assert steps.index(f"LABEL {labels.STAGE}=") < steps.index("COPY host/")


def test_a_chosen_npm_is_not_installed_twice() -> None:
    text = build_dockerfile(Recipe(npm=("npm@11",)), image="ours:1", package_dockerfile=OURS)
    assert "node.sh npm@11\n" in text


def test_on_another_base_all_of_our_own_steps_are_done() -> None:
    text = build_dockerfile(Recipe(base="company/python:3.12"), image="ours:1", package_dockerfile=OURS)
    ours_before, _, ours_after = OURS.rpartition("\nFROM ${BASE}\n")
    assert ours_before in text
    assert ours_after in text
    assert "ours:1" not in text
    assert text.count("FROM company/python:3.12 AS project\nUSER root\n") == 1


@pytest.mark.parametrize("base", [None, "company/python:3.12"])
def test_debian_packages_and_node_are_in_every_stage(base: str | None) -> None:
    recipe = Recipe(requirements={"install-0.txt": b"x\n"}, apt=("jq",), npm=("vitest",), base=base)
    text = build_dockerfile(recipe, image="ours:1", package_dockerfile=OURS)
    first_stage = text.index("\nFROM project AS ")
    assert 0 < text.index("--no-install-recommends jq") < first_stage
    assert 0 < text.index("--no-install-recommends nodejs") < first_stage


def test_steps_strip_set_uid_bits() -> None:
    text = build_dockerfile(Recipe(apt=("sudo",)), image="ours:1", package_dockerfile=OURS)
    assert "-perm /6000 -exec chmod a-s" in text
    for name in ("stages/python.sh", "stages/node.sh"):
        assert "-perm /6000 -exec chmod a-s" in stage_scripts()[name].decode()


@pytest.mark.parametrize(
    ("config", "reason"),
    [({"Volumes": {"/data": {}}}, "declares the volume /data"), ({"architecture": "arm64"}, "is for arm64")],
)
def test_a_base_that_cannot_work_is_refused(config: dict[str, Any], reason: str) -> None:
    image = FakeImage(**config)
    image.attrs["Architecture"] = config.get("architecture", "amd64")
    with pytest.raises(SandboxConfigError, match=reason):
        plan(Recipe(base="base"), base=image)


def test_for_another_platform_there_is_another_tag_package_and_base() -> None:
    engine: Any = FakeEngine()
    assert plan_image(engine, platform="linux/arm64") == ImagePlan(
        tag=f"{image_tag()}-arm64",
        base="debian:bookworm-slim",
        base_is_local=False,
        package="opencode-linux-arm64",
        platform="linux/arm64",
        foreign=True,
    )
    assert plan_image(engine, cpu="baseline").package == "opencode-linux-x64-baseline"
    assert plan_image(engine, platform="linux/amd64").tag == image_tag()
    with pytest.raises(SandboxConfigError, match=r"linux/amd64, linux/arm64, not 'windows/amd64'"):
        plan_image(engine, platform="windows/amd64")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["...", f"{builder.SAYS}x has no apt-get."], "x has no apt-get."),
        (["SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]"], "Set SSL_CERT_FILE"),
        (["npm ERR! code UNABLE_TO_GET_ISSUER_CERT_LOCALLY"], "Set SSL_CERT_FILE"),
        (["exec /bin/sh: exec format error"], "cannot run programs of that platform"),
        (["E: Unable to locate package nonsense"], "it returned 100"),
    ],
)
def test_a_build_that_failed_says_why_first(lines: list[str], reason: str) -> None:
    assert reason in builder._explain("a:1", "it returned 100", lines).splitlines()[0]


def test_a_run_says_which_command_builds_what_the_repository_asks_for(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.langchain-sandbox]\napt = ["jq"]\nfrom = "base"\n')
    advice = re.escape(f"`langchain-sandbox build --workspace {tmp_path}`")
    absent: Any = FakeEngine()
    with pytest.raises(SandboxUnavailableError, match=f"The base image base is not on this engine.*{advice}"):
        choose_image(absent, None, workspace=tmp_path)
    present: Any = FakeEngine(base=FakeImage())
    with pytest.raises(SandboxUnavailableError, match=f"{re.escape(image_tag())}-.* is not on this engine.*{advice}"):
        choose_image(present, None, workspace=tmp_path)


def test_a_repository_picks_no_image_that_is_no_sandbox(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.langchain-sandbox]\nimage = "database"\n')
    engine: Any = FakeEngine(database=FakeImage(Labels={"io.other": "1"}))
    with pytest.raises(SandboxConfigError, match=r"lacks the label io.langchain-sandbox.image"):
        choose_image(engine, None, workspace=tmp_path)
    ours: Any = FakeEngine(database=FakeImage(Labels={labels.IMAGE: "1"}))
    assert choose_image(ours, None, workspace=tmp_path) == BASE_ID
    # The caller may start what they like.
    assert choose_image(engine, "database", workspace=tmp_path) == BASE_ID


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    build_command.add_parser(parser.add_subparsers())
    return parser.parse_args(["build", *words])


def test_the_command_reads_the_table_of_the_current_folder_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.langchain-sandbox]\napt = ["jq"]\n')
    monkeypatch.chdir(tmp_path)
    assert build_command._find_recipe(parse()) == Recipe(apt=("jq",))
    assert "Building what [tool.langchain-sandbox]" in capsys.readouterr().err
    assert build_command._find_recipe(parse("--npm", "vitest", "--npm", "jest")) == Recipe(npm=("jest", "vitest"))
    assert capsys.readouterr().err == ""
    (tmp_path / "pyproject.toml").write_text('[tool.langchain-sandbox]\nimage = "x:1"\n')
    assert build_command._find_recipe(parse()) is None
    assert "x:1, which is yours to build" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--workspace", "/nonexistent"], "is no folder"),
        (["--workspace", ".", "--apt", "jq"], "--workspace takes what to build from its table"),
        (["--requirements", "/nonexistent.txt"], "No such file"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(rf"langchain-sandbox: error: .*{re.escape(reason)}.*\n", said.err)


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_client: None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "connected", interrupt)
    assert main(["build", "--apt", "jq"]) == 130
    assert capsys.readouterr().out == ""
