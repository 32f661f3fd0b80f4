"""Where a container got to: the model, and what its caller let its programs reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_sandbox.html.amounts import format_bytes, format_seconds
from langchain_sandbox.html.markup import Html, draw_all, rest_row, table, tag, to_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REFUSED: Final = 200
_CONNECTIONS: Final = 300
_PLACES: Final = 50
_COLUMNS: Final = ("Place", "At", "Open", "Out", "In", "Ended")

_SHUT: Final = (
    "The container had no network interface but loopback. It reached the model, and nothing else, through the gateway."
)
_OPENED: Final = (
    "The container had no network interface but loopback. It reached the model through the gateway, and its programs "
    "might reach these places through the host: "
)


def draw_network(fields: Mapping[str, Any]) -> list[Html]:
    """Who was reached, who was not, and what was refused."""
    egress, connections = fields["settings"]["egress"], fields["connections"]
    places = egress["allow"] if egress is not None else []
    opened = egress is not None or connections
    return [
        tag("h3", "", "Network"),
        tag("p", "about", f"{_OPENED}{_name_places(places)}." if opened else _SHUT),
        *_draw_refused(fields["evidence"]["refused_requests"]),
        *([_draw_connections(connections)] if connections else []),
    ]


def _name_places(places: Sequence[str]) -> str:
    named = ", ".join(to_line(place) for place in places[:_PLACES])
    return f"{named} and {len(places) - _PLACES:,} more" if len(places) > _PLACES else named or "unknown ones"


def _draw_connections(connections: Sequence[Mapping[str, Any]]) -> Html:
    rows = [_draw_connection(each) for each in connections[:_CONNECTIONS]]
    return table("calls", _COLUMNS, [*rows, *rest_row(len(connections) - _CONNECTIONS, "connections", _COLUMNS)])


def _draw_connection(connection: Mapping[str, Any]) -> Html:
    place = to_line(f"{connection['host']}:{connection['port']}")
    led = f" ({to_line(connection['address'])})" if connection["address"] not in {None, connection["host"]} else ""
    cells = [
        format_seconds(connection["at"]),
        format_seconds(connection["seconds"]),
        format_bytes(connection["sent"]),
        format_bytes(connection["received"]),
    ]
    refused = connection["refused"]
    return tag(
        "tr",
        "",
        tag("th", "", f"{place}{led}", scope="row"),
        *(tag("td", "", cell) for cell in cells),
        tag("td", "ok", "closed") if refused is None else tag("td", "minus", to_line(refused)),
    )


def _draw_refused(refused: Sequence[str]) -> list[Html]:
    if not refused:
        return [tag("p", "about", "The gateway had nothing to refuse.")]
    items = draw_all(refused, _draw_request, "requests", _REFUSED)
    return [
        tag("p", "about", f"The gateway refused {len(refused):,}:"),
        tag("ul", "notes", *(tag("li", "", item) for item in items)),
    ]


def _draw_request(request: str) -> Html:
    return tag("code", "", to_line(request))
