"""What happens during a run, as typed events in the order in which it happened.

Texts and tool calls are what the program inside the container says; model calls and the end are what the host saw.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)

    run_id: str = Field(description="The run's name.")
    at: float = Field(description="Seconds since the run began.")


class StartedEvent(_Event):
    """The container runs and its program has answered."""

    type: Literal["started"] = "started"
    container: str = Field(description="The container's name.")
    model: str = Field(description="The model's name, as the server knows it; empty for a shell.")


class TextEvent(_Event):
    """The agent said something; texts that nobody has read yet are joined."""

    type: Literal["text"] = "text"
    text: str = Field(description="What it said, or a piece of it.")


class ToolStartedEvent(_Event):
    """The agent began to use one of OpenCode's tools."""

    type: Literal["tool_started"] = "tool_started"
    call_id: str = Field(description="The same for a call's beginning and its end.")
    tool: str = Field(description="OpenCode's name of the tool, such as bash, edit or read.")
    input: dict[str, Any] = Field(description="The tool's arguments.")


class ToolEndedEvent(_Event):
    """A tool has ended."""

    type: Literal["tool_ended"] = "tool_ended"
    call_id: str = Field(description="The same for a call's beginning and its end.")
    tool: str = Field(description="OpenCode's name of the tool.")
    status: Literal["completed", "error"] = Field(description="Whether it worked.")
    output: str = Field(description="What it printed, or its error; long texts are shortened.")


class ModelCallStartedEvent(_Event):
    """OpenCode asks the model; the gateway relays the call."""

    type: Literal["model_call_started"] = "model_call_started"
    index: int = Field(description="The same for a call's beginning and its end; counted from 0.")
    model: str = Field(description="The model's name, as the server knows it.")
    provider: str = Field(description="Whose it is: openai_compatible for a server, else what a chat model says.")
    messages: int = Field(description="Messages that the model is given.")
    tools: int = Field(description="Tools that it may call.")


class ModelCallEvent(_Event):
    """The gateway has relayed a call of the model to its end."""

    type: Literal["model_call"] = "model_call"
    index: int = Field(description="Counted from 0.")
    status: int | None = Field(description="HTTP status; None if there was no answer.")
    first_byte: float | None = Field(description="Seconds until the answer began.")
    duration: float = Field(description="Seconds in all.")
    prompt_tokens: int = Field(description="Tokens that the model read, as the server counts them.")
    completion_tokens: int = Field(description="Tokens that it wrote.")
    finish_reason: str | None = Field(default=None, description="Why the answer ended, as the server says.")
    error: str | None = Field(description="Code of what went wrong.")
    waited: float = Field(
        default=0.0, description="Seconds of these in which it waited for its turn, see `max_concurrency`."
    )


class ConnectionEvent(_Event):
    """A program's attempt to get out of the container is over."""

    type: Literal["connection"] = "connection"
    host: str = Field(description="The name that was asked for. Untrusted.")
    port: int = Field(description="The port.")
    address: str | None = Field(description="Where it led; None if it did not get that far.")
    refused: str | None = Field(description="Why it was not let through, or ended; None if it was.")
    sent: int = Field(description="Bytes that left.")
    received: int = Field(description="Bytes that came.")
    seconds: float = Field(description="How long it was open.")


class StepEvent(_Event):
    """OpenCode has finished a step: one answer of the model and the tools that it asked for."""

    type: Literal["step"] = "step"
    index: int = Field(description="Counted from 0.")
    reason: str = Field(description="Why it ended, such as stop or tool-calls.")


class WarningEvent(_Event):
    """Something that a user should know, and that did not stop the run."""

    type: Literal["warning"] = "warning"
    message: str = Field(description="What it is, for people.")


class FinishedEvent(_Event):
    """The run is over; the result is complete. Always the last event, and there is always one."""

    type: Literal["finished"] = "finished"
    status: str = Field(description="The result's status.")
    ok: bool = Field(description="Whether the run completed.")


SandboxEvent = Annotated[
    StartedEvent
    | TextEvent
    | ToolStartedEvent
    | ToolEndedEvent
    | ModelCallStartedEvent
    | ModelCallEvent
    | ConnectionEvent
    | StepEvent
    | WarningEvent
    | FinishedEvent,
    Field(discriminator="type"),
]
"""Any of the events; tell them apart by class or by `type`."""

_ADAPTER: TypeAdapter[SandboxEvent] = TypeAdapter(SandboxEvent)


def build_event(kind: str, **fields: Any) -> SandboxEvent:  # noqa: ANN401 - each event has fields of its own
    """Make an event from its `type` and its fields."""
    return _ADAPTER.validate_python({"type": kind, **fields})
