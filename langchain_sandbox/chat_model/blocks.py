"""What a chat model's content says, whichever of the forms it has: plain text, or blocks of several styles. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage


def read_text(message: AIMessage) -> str:
    """What is said to the user; a refusal is said too."""
    if isinstance(message.content, str):
        return message.content
    return "".join(_find_texts(message.content, {"text": "text", "refusal": "refusal"}))


def read_reasoning(message: AIMessage) -> str:
    """What is thought before, where the model shows it."""
    told = message.additional_kwargs.get("reasoning_content")
    if isinstance(told, str) and told:
        return told
    if isinstance(message.content, str):
        return ""
    return "".join(_find_texts(message.content, {"thinking": "thinking", "reasoning": "reasoning"}))


def read_calls(message: AIMessage) -> list[dict[str, Any]]:
    """Calls of tools that stand in the content and nowhere else, as custom models give them."""
    if isinstance(message.content, str):
        return []
    arguments = {"tool_use": "input", "tool_call": "args"}
    return [
        {"name": block.get("name"), "id": block.get("id"), "args": block.get(arguments[block["type"]])}
        for block in message.content
        if isinstance(block, dict) and block.get("type") in arguments
    ]


def _find_texts(content: list[Any], kinds: dict[str, str]) -> Iterator[str]:
    """The texts of some types of block, by the name of the field that they are in."""
    for block in content:
        if isinstance(block, str):
            if "text" in kinds:
                yield block
        elif isinstance(block, dict):
            field = kinds.get(str(block.get("type")))
            text = block.get(field) if field else None
            if isinstance(text, str):
                yield text
            elif field == "reasoning":
                yield from _find_summaries(block)


def _find_summaries(block: dict[str, Any]) -> Iterator[str]:
    """OpenAI shows summaries of what was thought."""
    summaries = block.get("summary")
    for item in summaries if isinstance(summaries, list) else ():
        text = item.get("text") if isinstance(item, dict) else None
        if isinstance(text, str):
            yield text
