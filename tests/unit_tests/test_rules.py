"""What a container may ask, word by word, and where a model may be, address by address."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.gateway.rules import Route, check_addresses, find_shortage, route

CHAT = ("POST", "/v1/chat/completions")
MODELS = ("GET", "/v1/models")


def test_the_two_doors_are_open() -> None:
    assert (route(*CHAT), route(*MODELS)) == (Route.CHAT, Route.MODELS)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/metrics"),
        ("GET", "/health"),
        ("GET", "/"),
        ("GET", ""),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/sleep"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "//v1/models"),
        ("GET", "/v1//models"),
        ("GET", "/v1/models/"),
        ("POST", "/v1/chat/completions/"),
        ("GET", "/v1/../metrics"),
        ("GET", "/v1/./models"),
        ("GET", "/v1/models/../../metrics"),
        ("POST", "/v1/%63hat/completions"),
        ("POST", "/v1/chat%2fcompletions"),
        ("GET", "/V1/models"),
        ("GET", "http://127.0.0.1:8000/v1/models"),
        ("POST", "http://169.254.169.254/v1/chat/completions"),
        ("GET", "//169.254.169.254/v1/models"),
        ("CONNECT", "127.0.0.1:8000"),
        ("CONNECT", "/v1/models"),
        ("GET", "/v1/models?x=1"),
        ("POST", "/v1/chat/completions?api-version=1"),
        ("GET", "/v1/models#x"),
        ("GET", "/v1/models\r\nHost: x"),
        ("GET", "/v1/models\0"),
        ("GET", " /v1/models"),
        ("get", "/v1/models"),
        ("post", "/v1/chat/completions"),
        ("Post", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("OPTIONS", "/v1/chat/completions"),
        ("HEAD", "/v1/models"),
        ("None", "None"),
    ],
)
def test_every_other_door_and_every_other_spelling_is_refused(method: str, target: str) -> None:
    assert route(method, target) is Route.REFUSED


@given(st.sampled_from([CHAT, MODELS]), st.integers(0, 40), st.characters(), st.booleans())
def test_one_letter_more_or_less_is_refused(door: tuple[str, str], place: int, letter: str, longer: bool) -> None:  # noqa: FBT001
    method, target = door
    place %= len(target)
    changed = target[:place] + (letter if longer else "") + target[place + (not longer) :]
    assert route(method, changed) is Route.REFUSED


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.9",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.10",
        "::1",
        "fd12:3456::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:192.168.1.1",
        "fd12:3456::1%eth0",
    ],
)
def test_loopback_and_private_addresses_are_let_through(address: str) -> None:
    check_addresses("model", [address])


REMOTE = [
    "8.8.8.8",
    "172.15.255.255",
    "172.32.0.1",
    "192.169.0.1",
    "11.0.0.1",
    "169.254.169.254",
    "169.254.1.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "100.64.0.1",
    "2001:4860:4860::8888",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "::",
    "::ffff:8.8.8.8",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "::127.0.0.1",
]


@pytest.mark.parametrize("address", REMOTE)
def test_every_other_address_is_refused(address: str) -> None:
    with pytest.raises(SandboxConfigError, match="allow_remote_model"):
        check_addresses("model", [address])


@given(st.permutations(["127.0.0.1", "10.0.0.1", "fd00::1"]), st.integers(0, 3), st.sampled_from(REMOTE))
def test_one_remote_address_among_private_ones_is_refused(private: list[str], place: int, remote: str) -> None:
    with pytest.raises(SandboxConfigError):
        check_addresses("model", [*private[:place], remote, *private[place:]])


@example("93.184.216.34")
@given(st.ip_addresses(v=4).filter(lambda address: address.is_global).map(str))
def test_a_public_address_is_refused_in_mapped_form_too(address: str) -> None:
    for spelling in (address, f"::ffff:{address}"):
        with pytest.raises(SandboxConfigError, match=address):
            check_addresses("model", [spelling])


def test_the_refusal_names_the_host_and_the_address() -> None:
    with pytest.raises(SandboxConfigError, match=r"llm\.example is at 8\.8\.8\.8"):
        check_addresses("llm.example", ["10.0.0.1", "8.8.8.8"])


def test_a_context_that_opencode_cannot_work_in_is_said() -> None:
    assert find_shortage(16_384) is None
    assert "only 4096 tokens" in str(find_shortage(4096))
