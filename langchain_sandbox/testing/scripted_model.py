"""A model server that says what a test wrote down, over real HTTP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from langchain_sandbox.config import ModelEndpoint
from langchain_sandbox.testing._http import ModelServer
from langchain_sandbox.testing._ledger import Ledger

if TYPE_CHECKING:
    from types import TracebackType

    from langchain_sandbox.testing._ledger import RecordedRequest
    from langchain_sandbox.testing.script import Fault, Script


class ScriptedModel:
    """An OpenAI-compatible server whose answers are a script, for testing graphs and agents without a model.

    It answers `POST /v1/chat/completions`, streaming or not, and `GET /v1/models` like vLLM. Each chat
    request takes the next turn, in the order in which requests arrive; a turn with a fault is used up like
    any other.

    OpenCode also asks for a title for its session, beside the conversation and at any time. Such a request
    gets a fixed title: it takes no turn and is not among the `requests`. Neither is a request with a wrong
    key or with a body that is no chat request.

    Args:
        script: The turns, or a function that gets a request's messages and returns the turn. The function is
            called for one request at a time, in a thread of the server. When turns run out, or the function
            raises, the request gets an HTTP 400 that says so, and `errors` has the exception.
        host: Name or IPv4 address to listen on.
        port: Port to listen on; 0 takes a free one.
        name: The model's name in `/v1/models` and in answers. Requests may ask for any name.
        api_key: The bearer token that every request must bring, else it gets an HTTP 401. `None` asks for
            none.
        context_length: The model's context in tokens, as `/v1/models` tells it.
        fault: How every chat request fails, title requests included. They take no turn. `/v1/models` stays
            healthy, except with `"refused"`, where nobody listens.

    Raises:
        SandboxConfigError: If the script or the fault cannot be played; the message says what is wrong.

    Example:
        ```python
        turns = [
            {"tool_calls": [{"name": "write", "arguments": {"filePath": "a.txt", "content": "a"}}]},
            {"text": "Done"},
        ]
        with ScriptedModel(turns) as model:
            result = Sandbox(model=model.endpoint, workspace="repo").run("Write a.txt")
        assert len(model.requests) == 2
        ```
    """

    def __init__(
        self,
        script: Script,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "scripted-model",
        api_key: str | None = None,
        context_length: int = 131072,
        fault: Fault | None = None,
    ) -> None:
        self._ledger = Ledger(script, fault)
        self._address = (host, port)
        self._name = name
        self._api_key = api_key
        self._context_length = context_length
        self._endpoint: ModelEndpoint | None = None
        self._server: ModelServer | socket.socket | None = None

    @property
    def endpoint(self) -> ModelEndpoint:
        """Where the model is, with its name and key. It can be read until long after `close`.

        Raises:
            RuntimeError: If the server was not started yet, so that it has no port.
        """
        if self._endpoint is None:
            msg = "The scripted model has no address yet: use it as `with ScriptedModel(...) as model:`."
            raise RuntimeError(msg)
        return self._endpoint

    @property
    def requests(self) -> list[RecordedRequest]:
        """The chat requests until now, in the order of their turns. The list is yours; it does not grow."""
        return self._ledger.requests

    @property
    def errors(self) -> list[BaseException]:
        """What went wrong in the script until now: its function raised, or there was no turn left.

        A test that ends with `assert not model.errors` learns of it even where the graph got over the 400.
        """
        return self._ledger.errors

    def start(self) -> Self:
        """Listen and answer, until `close`.

        Returns:
            The server itself.

        Raises:
            OSError: If the address cannot be listened on.
            RuntimeError: If it was started before; a script is played once.
        """
        if self._endpoint is not None:
            msg = "A scripted model starts once; make another one for another script."
            raise RuntimeError(msg)
        if self._ledger.fault == "refused":
            self._server = _reserve(self._address)
            port = self._server.getsockname()[1]
        else:
            self._server = ModelServer(
                self._address,
                self._ledger,
                name=self._name,
                api_key=self._api_key,
                context_length=self._context_length,
            )
            self._server.start()
            port = self._server.server_address[1]
        self._endpoint = ModelEndpoint(f"http://{self._address[0]}:{port}/v1", self._name, self._api_key)
        return self

    def close(self) -> None:
        """Stop at once, and break off what is being answered. Closing again does nothing.

        It leaves no socket and no thread; only a script function that blocks is left to end by itself.
        """
        server, self._server = self._server, None
        if isinstance(server, ModelServer):
            server.stop()
        elif server is not None:
            server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _reserve(address: tuple[str, int]) -> socket.socket:
    # Bound but not listening: connecting is refused, and nobody else can take the port meanwhile.
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.bind(address)
    except OSError:
        holder.close()
        raise
    return holder
