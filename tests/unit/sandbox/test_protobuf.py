"""Objects in protobuf, written here byte by byte as Kubernetes' own encoder does, empty fields included."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.sandbox.cluster import StatusError
from issuer.sandbox.cluster.protobuf import MAGIC, PROTOBUF, decode
from tests.unit.sandbox.cluster_case import api

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRETS = "/api/v1/namespaces/web/secrets"


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    written = b""
    for number, value in fields:
        if isinstance(value, int):
            written += varint(number << 3) + varint(value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            written += varint(number << 3 | 2) + varint(len(raw)) + raw
    return written


def body(api_version: str, kind: str, *fields: tuple[int, int | str | bytes]) -> bytes:
    type_ = message((1, api_version), (2, kind))
    return MAGIC + message((1, type_), (2, message(*fields)), (3, ""), (4, ""))


def metadata(name: str, *more: tuple[int, int | str | bytes]) -> tuple[int, bytes]:
    empty: Sequence[tuple[int, int | str | bytes]] = [(2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, 0), (8, b"")]
    return 1, message((1, name), *empty, *more)


def entry(key: str, value: str | bytes) -> bytes:
    return message((1, key), (2, value))


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (
            body(
                "v1", "Secret", metadata("x"), (2, entry("a", b"\x00\xff")), (2, entry("b", "")), (3, "Opaque"), (5, 0)
            ),
            {"kind": "Secret", "type": "Opaque", "data": {"a": "AP8=", "b": ""}, "immutable": False},
        ),
        (
            body("v1", "Secret", metadata("x"), (3, ""), (4, entry("a", "plain"))),
            {"kind": "Secret", "stringData": {"a": "plain"}},
        ),
        (
            body("v1", "ConfigMap", metadata("x"), (2, entry("ä", "ö" * 200)), (3, entry("raw", b"\x01"))),
            {"kind": "ConfigMap", "data": {"ä": "ö" * 200}, "binaryData": {"raw": "AQ=="}},
        ),
        (
            body("v1", "Namespace", metadata("x"), (2, message((1, "kubernetes"))), (3, message((1, "")))),
            {"kind": "Namespace", "spec": {"finalizers": ["kubernetes"]}},
        ),
        (
            body("v1", "ServiceAccount", metadata("x"), (3, message((1, "pull"))), (4, 1)),
            {
                "kind": "ServiceAccount",
                "imagePullSecrets": [{"name": "pull"}],
                "automountServiceAccountToken": True,
            },
        ),
    ],
)
def test_each_kind_is_read_as_json_would_show_it(sent: bytes, read: dict[str, Any]) -> None:
    assert decode(sent) == {"apiVersion": "v1", "metadata": {"name": "x"}, **read}


def test_metadata_is_read() -> None:
    owner = message((1, "Box"), (3, "b"), (4, "u"), (5, "example.com/v1"), (6, 1))
    created = message((1, 1_764_000_000), (2, 5))
    given_ = metadata("x", (8, created), (11, entry("a", "b")), (12, entry("c", "")), (13, owner), (14, "f"))
    assert decode(body("v1", "Secret", given_))["metadata"] == {
        "name": "x",
        "creationTimestamp": "2025-11-24T16:00:00Z",
        "labels": {"a": "b"},
        "annotations": {"c": ""},
        "ownerReferences": [
            {"kind": "Box", "name": "b", "uid": "u", "apiVersion": "example.com/v1", "controller": True}
        ],
        "finalizers": ["f"],
    }


@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [
        (b"{}", 400, "does not begin with"),
        (body("apps/v1", "Deployment", metadata("x")), 415, "apps/v1 Deployment"),
        (body("v1", "Secret", metadata("x"), (99, "lost")), 400, "field 99"),
        (body("v1", "Secret", metadata("x"))[:-6], 400, "longer than the body"),
        (body("v1", "Secret", (1, 5)), 400, "a number where"),
        (MAGIC + b"\x0d\x00\x00\x00\x00", 400, "wire type"),
        (MAGIC + b"\xff" * 12, 400, "more than ten bytes"),
    ],
)
def test_what_cannot_be_read_is_refused_and_never_lost(sent: bytes, code: int, told: str) -> None:
    with pytest.raises(StatusError) as caught:
        decode(sent)
    assert caught.value.code == code
    assert told in caught.value.message


@given(st.binary(max_size=60))
def test_no_bytes_are_an_error_of_ours(noise: bytes) -> None:
    whole = body("v1", "Secret", metadata("x"), (2, entry("a", "b")))
    for sent in (MAGIC + noise, whole[:30] + noise, whole + noise):
        with suppress(StatusError):
            assert decode(sent)["kind"]


async def test_the_api_takes_protobuf_and_answers_json() -> None:
    async with api() as (cluster, session):
        sent = body("v1", "Secret", metadata("x"), (2, entry("a", "b")))
        headers = {"Content-Type": PROTOBUF, "Accept": f"{PROTOBUF},application/json"}
        async with session.post(SECRETS, data=sent, headers=headers) as response:
            assert (response.status, response.content_type) == (201, "application/json")
        assert cluster.get("secrets", "web", "x")["data"] == {"a": "Yg=="}
        role = body("rbac.authorization.k8s.io/v1", "Role", metadata("r"))
        roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/web/roles"
        async with session.post(roles, data=role, headers=headers) as response:
            assert response.status == 404, "what is not served at all is said first"
        async with session.post(SECRETS, data=body("v1", "ConfigMap", metadata("y")), headers=headers) as response:
            assert response.status == 400
