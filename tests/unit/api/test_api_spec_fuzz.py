"""Whatever JSON stands in a specification: it is read or refused, and nothing else ever happens."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from issuer.api.issuer import IssuerSpec
from issuer.api.spec import InvalidSpecError
from tests.unit.api.spec_documents import GOOD, read

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(
        [
            "1h",
            "-5s",
            "1y",
            "9" * 400 + "h",
            "0s",
            "edge",
            "Rejected",
            "https://[",
            "\x00",
            "µs",
            "1\N{GREEK SMALL LETTER MU}s",
        ]
    )
)
FIELDS = st.sampled_from(
    ["authorities", "name", "ca", "cloudflare", "deadline", "failover", "on", "retry", "attempts", "limits", "caBundle"]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=8), inner, max_size=4),
)


def is_read_or_refused(raw: bytes) -> None:
    try:
        parsed, _ = read(raw)
    except InvalidSpecError as error:
        assert str(error).startswith("spec")  # noqa: PT017 - both ends are good ones
    else:
        assert isinstance(parsed, IssuerSpec)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    is_read_or_refused(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    is_read_or_refused(raw)


@given(st.data())
def test_a_good_specification_with_one_thing_changed_is_read_or_refused(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(list(GOOD.values()))))
    places = [(parent, key) for parent in _containers(document) for key in _keys(parent)]
    parent, key = data.draw(st.sampled_from(places))
    parent[key] = data.draw(JSON)
    is_read_or_refused(json.dumps(document).encode())


@given(st.data())
def test_a_good_specification_with_broken_bytes_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(json.dumps(data.draw(st.sampled_from(list(GOOD.values())))).encode())
    start = data.draw(st.integers(0, len(raw) - 1))
    raw[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    is_read_or_refused(bytes(raw))


def _containers(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return []
    return [value, *(inner for key in _keys(value) for inner in _containers(value[key]))]


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value)))
