"""The Dockerfile of a derived image. Pure: what is written here is what `--dry-run` shows.

Packages are installed in stages of their own, by the scripts in `stages/`, and what they made is copied. So package
managers' leftovers, this host's CA and whatever it takes to log in at an index are neither in the image nor in its
history. Nothing of it is in PID 1's way: that is `/usr/bin/python3 -I -S`, which sees no site-packages.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_sandbox.engine.images.builder import SAYS
from langchain_sandbox.engine.labels import STAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_sandbox.engine.images.recipe import Recipe

_SCRIPTS = Path(__file__).parent / "stages"

_INSTALL = "apt-get update \\\n && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
_NEW_ENOUGH = "/usr/bin/python3 -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))'"
# npm for the sandbox: Debian's has 350 packages for dependencies. This one runs on Node.js 18 and newer.
_NPM = "npm@10"

_DERIVED = """\
# Made by `langchain-sandbox build`.
FROM {image} AS project
"""

_CHECKED_BASE = """\
FROM {image} AS project
USER root
SHELL ["/bin/sh", "-c"]
RUN {{ command -v apt-get && command -v dpkg; }} >/dev/null \\
 || {{ echo "{says}{image} has no apt-get. Take Debian, Ubuntu or an image made from them as the base." >&2; exit 1; }}
RUN [ ! -e /usr/bin/python3 ] || {new_enough} \\
 || {{ echo "{too_old}" >&2; exit 1; }}
"""

# The agent is compiled again: by the Python that runs it, which need not be the one that is first on PATH.
_CHECKED_PYTHON = """
RUN {new_enough} \\
 || {{ echo "{too_old}" >&2; exit 1; }}; \\
    /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/langchain-sandbox
"""

_STARTERS = """
FROM project AS starters
COPY stages/ /tmp/stages/
RUN sh /tmp/stages/base.sh
"""

_TOO_OLD = (
    "{says}/usr/bin/python3 of {image} is older than 3.11, which the sandbox needs. "
    "Take a newer base, such as one on Debian 12 or Ubuntu 24.04."
)

_APT = """
RUN {install} {packages} \\
 && apt-get clean \\
 && rm -rf /var/lib/apt/lists/* \\
 && find / -xdev -perm /6000 -exec chmod a-s {{}} +
"""

_STAGE = """
FROM project AS {name}
RUN {prepare}
ARG STAGE
LABEL {label}="${{STAGE}}"
COPY host/ /tmp/host/
COPY stages/ /tmp/stages/
"""

_PYTHON = """\
COPY requirements/ /tmp/requirements/
RUN sh /tmp/stages/python.sh {files}
"""

_NODE = """\
RUN sh /tmp/stages/node.sh {packages}
"""


def build_dockerfile(recipe: Recipe, *, image: str, package_dockerfile: str) -> str:
    """The Dockerfile for a recipe.

    Args:
        recipe: What goes in.
        image: The package's own image, which it stands on unless the recipe names a base.
        package_dockerfile: The Dockerfile of that image. With a base its steps are done again, on the base.
    """
    text = _DERIVED.format(image=image) if recipe.base is None else _on_base(recipe.base, package_dockerfile)
    copied = []
    if recipe.apt:
        text += _APT.format(install=_INSTALL, packages=shlex.join(recipe.apt))
    if recipe.npm:
        # Node.js itself is for the image, whatever installs packages is not.
        text += "RUN command -v node >/dev/null || { " + _one_line(_APT.format(install=_INSTALL, packages="nodejs"))
    if recipe.base is not None:
        text += _STARTERS
        copied.append("starters")
    if recipe.requirements:
        files = [name for name in recipe.requirements if name.startswith("install-")]
        # Debian has pip in a package of its own; other Pythons bring it along.
        prepare = f'case "$(command -v python3)" in /usr/bin/*) {_INSTALL} python3-pip ;; esac'
        text += _STAGE.format(name="python", prepare=prepare, label=STAGE) + _PYTHON.format(files=shlex.join(files))
        copied.append("python")
    if recipe.npm:
        prepare = f"command -v npm >/dev/null || {{ {_INSTALL} npm; }}"
        text += _STAGE.format(name="node", prepare=prepare, label=STAGE)
        text += _NODE.format(packages=shlex.join(_with_npm(recipe.npm)))
        copied.append("node")
    return text + "".join(["\nFROM project\n", *(f"COPY --from={stage} /out/ /\n" for stage in copied)])


def stage_scripts() -> dict[str, bytes]:
    """The scripts that the stages run, for the build context."""
    return {f"stages/{path.name}": path.read_bytes() for path in sorted(_SCRIPTS.glob("*.sh"))}


def _on_base(base: str, package_dockerfile: str) -> str:
    """The package's own steps on another base: only its last stage stands on that, the binary comes as ever."""
    before, _, steps = package_dockerfile.rpartition("\nFROM ${BASE}\n")
    words = {"image": base, "says": SAYS, "new_enough": _NEW_ENOUGH}
    words["too_old"] = _TOO_OLD.format(**words)
    return f"{before}\n{_CHECKED_BASE.format(**words)}{steps}{_CHECKED_PYTHON.format(**words)}"


def _one_line(step: str) -> str:
    """A step without its RUN, as the inside of a group."""
    return step.strip().removeprefix("RUN ") + "; }\n"


def _with_npm(packages: Sequence[str]) -> list[str]:
    named = {package.partition("@")[0] for package in packages}
    return [*packages] if "npm" in named else [_NPM, *packages]
