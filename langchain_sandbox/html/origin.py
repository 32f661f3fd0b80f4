"""What a run might use, and what it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.amounts import format_bytes, format_seconds
from langchain_sandbox.html.markup import Html, tag, to_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZES: Final = {"memory", "workspace", "workspace_file", "home", "tmp", "changes"}
_TIMES: Final = {"first_byte", "idle"}
_LIMITS: Final = 50


def draw_settings(fields: Mapping[str, Any]) -> list[Html]:
    """What the run was allowed."""
    settings = fields["settings"]
    limits = list(settings["limits"].items())[:_LIMITS]
    if not limits and settings["timeout"] is None:
        return []
    pairs = [
        *_tell_revision(settings),
        ("changes", settings["changes"]),
        ("timeout", format_seconds(settings["timeout"])),
        *((f"limits.{to_line(name)}", _tell_limit(name, value)) for name, value in limits),
    ]
    return [tag("dl", "grid", *(_draw_pair(name, value) for name, value in pairs))]


def _tell_revision(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not settings["revises"]:
        return []
    return [("revises", f"run {to_line(settings['revises'])}"), ("comment", to_line(settings["comment"]))]


def _tell_limit(name: str, value: float | None) -> str:
    if value is None:
        return "no limit"
    if name in _SIZES:
        return format_bytes(value)
    return format_seconds(value) if name in _TIMES else f"{value:,}"


def draw_receipt(fields: Mapping[str, Any]) -> list[Html]:
    """Names and digests, for whoever has to account for the run."""
    receipt, workspace = fields["receipt"], fields["workspace"]
    pairs = [
        ("Package", receipt["package"]),
        ("OpenCode", receipt["opencode"]),
        ("Model", receipt["model"]),
        ("Image", receipt["image"]),
        ("Runtime", receipt["runtime"]),
        ("Command", receipt["command"]),
        ("Command file, SHA-256", receipt["command_sha256"]),
        ("Settings, SHA-256", receipt["config_sha256"]),
        ("Workspace that went in", workspace["digest"]),
        ("Commit that it was at", workspace["head"]),
        ("Patch that came out, SHA-256", receipt["patch_sha256"]),
    ]
    return [tag("dl", "receipt", *(_draw_pair(name, to_line(value)) for name, value in pairs if value))]


def _draw_pair(name: str, value: str) -> Html:
    return tag("div", "", tag("dt", "", name), tag("dd", "", value))
