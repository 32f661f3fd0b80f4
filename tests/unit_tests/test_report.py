"""The result's fields as plain data, which the container of the compose file prints, and as the public models."""

from __future__ import annotations

import time
from dataclasses import fields

import pytest
from pydantic import BaseModel

from langchain_sandbox import outcome, result, transcript
from langchain_sandbox.config import Limits
from langchain_sandbox.report import PATCH_INLINE_LIMIT, Report, build_fields
from langchain_sandbox.workspace.inbound.snapshot import take_snapshot
from langchain_sandbox.workspace.outbound import patch


@pytest.mark.parametrize(
    ("plain", "model"),
    [
        (outcome.Ending, result.Ending),
        (transcript.Step, result.Step),
        (patch.FileChange, result.FileChange),
    ],
)
def test_plain_and_public_parts_have_the_same_fields(plain: type, model: type[BaseModel]) -> None:
    assert [field.name for field in fields(plain)] == list(model.model_fields)


def test_every_field_that_is_told_is_one_of_the_results() -> None:
    snapshot = take_snapshot(None, Limits())
    told = build_fields(
        Report(began=time.monotonic()),
        run_id="r",
        patch=patch.Patch("x" * (PATCH_INLINE_LIMIT + 1), []),
        snapshot=snapshot,
        image="i",
        model="m",
        store=lambda run_id, _: f"/kept/{run_id}",
    )
    snapshot.close()
    made = result.SandboxResult.model_validate(told)
    assert set(told) <= set(result.SandboxResult.model_fields)
    for name in ("usage", "timings", "evidence", "workspace", "receipt", "patch_reference"):
        assert set(told[name]) <= set(type(getattr(made, name)).model_fields), name
    assert made.patch is None
    assert made.patch_reference is not None
    assert (made.patch_reference.path, made.patch_reference.size) == ("/kept/r", PATCH_INLINE_LIMIT + 1)
