"""From a struct to a schema: what becomes of types, bounds and defaults, and what is refused when the CRDs are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from issuer.api.duration import PATTERN, Duration
from issuer.api.fields import bounds
from issuer.api.schema import of_struct


class Wait(Struct, frozen=True, rename="camel"):
    """How long to wait.

    What follows is for readers of the code.
    """

    short_time: Annotated[Duration, bounds("1s", "1m", "The short one.", not_above="longTime", yields=True)] = Duration(
        "2s"
    )
    long_time: Annotated[Duration, bounds("1s", "1h", "The long one.", yields=True)] = Duration("3s")
    alone: Annotated[Duration, bounds("1s", "1h", "Compared with nothing.")] = Duration("4s")


class Whole(Struct, frozen=True):
    """Everything."""

    wait: Annotated[Wait, Meta(description="The wait.")] = Wait()
    maybe: Annotated[Wait | None, Meta(description="Another one.")] = None
    words: Annotated[
        tuple[Annotated[Literal["b", "a"], Meta(description="A word.")], ...],
        Meta(description="Words.", min_length=1, max_length=3),
    ] = ("a",)
    number: Annotated[int, Meta(description="A number.", ge=0, le=9)] = 0
    text: Annotated[str, Meta(description="A text.", extra_json_schema={"maxLength": 7})] = ""


def part(name: str) -> dict[str, Any]:
    found: dict[str, Any] = of_struct(Whole)["properties"][name]
    return found


def test_a_struct_is_described_by_the_first_paragraph_of_its_docstring() -> None:
    assert of_struct(Wait)["description"] == "How long to wait."
    assert part("wait")["description"] == "The wait."


def test_a_duration_has_a_pattern_a_limit_and_a_rule_for_its_bounds() -> None:
    assert of_struct(Wait)["properties"]["alone"] == {
        "description": "Compared with nothing.",
        "type": "string",
        "default": "4s",
        "maxLength": 32,
        "pattern": PATTERN,
        "x-kubernetes-validations": [
            {
                "rule": "duration(self) >= duration('1s') && duration(self) <= duration('1h')",
                "message": "must be between 1s and 1h",
            }
        ],
    }


def test_two_durations_in_order_become_a_rule_of_their_struct_for_when_both_are_written() -> None:
    assert part("wait")["x-kubernetes-validations"] == [
        {
            "rule": "!has(self.shortTime) || !has(self.longTime) || "
            "duration(self.shortTime) <= duration(self.longTime)",
            "message": "shortTime must not be longer than longTime",
        }
    ]


def test_a_default_that_gives_way_is_not_in_the_schema_because_rules_are_checked_after_it_is_filled_in() -> None:
    assert [name for name, found in part("wait")["properties"].items() if "default" in found] == ["alone"]


def test_an_object_that_is_left_out_stays_out() -> None:
    assert "default" not in part("wait")


def test_what_may_be_absent_is_an_object_without_a_default() -> None:
    assert part("maybe")["type"] == "object"
    assert "default" not in part("maybe")


def test_a_list_of_words_has_an_enumeration_and_limits() -> None:
    assert part("words") == {
        "description": "Words.",
        "type": "array",
        "default": ["a"],
        "minItems": 1,
        "maxItems": 3,
        "items": {"description": "A word.", "type": "string", "enum": ["a", "b"]},
    }


def test_a_default_of_zero_is_a_default_and_an_empty_text_is_none() -> None:
    assert part("number") == {"description": "A number.", "type": "integer", "default": 0, "minimum": 0, "maximum": 9}
    assert part("text") == {"description": "A text.", "type": "string", "maxLength": 7}


def test_a_struct_with_nothing_required_says_nothing_of_it() -> None:
    assert "required" not in of_struct(Whole)


class Silent(Struct):
    """x."""

    field: Annotated[str, Meta(max_length=3)]


class Boundless(Struct):
    """x."""

    field: Annotated[str, Meta(description="x")]


class Endless(Struct):
    """x."""

    field: Annotated[tuple[Annotated[int, Meta(description="x")], ...], Meta(description="x")]


class SilentItems(Struct):
    """x."""

    field: Annotated[tuple[int, ...], Meta(description="x", max_length=3)]


class Strange(Struct):
    """x."""

    field: Annotated[bytes, Meta(description="x")]


class Ambiguous(Struct):
    """x."""

    field: Annotated[str, Meta(description="x", max_length=3, pattern=r"^\w+$")]


class Stubborn(Struct):
    """x."""

    short: Annotated[Duration, bounds("1s", "1m", "x", not_above="long", yields=True)] = Duration("2s")
    long: Annotated[Duration, bounds("1s", "1m", "x")] = Duration("2s")


class Inner(Struct):
    """x."""

    inner: Annotated[Boundless, Meta(description="x")]


@pytest.mark.parametrize(
    ("struct", "says"),
    [
        (Silent, "Silent.field: it has no description"),
        (Boundless, "Boundless.field: a string needs a max_length"),
        (Endless, "Endless.field: a list needs a max_length"),
        (SilentItems, "SilentItems.field: it has no description"),
        (Strange, "Strange.field: no schema for BytesType"),
        (Ambiguous, "Ambiguous.field: a pattern must name its characters"),
        (Stubborn, "Stubborn.long: it is compared with another, so its default has to yield"),
        (Inner, "Inner.inner: Boundless.field: a string needs a max_length"),
    ],
)
def test_a_field_that_a_cluster_or_a_reader_would_stumble_over_is_refused(struct: type[Struct], says: str) -> None:
    with pytest.raises(TypeError) as caught:
        of_struct(struct)
    assert str(caught.value).startswith(says)
