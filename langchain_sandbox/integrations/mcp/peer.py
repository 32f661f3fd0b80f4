"""The client that a request is from: what it can do, and questions to it.

Until 2025-11-25 the server sends its client a request of its own and waits. From 2026-07-28 on there are none: the
server answers that it needs something first, and the client comes again with it. Roots are deprecated there and still
work. Here both are one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import is_version_at_least
from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.context import ServerRequestContext

_Answer = TypeVar("_Answer", types.ElicitResult, types.ListRootsResult)

_LINKS_SINCE = "2025-06-18"
_QUIET = 3.0
"""Seconds after which a client hears that a call is still going on: OpenCode gives up after five that were quiet."""


class InputNeededError(Exception):
    """The client has to come again with an answer.

    Args:
        result: What it is told.
    """

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__(result)
        self.result = result


class Peer:
    """The client of one request.

    Args:
        context: The request's.
        params: What the request says, where it is one that may be asked for more.
    """

    def __init__(
        self, context: ServerRequestContext[Any, Any], params: types.InputResponseRequestParams | None = None
    ) -> None:
        self._session = context.session
        self._request_id = context.request_id
        self._answers = (params.input_responses if params is not None else None) or {}
        self._told = 0

    @property
    def has_roots(self) -> bool:
        """Whether it says which folders its user works on."""
        capabilities = self._session.client_capabilities
        return capabilities is not None and capabilities.roots is not None

    @property
    def has_forms(self) -> bool:
        """Whether it can ask its user to decide something."""
        capabilities = self._session.client_capabilities
        elicitation = capabilities.elicitation if capabilities is not None else None
        # Before there were kinds of elicitation, saying nothing of kinds meant forms.
        return elicitation is not None and (elicitation.form is not None or elicitation.url is None)

    @property
    def can_wait(self) -> bool:
        """Whether it can be asked while it waits for an answer, and need not come again."""
        return self._session.can_send_request

    @property
    def reads_links(self) -> bool:
        """Whether its revision of the protocol knows links to resources."""
        return is_version_at_least(self._session.protocol_version, _LINKS_SINCE)

    async def ask(
        self,
        key: str,
        request: types.InputRequest,
        kind: type[_Answer],
        *,
        state: str | None = None,
        limit: float | None = None,
    ) -> _Answer | None:
        """Have it answer a question.

        Args:
            key: The question's name.
            request: The question.
            kind: What answers it.
            state: What it has to say when it comes again, if it has to.
            limit: Seconds to wait; a user may take any time.

        Returns:
            The answer; `None` if there is none that can be read.

        Raises:
            InputNeededError: If it has to come again.
            TimeoutError: If it has not answered within the limit.
        """
        answer = self._answers.get(key)
        if isinstance(answer, kind):
            return answer
        if not self.can_wait:
            raise InputNeededError(types.InputRequiredResult(input_requests={key: request}, request_state=state))
        # Over HTTP the question travels in the stream of the request that it belongs to.
        metadata = ServerMessageMetadata(related_request_id=self._request_id)
        try:
            return await self._session.send_request(request, kind, limit, metadata)
        except (MCPError, ValidationError) as error:  # it said that it can be asked, and then would not
            if limit is not None and isinstance(error, MCPError) and error.code == types.REQUEST_TIMEOUT:
                raise TimeoutError from error
            return None

    async def report(self, message: str) -> None:
        """Tell it how a request goes, if it wants to know."""
        self._told += 1  # the protocol wants more each time, and nobody knows how much there will be
        await self._session.report_progress(float(self._told), message=message)

    async def keep_reporting(self, describe: Callable[[], str]) -> None:
        """Tell it how a request goes whenever it has heard nothing for a while; until this is cancelled.

        Args:
            describe: Says what goes on.
        """
        while True:
            told = self._told
            await anyio.sleep(_QUIET)
            if self._told == told:
                await self.report(describe())
