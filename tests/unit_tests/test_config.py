"""Every value that cannot work is refused where it is given, by its name, before anything is started."""

import copy
import pickle
from dataclasses import fields
from pathlib import Path

import pytest

from langchain_sandbox.config import GIB, MIB, Limits, ModelEndpoint
from langchain_sandbox.errors import SandboxConfigError
from langchain_sandbox.workspace_config import ApplyPolicy, Retention, Workspace

KEY = "s3cr3t-key"
SIZES = ["memory", "workspace", "workspace_file", "home", "tmp", "changes"]
FIELDS = [item.name for item in fields(Limits)]
OPTIONAL = ["model_calls", "tokens", "repeats"]


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
def test_no_limit_at_all_is_for_what_is_counted_only(name: str) -> None:
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


@pytest.mark.parametrize(
    "option",
    [
        Limits(memory="4g"),
        ModelEndpoint("http://host", "m", KEY),
        Workspace(Path("x"), include=["a"]),
        ApplyPolicy(risky="allow"),
        Retention(size="1g"),
    ],
)
def test_options_are_values_that_copy_pickle_and_compare(option: object) -> None:
    assert option == copy.deepcopy(option) == pickle.loads(pickle.dumps(option))
    assert len({option, copy.copy(option)}) == 1


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        *(("include", value, "Workspace.include") for value in ("dist", b"dist", Path("dist"), None, 7)),
        *(
            ("exclude", [value], "Workspace.exclude")
            for value in ("", "/", "./", "/etc", "..", "../x", "a/../b", "a\0", 7, None, b"x")
        ),
        *(("history", value, "Workspace.history") for value in (-1, 1.5, "7", True, None)),
        *(("mode", value, "Workspace.mode") for value in ("mount", "", None, ["copy"])),
        *(("path", value, "workspace") for value in ("", 7, None, "~nosuchuser/x")),
    ],
)
def test_a_workspace_that_cannot_work_is_refused_by_name(option: str, value: object, said: str) -> None:
    with pytest.raises(SandboxConfigError, match=said) as caught:
        Workspace(**{"path": "x", option: value})
    if value and not isinstance(value, list):
        assert str(value) in str(caught.value)


def test_a_workspace_is_kept_in_one_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    workspace = Workspace("sub", include=["./a", "dist/", Path("b")], exclude=(name for name in ("*.mp4", "x/**")))
    assert workspace.path == tmp_path / "sub"
    assert (workspace.include, workspace.exclude) == (("a", "dist", "b"), ("*.mp4", "x/**"))
    assert Workspace("~/x").path == tmp_path / "home/x"
    assert (workspace.history, workspace.mode) == (200, "copy")


def test_a_workspaces_options_are_read_from_the_environment(tmp_path: Path) -> None:
    environ = {
        "SANDBOX_WORKSPACE_INCLUDE": "dist, node_modules\n .env.test ",
        "SANDBOX_WORKSPACE_EXCLUDE": "*.mp4,,\n",
        "SANDBOX_WORKSPACE_HISTORY": " 0 ",
        "SANDBOX_WORKSPACE_MODE": "bind",
    }
    expected = Workspace(
        tmp_path, include=["dist", "node_modules", ".env.test"], exclude=["*.mp4"], history=0, mode="bind"
    )
    assert Workspace.of(tmp_path, environ) == expected
    assert Workspace.of(str(tmp_path), dict.fromkeys(environ, " ")) == Workspace(tmp_path)
    assert Workspace.of(Workspace(tmp_path, history=3), environ) == Workspace(tmp_path, history=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INCLUDE", "a,/etc"),
        ("EXCLUDE", "../x"),
        *(("HISTORY", text) for text in ("-1", "all", "1.5")),
        ("MODE", "mount"),
    ],
)
def test_a_workspaces_variable_that_cannot_work_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SandboxConfigError, match=f"SANDBOX_WORKSPACE_{name}"):
        Workspace.of("x", {f"SANDBOX_WORKSPACE_{name}": value})


@pytest.mark.parametrize("name", ["moved", "commits", "risky"])
@pytest.mark.parametrize("value", ["", "always", None, True, ["merge"]])
def test_a_policy_that_is_none_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SandboxConfigError, match=f"ApplyPolicy.{name} is one of .*, not "):
        ApplyPolicy(**{name: value})


def test_by_default_trees_are_merged_branches_moved_and_risks_refused() -> None:
    assert ApplyPolicy() == ApplyPolicy(moved="merge", commits="auto", risky="refuse")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("runs", value) for value in (-1, 1.5, "3", True, None, float("inf"))),
        *(("days", value) for value in (-0.1, "3", False, None, float("nan"), float("inf"))),
        *(("size", value) for value in (-1, "-1g", "much", "", None, True, 1.5)),
    ],
)
def test_a_retention_that_cannot_work_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SandboxConfigError, match=f"Retention.{name}"):
        Retention(**{name: value})


@pytest.mark.parametrize("variable", ["RUNS", "DAYS", "SIZE"])
@pytest.mark.parametrize("value", ["many", "2,5", "1e3", "--2"])
def test_a_retentions_variable_that_cannot_be_read_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(SandboxConfigError, match=f"SANDBOX_KEEP_{variable}"):
        Retention.from_env({f"SANDBOX_KEEP_{variable}": value})


def test_a_retention_is_read_from_the_environment() -> None:
    environ = {"SANDBOX_KEEP_RUNS": "7", "SANDBOX_KEEP_DAYS": "0.5", "SANDBOX_KEEP_SIZE": "1.5g"}
    retention = Retention.from_env(environ)
    assert retention == Retention(runs=7, days=0.5, size=GIB + GIB // 2)
    assert retention.room == GIB + GIB // 2
    assert Retention.from_env(dict.fromkeys(environ, " ")) == Retention() == Retention.from_env({})


def test_nothing_is_kept_where_one_of_its_bounds_is_none() -> None:
    assert Retention().keeps
    assert not any(each.keeps for each in (Retention(runs=0), Retention(days=0), Retention(size=0)))


@pytest.mark.parametrize("most", [0, -1, True, 1.5, "2"])
def test_a_number_of_requests_that_cannot_be_is_refused(most: object) -> None:
    with pytest.raises(SandboxConfigError, match="max_concurrency is a positive number"):
        ModelEndpoint("http://127.0.0.1:8000", max_concurrency=most)  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize(("text", "most"), [("", None), ("none", None), ("4", 4)])
def test_the_number_of_requests_at_once_is_read(text: str, most: int | None) -> None:
    environ = {"SANDBOX_MODEL_BASE_URL": "http://127.0.0.1:8000", "SANDBOX_MODEL_MAX_CONCURRENCY": text}
    endpoint = ModelEndpoint.from_env(environ)
    assert endpoint.max_concurrency == most
    assert pickle.loads(pickle.dumps(endpoint)) == copy.copy(endpoint) == endpoint


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_a_number_of_requests_that_cannot_be_read_names_its_variable(text: str) -> None:
    environ = {"SANDBOX_MODEL_BASE_URL": "http://127.0.0.1:8000", "SANDBOX_MODEL_MAX_CONCURRENCY": text}
    with pytest.raises(SandboxConfigError, match="SANDBOX_MODEL_MAX_CONCURRENCY"):
        ModelEndpoint.from_env(environ)
