"""What LangGraph puts into a tool's call beside the model's arguments, declared so that a model cannot forge it.

`ToolNode` looks for the runtime among the fields of `args_schema`: there it takes out what a model has written under
that name and puts in its own. Outside `ToolNode` nobody takes anything out; there only a real runtime is valid.
"""

from __future__ import annotations

from typing import Annotated, Any

from langchain_core.tools import InjectedToolArg
from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, ConfigDict, InstanceOf, PlainSerializer, create_model
from pydantic.json_schema import SkipJsonSchema

# Not serialized: LangChain dumps all arguments after validating them, and the runtime holds the graph's whole state.
_Runtime = Annotated[
    SkipJsonSchema[InstanceOf[ToolRuntime[Any, Any]] | None], InjectedToolArg, PlainSerializer(lambda _: None)
]


class Injected(BaseModel):
    """The part of a tool's arguments that no model sees."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    runtime: _Runtime = None


def with_injected(arguments: type[BaseModel]) -> type[BaseModel]:
    """The arguments that a model may give, and what is injected."""
    return create_model(arguments.__name__, __base__=(arguments, Injected), __doc__=arguments.__doc__)


def without_injected(arguments: type[BaseModel]) -> type[BaseModel]:
    """What `with_injected` was given."""
    return next(base for base in arguments.__bases__ if base is not Injected)
