"""Whether the files of this package are the ones that were installed; imports nothing of ours.

An archived project on PyPI uses the same import name. Whichever of the two is installed last overwrites
`__init__.py`, and uninstalling either takes that file away from the other.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "langchain-opencode-sandbox"
ARCHIVED = "langchain-sandbox"
# With its dependencies: the archived project asks for older ones, which pip has then put in the place of ours.
MEND = f"Run `pip uninstall {ARCHIVED}`, then `pip install --force-reinstall {DISTRIBUTION}`."
REINSTALL = f"Run `pip install --force-reinstall {DISTRIBUTION}`."

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<range>[^;]*)(?P<marker>;.*)?")
_LEAST = re.compile(r">=\s*([\d.]+)")
_MOST = re.compile(r"<\s*([\d.]+)")

_PACKAGE = Path(__file__).resolve().parent


def describe_clash() -> str | None:
    """Say that the archived distribution with the same import name is installed beside this one, if it is."""
    try:
        version = metadata.version(ARCHIVED)
    except metadata.PackageNotFoundError:
        return None
    return (
        f"{ARCHIVED} {version}, an archived project, is installed and uses the import name langchain_sandbox too: "
        "the files of both are mixed."
    )


def find_damage() -> list[str]:
    """Files of this package that are missing, or are not as they were installed.

    Returns:
        Their paths, such as `langchain_sandbox/__init__.py`; none for a checkout, whose files are meant to change.
    """
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    damaged = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        # An editable installation lists no files, and one elsewhere on the path is not the one that runs.
        if not path.is_relative_to(_PACKAGE) or file.hash is None:
            continue
        try:
            digest = hashlib.new(file.hash.mode, path.read_bytes()).digest()
        except OSError:
            damaged.append(str(file))
            continue
        if base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=") != file.hash.value:
            damaged.append(str(file))
    return damaged


def find_misfits() -> list[str]:
    """Dependencies that are missing, or whose version is not in the range that this package asks for.

    Returns:
        One sentence part for each, such as `langchain-core is 0.3.86, which is not <2,>=1.6`.
    """
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    misfits = []
    for requirement in requirements:
        parts = _REQUIREMENT.fullmatch(requirement)
        if parts is None or parts["marker"]:  # of an extra that nobody may have asked for
            continue
        try:
            version = metadata.version(parts["name"])
        except metadata.PackageNotFoundError:
            misfits.append(f"{parts['name']} is not installed")
            continue
        if not _fits(version, parts["range"]):
            misfits.append(f"{parts['name']} is {version}, which is not {parts['range'].strip()}")
    return misfits


def _fits(version: str, wanted: str) -> bool:
    """Whether a version is in a range such as `<2,>=1.6`, which is all that this package's own requirements say."""
    least, most = _LEAST.search(wanted), _MOST.search(wanted)
    found = _numbers(version)
    return (least is None or found >= _numbers(least[1])) and (most is None or found < _numbers(most[1]))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
