"""docs/configuration.md is what the code says, and says all of it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from issuer.api import crd
from issuer.authorities import registry
from issuer.cli.reference import document
from issuer.cli.run import run

PAGE = Path(__file__).resolve().parents[3] / "docs/configuration.md"


def rows() -> dict[str, list[str]]:
    """The cells of each row, by what is in the first one."""
    lines = [line for line in document().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")] for line in lines]
    found: dict[str, list[str]] = {}
    for row in cells:
        found.setdefault(row[0].split("`")[1], row)
    return found


def test_the_page_is_as_it_is_written_from_the_code() -> None:
    assert PAGE.read_text() == document(), "run `make reference`"


@pytest.mark.parametrize("definition", crd.definitions(registry.configs()))
def test_each_field_of_both_kinds_has_a_row_with_its_description(definition: dict[str, object]) -> None:
    found = rows()
    version = definition["spec"]["versions"][0]  # type: ignore[index]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    wanted = [path for part in ("spec", "status") for path in paths(part, properties[part])]
    assert [path for path in wanted if path not in found or not found[path][-1]] == []
    assert len(wanted) > 50


def paths(path: str, schema: dict[str, object]) -> list[str]:
    found: list[str] = []
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    for name, inner in properties.items():
        is_list = inner["type"] == "array" and inner["items"]["type"] == "object"
        below = f"{path}.{name}" + ("[]" if is_list else "")
        found += [below, *paths(below, inner["items"] if is_list else inner)]
    return found


@pytest.mark.parametrize(
    ("path", "cells"),
    [
        ("spec.deadline", ["duration", "`1h`", "1s to 720h"]),
        ("spec.trust", ["string", "`Signer`", "`All`, `Signer`"]),
        ("spec.authorities[]", ["list of objects", "required", "1 to 8 items"]),
        ("spec.authorities[].name", ["string", "required", "1 to 63 characters; `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`"]),
        (
            "spec.authorities[].timeouts.attempt",
            ["duration", "`60s`, or as long as the turn or the deadline if that is shorter", "100ms to 10m"],
        ),
        ("spec.authorities[].limits.requestsPerSecond", ["number", "`4`", "0.01 to 10000"]),
        ("spec.authorities[].ca.allowCA", ["boolean", "`false`", ""]),
    ],
)
def test_a_row_tells_type_default_and_limits(path: str, cells: list[str]) -> None:
    assert rows()[path][1:4] == cells


def test_each_flag_has_a_row_with_its_variable() -> None:
    found = rows()
    for option in run.params:
        assert isinstance(option, click.Option)
        assert f"`{option.envvar}`" in found[option.opts[0]][1]
    assert found["--lease-duration"][2] == "`15s`"
    assert found["--namespace"][0] == "`--namespace` / `-n`"
