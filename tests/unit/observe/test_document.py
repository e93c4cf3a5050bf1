"""docs/metrics.md is what the code says."""

from __future__ import annotations

from pathlib import Path

from issuer.controllers.census import MAX_SHOWN
from issuer.observe.document import HEAD, document
from issuer.observe.families import FAMILIES
from issuer.observe.labels import MAX_AUTHORITIES, MAX_ISSUERS, MAX_NAMED

PAGE = Path(__file__).resolve().parents[3] / "docs/metrics.md"


def test_the_page_is_as_it_is_written_from_the_code() -> None:
    assert PAGE.read_text() == document(), "run `make metrics-doc`"


def test_each_metric_is_on_it_once_in_a_row_of_five_cells() -> None:
    rows = [line for line in document().splitlines() if line.startswith("| `cdn_issuer_")]
    assert [row.split("`")[1] for row in rows] == [family.name for family in FAMILIES]
    assert {row.count("|") for row in rows} == {6}


def test_the_bounds_that_it_names_are_those_of_the_code() -> None:
    for words in (
        f"{MAX_ISSUERS} issuers",
        f"{MAX_NAMED} that do not exist",
        f"{MAX_AUTHORITIES} names",
        f"{MAX_SHOWN} issuers",
    ):
        assert words in HEAD.replace("\n", " ")
