"""What tests of a graph need: a model that says what the test wrote down, with no GPU and no network."""

from langchain_sandbox.testing._ledger import RecordedRequest
from langchain_sandbox.testing.script import Fault, Script, ToolCall, Turn, Usage
from langchain_sandbox.testing.scripted_model import ScriptedModel

__all__ = ["Fault", "RecordedRequest", "Script", "ScriptedModel", "ToolCall", "Turn", "Usage"]
