"""Metadata and times of Kubernetes objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.api.meta import ObjectKey, ObjectMeta, format_micro_time, format_time, parse_time

NOON = datetime(2026, 11, 2, 12, 0, 0, tzinfo=UTC)


def test_a_key_is_written_as_kubectl_writes_it() -> None:
    assert str(ObjectKey("web", "shop-tls")) == "web/shop-tls"
    assert str(ObjectKey("", "edge")) == "edge"


def test_what_matters_is_read_from_the_json_of_the_api_server() -> None:
    meta = msgspec.json.decode(
        b"""{"name": "shop-tls-1", "namespace": "web", "uid": "u1", "resourceVersion": "7", "generation": 2,
            "creationTimestamp": "2026-11-02T12:00:00Z", "labels": {"a": "b"}, "managedFields": [{}],
            "annotations": {"cert-manager.io/certificate-name": "shop-tls"},
            "ownerReferences": [{"kind": "Certificate", "name": "shop-tls", "uid": "u0", "controller": true}]}""",
        type=ObjectMeta,
    )
    assert meta.key == ObjectKey("web", "shop-tls-1")
    assert (meta.uid, meta.resource_version, meta.generation, meta.created) == ("u1", "7", 2, NOON)
    assert meta.annotation("cert-manager.io/certificate-name") == "shop-tls"
    assert meta.annotation("other") is None
    assert meta.owner_references[0].controller


def test_metadata_may_be_nearly_empty() -> None:
    meta = msgspec.json.decode(b'{"creationTimestamp": ""}', type=ObjectMeta)
    assert (meta.key, meta.created, meta.annotation("x")) == (ObjectKey("", ""), None, None)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-11-02T12:00:00Z", NOON),
        ("2026-11-02T13:00:00+01:00", NOON),
        ("2026-11-02T12:00:00.123456Z", NOON + timedelta(microseconds=123456)),
        ("2026-11-02T12:00:00.123456789Z", NOON + timedelta(microseconds=123456)),
        ("2026-11-02T12:00:00", NOON),
        ("", None),
        (None, None),
        ("yesterday", None),
        ("2026-13-02T12:00:00Z", None),
    ],
)
def test_times_are_read_with_their_zone_or_not_at_all(text: str | None, when: datetime | None) -> None:
    assert parse_time(text) == when


def test_times_are_written_in_utc_as_each_type_demands_it() -> None:
    here = NOON.replace(microsecond=5000).astimezone(timezone(timedelta(hours=-7)))
    assert format_time(here) == "2026-11-02T12:00:00Z"
    assert format_micro_time(here) == "2026-11-02T12:00:00.005000Z"


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_what_was_written_is_read_again(when: datetime) -> None:
    assert parse_time(format_micro_time(when)) == when
    assert parse_time(format_time(when)) == when.replace(microsecond=0)


@given(st.text(max_size=30))
def test_any_text_is_a_time_with_a_zone_or_none(text: str) -> None:
    when = parse_time(text)
    assert when is None or when.tzinfo is not None
