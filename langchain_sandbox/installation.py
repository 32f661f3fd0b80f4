"""Whether the files of this package are the ones that were installed; imports nothing of ours.

An archived project on PyPI uses the same import name. Whichever of the two is installed last overwrites
`__init__.py`, and uninstalling either takes that file away from the other.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "langchain-opencode-sandbox"
ARCHIVED = "langchain-sandbox"
MEND = f"Run `pip uninstall -y {ARCHIVED}`, then `pip install --force-reinstall --no-deps {DISTRIBUTION}`."

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
