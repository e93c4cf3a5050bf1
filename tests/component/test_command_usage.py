"""Options that cannot work are told in one line, before anything begins."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from issuer.cli import run as run_module
from issuer.cli.main import main
from issuer.cli.parameters import Address, ListenAddress


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


@pytest.mark.parametrize(
    "address", ["", "8080", ":", ":http", ":-1", ":65536", "::1:8080", "[::1]", "http://a:80", "a b:1"]
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
