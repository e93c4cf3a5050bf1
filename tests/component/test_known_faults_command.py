"""Known faults of the command line: what is set in the environment is served, or refused, and never passed over.

No server is needed: the command is run up to the point where it would begin to work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from issuer.cli import run as run_module
from issuer.cli.main import main
from issuer.observe import logs
from tests.component.known_faults import known_fault

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
    monkeypatch.setattr(run_module, "_spare_the_collector", lambda: None)
    monkeypatch.setattr(logs, "configure", lambda *_: None)

    def run(*arguments: str, **environment: str) -> tuple[Result, Sequence[Options]]:
        return CliRunner().invoke(main, ["run", *arguments], env=environment), made

    return run


def test_the_namespaces_of_the_command_line_are_served(start: Start) -> None:
    result, made = start("-n", "web", "--namespace", "shop")
    assert result.exit_code == 0
    assert [tuple(options.namespaces) for options in made] == [("web", "shop")]


@known_fault("M14: the variable that is named after the option is ignored, and all namespaces are served")
def test_the_namespace_of_the_environment_is_served_and_no_other(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESPACE="web")
    assert result.exit_code == 0
    assert [tuple(options.namespaces) for options in made] == [("web",)]


@known_fault("M14: a list in the environment is ignored, or taken for one namespace")
def test_a_list_of_namespaces_in_the_environment_has_commas(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESPACE="web,shop")
    assert result.exit_code == 0
    assert [tuple(options.namespaces) for options in made] == [("web", "shop")]


@pytest.mark.parametrize("namespaces", ["web,,shop", "Web", "web;shop"])
@known_fault("M14: names that no namespace can have are not refused")
def test_a_list_with_a_name_that_no_namespace_can_have_is_refused(start: Start, namespaces: str) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESPACE=namespaces)
    assert result.exit_code != 0
    assert not made


@known_fault("M14: a variable with a typo is ignored")
def test_a_variable_that_names_no_option_is_refused(start: Start) -> None:
    result, made = start(CDN_ISSUER_RUN_NAMESAPCE="web")
    assert result.exit_code != 0
    assert "CDN_ISSUER_RUN_NAMESAPCE" in result.output
    assert not made
