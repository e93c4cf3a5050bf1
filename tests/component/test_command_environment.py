"""The command line and the environment: what is set there is served, or refused, and never passed over.

No server is needed: the command is run up to the point where it would begin to work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from issuer.cli import run as run_module
from issuer.cli.main import COMMANDS, main
from issuer.observe import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.testing import Result

    from issuer.controllers.program import Options

    Start = Callable[..., tuple[Result, Sequence[Options]]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts `cdn-issuer run` with an environment; what came of it, and the options that a controller would have."""
    made: list[Options] = []

    async def begin(flags: dict[str, Any]) -> int:
        made.append(run_module._options(flags))
        return 0

    monkeypatch.setattr(run_module, "_run", begin)
    monkeypatch.setattr(run_module, "spare_the_collector", lambda: None)
    monkeypatch.setattr(logs, "configure", lambda *_: None)

    def run(*arguments: str, **environment: str) -> tuple[Result, Sequence[Options]]:
        return CliRunner().invoke(main, ["run", *arguments], env=environment), made

    return run


def test_the_namespaces_of_the_command_line_are_served(start: Start) -> None:
    result, made = start("-n", "web", "--namespace", "shop")
    assert result.exit_code == 0
    assert [tuple(options.namespaces) for options in made] == [("web", "shop")]


def test_the_namespace_of_the_environment_is_served_and_no_other(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESPACE="web")
    assert result.exit_code == 0
    assert [tuple(options.namespaces) for options in made] == [("web",)]


def test_a_list_of_namespaces_in_the_environment_has_commas(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESPACE="web,shop")
    assert result.exit_code == 0
    assert [tuple(options.namespaces) for options in made] == [("web", "shop")]


@pytest.mark.parametrize("namespaces", ["web,,shop", "web,", "Web", "web;shop", "web shop", "", " ", "w" * 64])
def test_a_list_with_a_name_that_no_namespace_can_have_is_refused(start: Start, namespaces: str) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESPACE=namespaces)
    assert result.exit_code != 0
    assert not made


def test_a_variable_that_names_no_option_is_refused(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESAPCE="web")
    assert result.exit_code != 0
    assert "CDN_ISSUER_RUN_NAMESAPCE" in result.output
    assert "the nearest is CDN_ISSUER_RUN_NAMESPACE\n" in result.output
    assert "Traceback" not in result.output
    assert not made


def test_a_variable_named_after_an_alias_is_refused_and_the_right_one_named(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_LEADER_ELECTION_RETRY_PERIOD="3s")
    assert result.exit_code == 2
    assert "the nearest is CDN_ISSUER_RUN_RETRY_PERIOD\n" in result.output
    assert not made


def test_durations_and_aliases_reach_the_options(start: Start) -> None:
    result, made = start(
        "--leader-election-lease-duration", "1m", "--renew-deadline=40s", CDN_ISSUER_RUN_RETRY_PERIOD="500ms"
    )
    assert result.exit_code == 0
    assert [(one.lease_duration, one.renew_deadline, one.retry_period, one.grace) for one in made] == [
        (60.0, 40.0, 0.5, 25.0)
    ]


@pytest.mark.parametrize("namespace", ["", "web,shop", "Web", "web\n.", "-web", "w" * 64])
def test_a_name_that_no_namespace_can_have_is_refused_on_the_command_line(start: Start, namespace: str) -> None:
    result, made = start("-n", namespace)
    assert result.exit_code == 2
    assert "is no name of a namespace" in result.output
    assert not made


@pytest.mark.parametrize("option", ["--lease-namespace", "--cluster-resource-namespace"])
def test_the_other_namespaces_are_checked_too(start: Start, option: str) -> None:
    result, made = start(option, "kube_system")
    assert result.exit_code == 2
    assert "is no name of a namespace" in result.output
    assert not made


def test_blanks_around_the_commas_do_not_matter(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESPACE="web, shop")
    assert result.exit_code == 0
    assert [tuple(options.namespaces) for options in made] == [("web", "shop")]


def test_the_command_line_goes_before_the_environment(start: Start) -> None:
    result, made = start("-n", "shop", CDN_ISSUER_RUN_NAMESPACE="web")
    assert result.exit_code == 0
    assert [tuple(options.namespaces) for options in made] == [("shop",)]


def test_an_empty_variable_is_refused(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_CLUSTER_ISSUERS="")
    assert result.exit_code == 2
    assert "CDN_ISSUER_RUN_CLUSTER_ISSUERS is empty" in result.output
    assert not made


def test_a_switch_of_the_environment_is_set_or_refused(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_CLUSTER_ISSUERS="no", CDN_ISSUER_RUN_LEADER_ELECT="0")
    assert result.exit_code == 0
    assert [(options.cluster_issuers, options.leader_election) for options in made] == [(False, False)]
    result, made = start(CDN_ISSUER_RUN_CLUSTER_ISSUERS="flase")
    assert result.exit_code == 2
    assert len(made) == 1


def test_the_help_is_shown_whatever_the_environment_holds(start: Start) -> None:
    result, _ = start("--help", CDN_ISSUER_RUN_NAMESAPCE="web")
    assert result.exit_code == 0
    assert "CDN_ISSUER_RUN_NAMESPACE" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_the_variable_that_is_named_after_it(command: str) -> None:
    found = main.get_command(click.Context(main), command)
    assert found is not None
    options = [parameter for parameter in found.params if isinstance(parameter, click.Option)]
    assert options or command == "convert", "it has files alone"
    for option in options:
        name = next(word for word in option.opts if word.startswith("--")).removeprefix("--")
        assert option.envvar == f"CDN_ISSUER_{command}_{name}".replace("-", "_").upper()


def test_the_lists_of_the_mock_have_commas_too(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, ...]] = []

    def no_mock(**settings: Any) -> Any:
        told.extend([settings["tokens"], settings["zones"]])
        raise SystemExit(0)

    monkeypatch.setattr("issuer.cli.mock_cdn.MockCDN", no_mock)
    environment = {"CDN_ISSUER_MOCK_CDN_TOKEN": "one,two", "CDN_ISSUER_MOCK_CDN_ZONE": "example.com, example.org"}
    assert CliRunner().invoke(main, ["mock-cdn"], env=environment).exit_code == 0
    assert told == [("one", "two"), ("example.com", "example.org")]
