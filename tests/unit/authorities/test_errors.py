"""What a failure says: a refusal names what was asked for, once."""

from __future__ import annotations

import pytest

from issuer.authorities.errors import Rejected

NAMES = ("www.example.org", "shop.example.org", "*.example.org", "a.example.org", "192.0.2.7")


@pytest.mark.parametrize(
    ("said", "names", "shown"),
    [
        ("Failed to validate requested hostname.", NAMES[:1], "edge: Failed to validate requested hostname: {0} ({1})"),
        ("no zone", NAMES[:3], "edge: no zone: www.example.org, shop.example.org, *.example.org ({1})"),
        ("no zone", NAMES, "edge: no zone: www.example.org, shop.example.org, *.example.org and 2 more ({1})"),
        ("no zone", (), "edge: no zone ({1})"),
        ("WWW.example.org: no zone", NAMES, "edge: WWW.example.org: no zone ({1})"),
        ("no zone for 192.0.2.7.", NAMES, "edge: no zone for 192.0.2.7. ({1})"),
        ("not www.example.org.uk", NAMES[:1], "edge: not www.example.org.uk: {0} ({1})"),
        ("not my-www.example.org", NAMES[:1], "edge: not my-www.example.org: {0} ({1})"),
    ],
)
def test_a_refusal_names_the_first_names_that_were_asked_for_unless_its_words_name_one(
    said: str, names: tuple[str, ...], shown: str
) -> None:
    error = Rejected("edge", said, status=400, code="1010")
    error.asked_for = names
    expected = shown.format("www.example.org", "HTTP 400, code 1010")
    assert (str(error), error.final, error.message) == (expected, expected, said)
