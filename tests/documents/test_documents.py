"""What the documents say can be done can be done: links lead somewhere, and commands are those that there are."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import pytest
import yaml

from issuer.api import installed
from issuer.authorities import registry
from issuer.cli.main import main
from issuer.cli.run import ALIASES
from tests.chart.helm import CHART
from tests.controlplane.plane import ROOT
from tests.documents.pages import Block, anchors, blocks, commands, links, name, pages, prose
from tests.e2e.kubectl import BINARY, needs_kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator

CONSOLE: Final = blocks("console")
VALUES: Final = yaml.safe_load((CHART / "values.yaml").read_text())
CONTEXT: Final = click.Context(main)
FIELDS: Final = installed.expected(registry.configs())
OTHERS: Final = frozenset({"text", "json", "console", "yaml", "promql", "python"})


def words(program: str) -> Iterator[tuple[Block, list[str]]]:
    """The commands of the documents that call a program, without what is done with their output."""
    for block in CONSOLE:
        for command in commands(block):
            found = shlex.split(re.split(r" [<>]|>>", command)[0])
            found = found[next((i for i, word in enumerate(found) if "=" not in word or word.startswith("-")), 0) :]
            if found and Path(found[0]).name == program:
                yield block, found[1:]


def cases(program: str) -> list[Any]:
    return [pytest.param(found, id=f"{block} {shlex.join(found)[:60]}") for block, found in words(program)]


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and target.suffix == ".md" and fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_found_from_the_readme() -> None:
    found, new = set(), {ROOT / "README.md"}
    while new:
        found |= new
        targets = {(page.parent / link.partition("#")[0]).resolve() for page in new for link in links(page)}
        new = {target for target in targets if target.suffix == ".md"} - found
    assert [name(page) for page in pages() if page not in found] == []


def test_every_block_says_what_it_is_in() -> None:
    assert {f"{block} {block.language}" for block in blocks() if block.language not in OTHERS} == set()


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_a_shell_can_read_it(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", cases("cdn-issuer"))
def test_our_commands_and_options_are_there(arguments: list[str]) -> None:
    if not arguments:
        return  # a shell asks it for its completion
    command, *rest = arguments
    assert main.get_command(CONTEXT, command) is not None, command
    given = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"}
    assert given <= options(command)


def options(command: str) -> set[str]:
    found = main.get_command(CONTEXT, command)
    assert found is not None
    named = {option for one in found.params for option in (*one.opts, *one.secondary_opts)}
    return named | {"--help"} | set(ALIASES)


@pytest.mark.parametrize("arguments", cases("make"))
def test_targets_of_make_are_there(arguments: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in arguments if "=" not in word} <= targets


@cache
def kubectl_help(verb: str) -> str:
    assert BINARY is not None
    # kubectl finds our plugin on PATH; it is installed beside it, and nobody need have activated that environment.
    path = os.pathsep.join((str(Path(BINARY).parent), os.environ.get("PATH", "")))

    def says(*arguments: str) -> str:
        command, env = [str(BINARY), *arguments], os.environ | {"PATH": path}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=env)
        assert done.returncode == 0, (verb, done.stderr)
        return done.stdout

    return says(*verb.split(), "--help") + says("options")


@needs_kubectl
@pytest.mark.parametrize("arguments", cases("kubectl"))
def test_verbs_and_options_of_kubectl_are_there(arguments: list[str]) -> None:
    rest = list(arguments)
    while rest[0] in ("-n", "--namespace"):
        rest = rest[2:]
    long = {"create": 3, "rollout": 2, "set": 2}.get(rest[0], 1)
    verb = " ".join(word for word in rest[: 2 if rest[:2] == ["create", "namespace"] else long])
    text = kubectl_help(verb)
    for word in arguments:
        option = word.partition("=")[0]
        if option.startswith("-") and option != "-":
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text), f"{verb} {option}"


@pytest.mark.parametrize("arguments", cases("helm"))
def test_values_that_helm_is_given_are_there(arguments: list[str]) -> None:
    given = [arguments[i + 1] for i, word in enumerate(arguments[:-1]) if word == "--set"]
    for setting in given:
        for one in re.split(r",(?![^{]*})", setting):
            assert is_value(one.partition("=")[0]), one


def is_value(path: str) -> bool:
    """Whether the chart has such a value, or a map in which it is free."""
    at: Any = VALUES
    for key in path.split("."):
        if not isinstance(at, dict) or (key not in at and at):
            return False
        at = at.get(key, {})
    return True


@pytest.mark.parametrize("page", [page for page in pages() if page.parent.name == "docs"], ids=name)
def test_values_and_options_that_are_named_are_there(page: Path) -> None:
    quoted = re.findall(r"`([^`\n]+)`", prose(page))
    values = [found[1] for text in quoted if (found := re.fullmatch(r"([a-z]\w*(?:\.\w+)+)(?::.*)?", text))]
    roots = {"spec", "status", "metadata", "cert", "api"}
    ours = set(VALUES) - roots
    named = [path for path in values if path.split(".")[0] in ours and f"spec.{path}" not in FIELDS["CDNIssuer"]]
    assert [path for path in named if not is_value(path)] == []
    known = {option for command in main.list_commands(CONTEXT) for option in options(command)}
    options_named = {found[1] for text in quoted if (found := re.fullmatch(r"(--[a-z][a-z-]+)(?:[= ].*)?", text))}
    assert options_named - known - FOREIGN_OPTIONS == set()


FOREIGN_OPTIONS: Final = frozenset(
    {"--reuse-values", "--require-hashes", "--cluster-resource-namespace", "--help", "--only", "--validate"}
)
"""Options of other programs that the documents name."""
