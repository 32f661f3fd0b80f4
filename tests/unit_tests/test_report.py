"""The result's fields as plain data, which the container of the compose file prints, and as the public models."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from langchain_sandbox import outcome, result, transcript
from langchain_sandbox.compose.line import Record
from langchain_sandbox.config import Limits
from langchain_sandbox.egress_config import Egress
from langchain_sandbox.gateway.call import ModelCall
from langchain_sandbox.gateway.sse import Usage
from langchain_sandbox.report import PATCH_INLINE_LIMIT, Report, build_fields, describe_settings
from langchain_sandbox.workspace.inbound.history import History
from langchain_sandbox.workspace.inbound.intake import Intake, take_intake
from langchain_sandbox.workspace.inbound.repository import Repository
from langchain_sandbox.workspace.inbound.selection import Selection
from langchain_sandbox.workspace.inbound.snapshot import Snapshot
from langchain_sandbox.workspace.outbound import commits, patch


@pytest.mark.parametrize(
    ("plain", "model"),
    [
        (outcome.Ending, result.Ending),
        (transcript.Step, result.Step),
        (transcript.ToolUse, result.ToolUse),
        (patch.FileChange, result.FileChange),
        (commits.Commit, result.Commit),
    ],
)
def test_plain_and_public_parts_have_the_same_fields(plain: type, model: type[BaseModel]) -> None:
    assert [field.name for field in fields(plain)] == list(model.model_fields)


LONG = b"x" * (PATCH_INLINE_LIMIT + 1)


def tell(
    report: Report, *, content: bytes = b"", patch_file: str | None = None, intake: Intake | None = None
) -> dict[str, Any]:
    intake = intake or take_intake(None, Limits())
    try:
        return build_fields(
            report,
            run_id="r",
            patch=patch.Patch(content),
            intake=intake,
            image="i",
            model="m",
            patch_file=patch_file,
        )
    finally:
        intake.close()


def test_every_field_that_is_told_is_one_of_the_results() -> None:
    told = tell(Report(began=time.monotonic()), content=LONG, patch_file="/kept/r")
    made = result.SandboxResult.model_validate(told)
    assert set(told) <= set(result.SandboxResult.model_fields)
    for name in ("usage", "timings", "evidence", "workspace", "receipt", "patch_reference"):
        assert set(told[name]) <= set(type(getattr(made, name)).model_fields), name
    assert made.patch is None
    assert made.patch_reference is not None
    assert (made.patch_reference.path, made.patch_reference.size) == ("/kept/r", PATCH_INLINE_LIMIT + 1)


def test_a_patch_that_is_not_kept_is_part_of_the_result_however_long() -> None:
    told = tell(Report(began=time.monotonic()), content=LONG)
    assert (told["patch"], told["patch_reference"]) == (LONG.decode(), None)


def test_the_workspace_is_told_with_where_its_repository_stood(tmp_path: Path) -> None:
    selection = Selection(tmp_path, repository=Repository(tmp_path, "sub/", "abc"))
    snapshot = Snapshot(tmp_path, {}, (tmp_path / "archive").open("w+b"), selection)
    history = History(folder=tmp_path / "none", pack="", head="abc", branch="main")
    report = Report(began=time.monotonic(), claimed_files=["/run/ws/repo/sub/a", "/run/ws/repo/b", "/etc/x"])
    told = tell(report, intake=Intake(snapshot, history))
    assert told["workspace"] == {
        "root": str(tmp_path),
        "digest": snapshot.digest,
        "head": "abc",
        "branch": "main",
    }
    assert told["evidence"]["claimed_files"] == ["a", "/run/ws/repo/b", "/etc/x"]


def test_changes_of_a_run_that_did_not_complete_are_told_as_partial() -> None:
    report = Report(began=time.monotonic(), cancelled=True)
    assert (tell(report)["partial"], tell(report, content=b"x")["partial"]) == (False, True)


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (errno.ENOSPC, "out_of_space", "/tmp of this machine"),
        (errno.EDQUOT, "out_of_space", "/tmp of this machine"),
        (errno.EACCES, "crashed", "Permission denied"),
    ],
)
def test_changes_without_room_on_the_host_are_told_from_others_that_are_lost(
    number: int, status: str, words: str
) -> None:
    report = Report(began=time.monotonic())
    report.note_loss(OSError(number, os.strerror(number)), place="/tmp of this machine")
    told = tell(report)
    assert told["status"] == status
    assert words in told["ending"]["message"]


def test_the_configurations_hash_can_be_computed_from_the_result() -> None:
    report = Report(began=time.monotonic())
    report.settings = describe_settings(
        "Größe \ud800?",
        changes="return",
        timeout=300.0,
        limits=Limits(cpus=4),
        egress=Egress(["pypi.org", "*.example.org:443"], ["10.1.2.0/24"], "1m"),
    )
    made = result.SandboxResult.model_validate_json(result.SandboxResult.model_validate(tell(report)).model_dump_json())
    settings = json.dumps(made.model_dump(mode="json")["settings"], sort_keys=True, separators=(",", ":"))
    assert made.receipt.config_sha256 == hashlib.sha256(settings.encode("ascii")).hexdigest()
    assert made.settings.limits["cpus"] == 4
    assert made.settings.egress == result.EgressSettings(
        allow=["pypi.org", "*.example.org:443"], networks=["10.1.2.0/24"], traffic=1024 * 1024, connections=1000
    )
    assert made.settings.task == "Größe ??"


def test_a_call_of_the_model_is_told_on_the_runs_own_clock() -> None:
    report = Report(began=1000.0)
    call = ModelCall(index=0, started=1002.5, duration=0.5, status=200, usage=Usage(10, 2), finish_reason="stop")
    report.gateway = Record(records=[call.record()])
    (told,) = result.SandboxResult.model_validate(tell(report)).model_calls
    assert told == result.ModelCall(index=0, at=2.5, duration=0.5, status=200, prompt_tokens=10, completion_tokens=2)
