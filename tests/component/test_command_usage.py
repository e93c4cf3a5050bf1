"""Options that cannot work are told in one line, before anything begins."""

from __future__ import annotations

import inspect
import socket
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from issuer.cli import run as run_module
from issuer.cli.main import COMMANDS, main
from issuer.cli.parameters import Address, ListenAddress, Seconds
from issuer.sandbox.cdn import FaultKind

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--lease-duration", "5"],
        ["--renew-deadline", "20"],
        ["--retry-period", "10"],
        ["--no-leader-elect", "--lease-duration", "5"],
    ],
)
def test_times_of_the_lease_that_do_not_fit_are_a_usage_error(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 2
    told = result.output.strip().splitlines()[-1]
    assert told.startswith("Error: --retry-period (")
    assert "and that less than --lease-duration (" in told


def test_signing_requests_in_some_namespaces_only_are_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["run", "--certificate-signing-requests", "--namespace", "web"])
    assert result.exit_code == 2
    told = result.output.strip().splitlines()[-1]
    assert told.startswith("Error: --certificate-signing-requests and --namespace exclude each other: ")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "8080",
        "foo",
        "0.0.0.0",
        "127.0.0.1:99999",
        ":",
        ":http",
        ":-1",
        ":65536",
        "::1:8080",
        "[::1]",
        "http://a:80",
        "a b:1",
    ],
)
def test_an_address_that_cannot_be_listened_on_is_a_usage_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_run", None)
    result = CliRunner().invoke(main, ["run", "--listen", address])
    assert result.exit_code == 2
    assert "is no address such as :8080" in result.output.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", ("", 8080)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::]:8080", ("::", 8080)),
        ("[fe80::1%eth0]:8080", ("fe80::1%eth0", 8080)),
    ],
)
def test_an_address_has_a_host_or_none_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert ListenAddress().convert(text, None, None) == Address(*address)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15.0), ("500ms", 0.5), ("1m30s", 90.0), ("2h", 7200.0), ("15", 15.0), ("0.3", 0.3), (" 2s ", 2.0)],
)
def test_a_duration_is_written_as_in_an_issuer_or_as_seconds(text: str, seconds: float) -> None:
    assert Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("option", ["lease-duration", "renew-deadline", "retry-period", "kube-api-timeout", "grace"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("soon", "'soon' is no duration such as 15s, 500ms or 1m30s"),
        ("15x", "'15x' is no duration such as 15s, 500ms or 1m30s"),
        ("", "'' is no duration such as 15s, 500ms or 1m30s"),
        ("nan", "'nan' is no duration such as 15s, 500ms or 1m30s"),
        ("-5s", "'-5s' is no duration such as 15s, 500ms or 1m30s"),
        ("99ms", "'99ms' is not between 100ms and 1d"),
        ("0", "'0' is not between 100ms and 1d"),
        ("25h", "'25h' is not between 100ms and 1d"),
        ("9" * 400, "is no duration"),
    ],
)
def test_a_duration_that_is_none_or_out_of_bounds_is_a_usage_error(
    option: str, text: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_run", None)
    result = CliRunner().invoke(main, ["run", f"--{option}={text}"])
    assert result.exit_code == 2
    last = result.output.strip().splitlines()[-1]
    assert last.startswith(f"Error: Invalid value for '--{option}'")
    assert told in last or "is not between" in last
    assert len(last) < 250


@pytest.mark.parametrize("name", ["", "My-Lease", "a..b", "-a", "a" * 254, "a/b"])
def test_a_name_that_no_lease_can_have_is_a_usage_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_run", None)
    result = CliRunner().invoke(main, ["run", "--lease-name", name])
    assert result.exit_code == 2
    assert "is no name of an object" in result.output.strip().splitlines()[-1]


def help_of(command: str, width: int = 80) -> str:
    result = CliRunner().invoke(main, [command, "--help"], terminal_width=width)
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_page_shows_its_examples_line_by_line(command: str, width: int) -> None:
    shown = help_of(command, width)
    assert "\\b" not in shown
    assert "\b" not in shown
    source = main.get_command(click.Context(main), command)
    assert source is not None
    assert source.help is not None
    examples = inspect.cleandoc(source.help).partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    for line in examples:
        assert f"\n  {line.rstrip()}\n" in shown


def test_the_list_of_commands_says_of_each_in_a_whole_sentence_what_it_does() -> None:
    result = CliRunner().invoke(main, ["--help"], terminal_width=80)
    listed = result.output.partition("Commands:\n")[2].strip().splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("..") for line in listed)


def test_the_help_of_run_tells_defaults_as_they_are() -> None:
    shown = " ".join(help_of("run", 200).split())
    assert "default: (host name, process id and a random part)" in shown
    assert "Minimum level." in shown
    assert "terminationGracePeriodSeconds" in shown
    assert "CDN_ISSUER_RUN_LEASE_DURATION; default: 15s" in shown


@pytest.mark.parametrize(("alias", "name"), run_module.ALIASES.items())
def test_a_name_of_cert_manager_or_controller_runtime_is_taken(
    alias: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_run", None)
    for arguments in ([alias, "?"], [f"{alias}=?"]):
        result = CliRunner().invoke(main, ["run", *arguments])
        assert result.exit_code == 2
        assert result.output.strip().splitlines()[-1].startswith(f"Error: Invalid value for '{name}'")
    assert f"{alias} for {name}" in " ".join(help_of("run", 400).split())


def test_the_help_of_the_mock_lists_the_kinds_of_fault() -> None:
    lines = help_of("mock-cdn").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.strip().startswith("Kinds of fault"))
    listed = [line.split()[0] for line in lines[begin + 1 :] if line.startswith("    ") and line[4] != " "]
    assert listed == list(FaultKind)


@pytest.mark.parametrize("arguments", [["crds", "--directory", "{file}/x"], ["mock-cdn", "--roots-file", "{file}/x"]])
def test_a_file_that_cannot_be_written_is_told_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    result = CliRunner().invoke(main, [argument.format(file=file) for argument in arguments])
    assert result.exit_code == 1
    (told,) = result.output.splitlines()
    assert told.startswith(f"Error: Could not open file '{file}/x")
    assert told.endswith(": Not a directory")


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["mock-cdn", "--port", str(port)])
    assert result.exit_code == 1
    (told,) = result.output.splitlines()
    assert told.startswith(f"Error: cannot listen on 127.0.0.1:{port}: ")
