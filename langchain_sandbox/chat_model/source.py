"""A chat model as what a run thinks with: looked at before the run, asked nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from langchain_sandbox.chat_model.caller import ChatModelCaller
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.untrusted import clean_text, strip_controls

if TYPE_CHECKING:
    from langchain_sandbox.config import Limits

_DEFAULT_CONTEXT = 32 * 1024
_MAX_OUTPUT = 8 * 1024
_MAX_NAME = 200
_NAMES = ("model_name", "model", "model_id", "deployment_name", "azure_deployment")


class ChatModelSource:
    """A chat model, ready to be called.

    Args:
        model: The chat model.
        wanted: Model that a command asks for, maybe with its provider before it. A chat model is one model.
    """

    def __init__(self, model: BaseChatModel, *, wanted: str | None = None) -> None:
        self._model = model
        self.model = _find_name(model)
        told_provider = clean_text(_find_told(model, "ls_provider"), _MAX_NAME)
        self.provider = strip_controls(told_provider) or type(model).__name__
        profile = _find_profile(model)
        told = _find_number(profile, "max_input_tokens")
        self.context = told or _DEFAULT_CONTEXT
        self.context_told = told is not None
        # The prompt and the answer must fit the context together.
        self.output = min(_find_number(profile, "max_output_tokens") or _MAX_OUTPUT, self.context // 4)
        self.note = None
        if wanted and self.model not in {wanted, wanted.partition("/")[2]}:
            self.note = (
                f"The command asks for the model {wanted!r}, and a chat model cannot be exchanged; "
                f"it ran with {self.model!r}."
            )

    def open(self, limits: Limits) -> ChatModelCaller:
        """Ready to be called.

        Args:
            limits: `first_byte` and `idle` bound the waiting.
        """
        return ChatModelCaller(self._model, limits)


def check_chat_model(model: object, *, allow_remote: bool) -> BaseChatModel:
    """Refuse what cannot be the model of a sandbox.

    Args:
        model: What was given as one.
        allow_remote: Whether the model may be outside the user's network.

    Raises:
        SandboxConfigError: If it is no chat model, cannot call tools, or is not allowed.
    """
    name = type(model).__name__
    if not isinstance(model, BaseChatModel):
        msg = f"model is a ModelEndpoint, a server's address, or a LangChain chat model, not a {name}."
        if isinstance(model, Runnable):
            msg = (
                f"model has to be the chat model itself, not the {name} that bind(), bind_tools(), with_retry(), "
                "with_fallbacks() and the like make of it: OpenCode brings its own tools, and everything else can be "
                "said where the chat model is made, such as ChatOpenAI(model=..., temperature=0, max_retries=5)."
            )
        raise SandboxConfigError(msg)
    if type(model).bind_tools is BaseChatModel.bind_tools:
        msg = f"The chat model {name} cannot call tools (it has no bind_tools), and OpenCode works by calling them."
        raise SandboxConfigError(msg)
    if not allow_remote:
        msg = (
            f"Where a {name} sends what it is told cannot be seen from here, and it will be told the repository's "
            "content. If that may leave your network, or you know that it does not, pass "
            "Sandbox(allow_remote_model=True) or set SANDBOX_ALLOW_REMOTE_MODEL=1. A ModelEndpoint needs neither: its "
            "address can be checked."
        )
        raise SandboxConfigError(msg)
    return model


def _find_name(model: BaseChatModel) -> str:
    """What the model is called, as LangChain would tell a tracer."""
    places = [
        _find_told(model, "ls_model_name"),
        *(getattr(model, name, None) for name in _NAMES),
        type(model).__name__,
    ]
    name = next(place for place in places if isinstance(place, str) and place)
    return clean_text(strip_controls(name), _MAX_NAME)


def _find_told(model: BaseChatModel, name: str) -> Any:  # noqa: ANN401 - it is the integration's
    """What LangChain would tell a tracer of the model."""
    try:
        return model._get_ls_params().get(name)  # noqa: SLF001 - they say it nowhere else
    except Exception:  # noqa: BLE001 - it is the integration's, and there are other places to look
        return None


def _find_profile(model: BaseChatModel) -> dict[str, Any]:
    profile: Any = getattr(model, "profile", None)
    return profile if isinstance(profile, dict) else {}


def _find_number(profile: dict[str, Any], name: str) -> int | None:
    value = profile.get(name)
    return value if type(value) is int and value > 0 else None
