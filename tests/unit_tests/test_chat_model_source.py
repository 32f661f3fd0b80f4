"""What may be a sandbox's model, and what is known of it before a run."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from chat_models import CallsTools, Whole, play
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI

from langchain_sandbox import Sandbox, SandboxConfigError
from langchain_sandbox.chat_model.source import ChatModelSource

KEY = "sk-s3cr3t-key"
OPENAI = ChatOpenAI(model="gpt-5", api_key=KEY, base_url="http://127.0.0.1:9/v1")


class Plain(CallsTools):
    """A model that says nothing of itself."""

    def _generate(self, *_: object, **__: object) -> ChatResult:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SANDBOX_")]:
        monkeypatch.delenv(name)


def test_a_chat_model_has_to_be_allowed_since_nobody_sees_where_it_sends_what_it_is_told() -> None:
    with pytest.raises(SandboxConfigError, match=r"ChatOpenAI.*cannot be seen.*allow_remote_model=True.*SANDBOX_ALLOW"):
        Sandbox(model=OPENAI)
    assert Sandbox(model=OPENAI, allow_remote_model=True).model is OPENAI


def test_the_environment_can_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_ALLOW_REMOTE_MODEL", "1")
    assert Sandbox(model=OPENAI).model is OPENAI
    with pytest.raises(SandboxConfigError, match="cannot be seen"):
        Sandbox(model=OPENAI, allow_remote_model=False)


MADE = [
    OPENAI.bind(temperature=0),
    OPENAI.bind_tools([]),
    OPENAI.with_retry(),
    OPENAI.with_fallbacks([OPENAI]),
    OPENAI.with_config(tags=["x"]),
    RunnableLambda(lambda _: AIMessage("x")) | OPENAI,
]


@pytest.mark.parametrize("made", MADE, ids=range(len(MADE)))
def test_what_was_made_of_a_chat_model_is_refused_and_the_message_says_what_to_do(made: object) -> None:
    with pytest.raises(SandboxConfigError, match=r"the chat model itself.*OpenCode brings its own tools"):
        Sandbox(model=made, allow_remote_model=True)


@pytest.mark.parametrize("other", [ChatOpenAI, 3, {"base_url": "http://127.0.0.1"}])
def test_what_is_no_model_at_all_is_refused(other: object) -> None:
    with pytest.raises(SandboxConfigError, match="model is a ModelEndpoint"):
        Sandbox(model=other, allow_remote_model=True)


def test_a_model_that_cannot_call_tools_is_refused() -> None:
    with pytest.raises(SandboxConfigError, match=r"FakeListChatModel cannot call tools \(it has no bind_tools\)"):
        Sandbox(model=FakeListChatModel(responses=["x"]), allow_remote_model=True)


def test_name_and_size_are_what_the_model_says_of_itself() -> None:
    source = ChatModelSource(ChatOpenAI(model="own", api_key=KEY, profile={"max_input_tokens": 65536}))
    assert (source.model, source.context, source.context_told) == ("own", 65536, True)
    assert source.output == 8192
    large = {"max_input_tokens": 200_000, "max_output_tokens": 64_000}
    assert ChatModelSource(Plain(profile=large)).output == 50_000
    small = {"max_input_tokens": 200_000, "max_output_tokens": 4096}
    assert ChatModelSource(Plain(profile=small)).output == 4096


def test_what_a_model_does_not_say_is_assumed() -> None:
    source = ChatModelSource(Plain())
    assert (source.model, source.context, source.context_told, source.output) == ("Plain", 32768, False, 8192)
    odd = Plain(profile={"max_input_tokens": -1})
    assert (ChatModelSource(odd).context, ChatModelSource(odd).context_told) == (32768, False)


def test_a_command_cannot_choose_another_model() -> None:
    assert ChatModelSource(OPENAI).note is None
    assert ChatModelSource(OPENAI, wanted="openai/gpt-5").note is None
    note = ChatModelSource(OPENAI, wanted="anthropic/claude").note
    assert note is not None
    assert "'anthropic/claude'" in note
    assert "'gpt-5'" in note


def test_a_sandbox_does_not_show_the_key_and_copies_if_the_model_does() -> None:
    sandbox = Sandbox(model=OPENAI, allow_remote_model=True)
    assert KEY not in repr(sandbox) + f"{vars(sandbox)}"
    assert repr(sandbox).startswith("Sandbox(model='ChatOpenAI'")
    assert copy.copy(sandbox).model is OPENAI
    plain = pickle.loads(pickle.dumps(Sandbox(model=Plain(), allow_remote_model=True)))
    assert (plain.model, plain.allow_remote_model) == (Plain(), True)


def test_who_has_a_server_loads_nothing_of_it() -> None:
    program = (
        "import sys, langchain_sandbox as s; s.Sandbox(model='http://127.0.0.1:9');"
        "print([name for name in sys.modules if 'chat_model' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"


def test_a_model_of_the_tests_is_one() -> None:
    assert Sandbox(model=Whole(answer=play()), allow_remote_model=True).allow_remote_model
