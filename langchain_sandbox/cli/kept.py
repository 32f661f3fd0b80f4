"""Runs by the names that people give them, and whether their changes are in a folder now."""

from __future__ import annotations

from pathlib import Path

from langchain_sandbox.errors import SandboxApplyError, SandboxConfigError
from langchain_sandbox.kept_runs import find_run
from langchain_sandbox.result import SandboxResult
from langchain_sandbox.run_folder import RunFolder
from langchain_sandbox.workspace.applying.record import read_record

_LONGEST = 256 * 1024 * 1024


def find_result(name: str) -> SandboxResult:
    """The result of a run that is kept, or the one in a file.

    Args:
        name: A run's id, the beginning of one, `last`, or the path of a file with a result's JSON.

    Raises:
        SandboxConfigError: If there is no such run, or the file holds no result.
    """
    path = Path(name)
    if not path.is_file():
        return find_run(name).result()
    try:
        if path.stat().st_size > _LONGEST:
            msg = f"{path} is too long to be the JSON of a result."
            raise SandboxConfigError(msg)
        return SandboxResult.model_validate_json(path.read_bytes())
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}."
        raise SandboxConfigError(msg) from error
    except ValueError as error:
        if isinstance(error, SandboxConfigError):
            raise
        msg = f"{path} is a file, and does not hold the JSON of a result."
        raise SandboxConfigError(msg) from error


def find_applied(run_id: str) -> str | None:
    """The folder that a run's changes are in now, as far as this user's `apply` and `revert` know; `None` for none.

    Args:
        run_id: The run.
    """
    try:
        record = read_record(RunFolder.of(run_id).applied)
    except SandboxApplyError:
        return None
    if record is None or not (record.paths or record.move or record.branch):
        return None
    return record.root


def choose_root(workspace: str | None, usual: str | None) -> Path:
    """The folder to apply a result to, or to take it out of.

    Args:
        workspace: What the user says.
        usual: What is meant where the user says nothing.

    Raises:
        SandboxConfigError: If nobody says which, or there is none.
    """
    chosen = workspace or usual
    if chosen is None:
        msg = "The run had no workspace; say which folder is meant with --workspace DIR."
        raise SandboxConfigError(msg)
    root = Path(chosen).expanduser().absolute()
    if not root.is_dir():
        msg = f"{root} is no folder; say which one is meant with --workspace DIR."
        raise SandboxConfigError(msg)
    return root
