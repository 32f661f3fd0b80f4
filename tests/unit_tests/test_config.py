"""Every value that cannot work is refused where it is given, by its name, before anything is started."""

import copy
import pickle
from dataclasses import fields

import pytest

from langchain_sandbox.config import GIB, MIB, Limits, ModelEndpoint
from langchain_sandbox.errors import SandboxConfigError

KEY = "s3cr3t-key"
SIZES = ["memory", "workspace", "workspace_file", "home", "tmp", "changes"]
FIELDS = [item.name for item in fields(Limits)]
OPTIONAL = ["model_calls", "tokens"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("https://llm.example/proxy/v1", "https://llm.example/proxy/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("HTTP://Host", "http://Host/v1"),
    ],
)
def test_an_address_is_kept_in_one_form(given: str, kept: str) -> None:
    assert ModelEndpoint(given).base_url == kept
    assert ModelEndpoint(kept).base_url == kept


@pytest.mark.parametrize(
    "address",
    [
        "",
        " ",
        "127.0.0.1:8000",
        "localhost",
        "localhost:8000/v1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "unix:///run/vllm.sock",
        "http://",
        "http:///v1",
        "http://:8000",
        "http://host:port",
        "http://host:99999",
        "http://[::1",
        "http://a\x01b:8000",
        "http://xn--\u2764/",
        None,
        b"http://host",
    ],
)
def test_what_is_no_address_of_a_server_is_refused_and_shown(address: str) -> None:
    with pytest.raises(SandboxConfigError, match="base_url") as caught:
        ModelEndpoint(address)
    assert repr(address) in str(caught.value)


@pytest.mark.parametrize("address", [f"http://user:{KEY}@host/v1", f"http://{KEY}@host/v1"])
def test_a_key_inside_the_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(SandboxConfigError, match="SANDBOX_MODEL_API_KEY") as caught:
        ModelEndpoint(address)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}é", f"{KEY}\0", f"{KEY} {KEY}", f"{KEY}\ud800", ""])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(SandboxConfigError, match="api_key") as caught:
        ModelEndpoint("http://host", api_key=key)
    assert KEY not in str(caught.value)


def test_the_key_is_never_shown() -> None:
    endpoint = ModelEndpoint("http://host", name="model", api_key=KEY)
    assert KEY not in repr(endpoint) + str(endpoint) + f"{endpoint}" + repr([endpoint])


def test_an_endpoint_is_read_from_the_environment() -> None:
    environ = {"SANDBOX_MODEL_BASE_URL": "http://host", "SANDBOX_MODEL_NAME": "m", "SANDBOX_MODEL_API_KEY": KEY}
    assert ModelEndpoint.from_env(environ) == ModelEndpoint("http://host/v1", "m", KEY)
    assert ModelEndpoint.from_env({"SANDBOX_MODEL_BASE_URL": "http://host", "SANDBOX_MODEL_NAME": ""}).name is None


@pytest.mark.parametrize("environ", [{}, {"SANDBOX_MODEL_BASE_URL": ""}, {"SANDBOX_MODEL_NAME": "m"}])
def test_without_an_address_in_the_environment_the_message_says_what_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(SandboxConfigError, match="SANDBOX_MODEL_BASE_URL"):
        ModelEndpoint.from_env(environ)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (1, 1),
        (123456, 123456),
        ("123456", 123456),
        ("512m", 512 * MIB),
        ("512M", 512 * MIB),
        ("2g", 2 * GIB),
        ("1.5g", GIB + GIB // 2),
        ("2gb", 2 * GIB),
        ("2GiB", 2 * GIB),
        (" 2g ", 2 * GIB),
        ("1t", 1024 * GIB),
        ("64k", 64 * 1024),
    ],
)
@pytest.mark.parametrize("name", SIZES)
def test_a_size_is_bytes_or_text(name: str, written: int | str, size: int) -> None:
    limits = Limits(**{name: written})
    assert (getattr(limits, name), limits.size(name)) == (size, size)


@pytest.mark.parametrize(
    "value", [0, -1, "0", "-1g", "", "much", "g", "2x", "0x10", "nan", "inf", True, None, [], "1g2", "2gg", "2bg"]
)
@pytest.mark.parametrize("name", SIZES)
def test_what_is_no_size_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SandboxConfigError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan"), float("inf"), True, False, "2", "", [], b"2"])
@pytest.mark.parametrize("name", [name for name in FIELDS if name not in SIZES])
def test_what_is_no_positive_number_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SandboxConfigError, match=f"Limits.{name}"):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["pids", "workspace_files", "model_calls", "tokens"])
def test_what_is_counted_is_a_whole_number(name: str) -> None:
    with pytest.raises(SandboxConfigError, match=f"Limits.{name} must be a positive whole number, not 1.5"):
        Limits(**{name: 1.5})


@pytest.mark.parametrize("name", FIELDS)
def test_no_limit_at_all_is_for_calls_and_tokens_only(name: str) -> None:
    if name in OPTIONAL:
        assert getattr(Limits(**{name: None}), name) is None
    else:
        with pytest.raises(SandboxConfigError, match=name):
            Limits(**{name: None})


@pytest.mark.parametrize("name", FIELDS)
def test_every_limit_is_read_from_a_variable_of_its_name(name: str) -> None:
    limits = Limits.from_env({f"SANDBOX_LIMIT_{name.upper()}": " 7 ", "SANDBOX_LIMIT_UNKNOWN": "x"})
    assert limits == Limits(**{name: 7})


@pytest.mark.parametrize(
    ("variable", "value", "limits"),
    [
        ("SANDBOX_LIMIT_MEMORY", "3g", Limits(memory="3g")),
        ("SANDBOX_LIMIT_MEMORY", "2gb", Limits(memory="2gb")),
        ("SANDBOX_LIMIT_MEMORY", "1.5GiB", Limits(memory="1.5GiB")),
        ("SANDBOX_LIMIT_CPUS", "0.5", Limits(cpus=0.5)),
        ("SANDBOX_LIMIT_MODEL_CALLS", "none", Limits(model_calls=None)),
        ("SANDBOX_LIMIT_TOKENS", "None", Limits(tokens=None)),
        ("SANDBOX_LIMIT_TOKENS", "", Limits()),
    ],
)
def test_a_variable_is_written_as_the_option_is(variable: str, value: str, limits: Limits) -> None:
    assert Limits.from_env({variable: value}) == limits


@pytest.mark.parametrize("value", ["many", "2,5", "1e3", "--2", "xg", "1 2"])
@pytest.mark.parametrize("name", FIELDS)
def test_a_variable_that_cannot_be_read_is_refused_by_its_name(name: str, value: str) -> None:
    variable = f"SANDBOX_LIMIT_{name.upper()}"
    with pytest.raises(SandboxConfigError, match=variable):
        Limits.from_env({variable: value})


@pytest.mark.parametrize("option", [Limits(memory="4g"), ModelEndpoint("http://host", "m", KEY)])
def test_options_are_values_that_copy_pickle_and_compare(option: object) -> None:
    assert option == copy.deepcopy(option) == pickle.loads(pickle.dumps(option))
    assert len({option, copy.copy(option)}) == 1
