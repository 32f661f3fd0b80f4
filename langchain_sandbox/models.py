"""Which model a sandbox thinks with: a server's address, or a chat model of LangChain's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_sandbox.config import ModelEndpoint

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langchain_sandbox.commands.command import Command
    from langchain_sandbox.gateway.call import ModelSource


def check_model(
    model: ModelEndpoint | BaseChatModel | str | None, *, allow_remote: bool
) -> ModelEndpoint | BaseChatModel:
    """The model of a sandbox, as it was given or as the environment says.

    Args:
        model: What was given.
        allow_remote: Whether it may be outside the user's network.

    Raises:
        SandboxConfigError: If it is none, or is not allowed.
    """
    if model is None:
        return ModelEndpoint.from_env()
    if isinstance(model, str):
        return ModelEndpoint(model)
    if isinstance(model, ModelEndpoint):
        return model
    from langchain_sandbox.chat_model.source import check_chat_model  # noqa: PLC0415 - who has a server needs none of it

    return check_chat_model(model, allow_remote=allow_remote)


def find_model(model: ModelEndpoint | BaseChatModel, command: Command | None) -> ModelEndpoint | ModelSource:
    """What a run is to ask: a server, which it looks for itself, or a chat model, which is there.

    Args:
        model: The sandbox's.
        command: The command that is run, which may ask for another one.
    """
    if isinstance(model, ModelEndpoint):
        return model
    from langchain_sandbox.chat_model.source import ChatModelSource  # noqa: PLC0415 - as above

    return ChatModelSource(model, wanted=command.model if command is not None else None)
