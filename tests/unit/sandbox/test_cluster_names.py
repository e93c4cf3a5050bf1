"""Names, labels, sizes and Secrets in the sandbox are held to the rules of the real API server."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from tests.unit.sandbox.cluster_case import MERGE, REQUESTS, SECRETS, api, call, causes, request

CONFIG_MAPS = "/api/v1/namespaces/web/configmaps"


@pytest.mark.parametrize("name", ["Not A Name", "UPPER", "-a", "a.", "a_b", "a..b", "a" * 254])
async def test_a_name_is_a_subdomain(name: str) -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", CONFIG_MAPS, {"metadata": {"name": name}})
        assert code == 422
        ((field, reason, message),) = causes(status)
        assert (field, reason) == ("metadata.name", "FieldValueInvalid")
        assert "RFC 1123 subdomain" in message or "no more than 253" in message
        assert status["message"] == f'ConfigMap "{name}" is invalid: metadata.name: {message}'
        assert status["details"]["kind"] == "ConfigMap"


async def test_a_namespace_is_one_label_and_an_object_is_not() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", "/api/v1/namespaces", {"metadata": {"name": "a.b"}})
        assert (code, causes(status)[0][2]) == (422, 'Invalid value: "a.b": must not contain dots')
        assert (await call(session, "POST", CONFIG_MAPS, {"metadata": {"name": "a.b"}}))[0] == 201


async def test_an_object_without_a_name_is_refused() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", CONFIG_MAPS, {"metadata": {}})
        assert code == 422
        assert causes(status) == [
            ("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
        ]


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        ({"a b": "x"}, "name part must consist"),
        ({"a/b/c": "x"}, "optional DNS subdomain prefix"),
        ({"/b": "x"}, "prefix part must be non-empty"),
        ({"A_/b": "x"}, "prefix part a lowercase RFC 1123 subdomain"),
        ({"a" * 64: "x"}, "no more than 63"),
        ({"a": "x y"}, "a valid label must be an empty string"),
        ({"a": "x" * 64}, "no more than 63"),
    ],
)
async def test_labels_have_a_form(labels: dict[str, str], word: str) -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", REQUESTS, request(labels=labels))
        assert code == 422
        assert word in causes(status)[0][2]
        good = {"example.com/My.name_1": "", "b": "x" * 63}
        assert (await call(session, "POST", REQUESTS, request(labels=good)))[0] == 201


async def test_a_label_that_is_no_text_does_not_decode() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", REQUESTS, request(labels={"a": 1}))
        assert (code, status["reason"]) == (400, "BadRequest")
        assert "cannot unmarshal number into Go struct field ObjectMeta.labels" in status["message"]


async def test_annotations_have_256_kib_in_all() -> None:
    async with api() as (_, session):
        full = {"a": "x" * (128 * 1024 - 1), "b": "x" * (128 * 1024 - 1)}
        assert (await call(session, "POST", REQUESTS, request(annotations=full)))[0] == 201
        patch = {"metadata": {"annotations": {"b": "x" * 128 * 1024}}}
        code, status = await call(session, "PATCH", f"{REQUESTS}/www", patch, MERGE)
        assert code == 422
        message = "Too long: may not be more than 262144 bytes"
        assert causes(status) == [("metadata.annotations", "FieldValueTooLong", message)]


@pytest.mark.parametrize(
    ("length", "code", "message"),
    [
        (1_000_000, 200, ""),
        (2_000_000, 500, "etcdserver: request is too large"),
        (4_000_000, 413, "Request entity too large: limit is 3145728"),
    ],
)
async def test_there_is_a_limit_to_a_request_and_to_what_is_stored(length: int, code: int, message: str) -> None:
    async with api() as (cluster, session):
        await call(session, "POST", REQUESTS, request())
        patch = {"status": {"certificate": "A" * length}}
        got, answer = await call(session, "PATCH", f"{REQUESTS}/www/status", patch, MERGE)
        assert (got, answer.get("message", "")) == (code, message)
        stored = cluster.get("certificaterequests", "web", "www")
        assert ("status" in stored) is (code == 200)


async def test_the_data_of_a_secret_is_base64() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", SECRETS, {"metadata": {"name": "s"}, "data": {"k": "%%"}})
        assert code == 400
        assert status["message"] == (
            'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'
        )


async def test_string_data_becomes_data() -> None:
    async with api() as (_, session):
        body = {"metadata": {"name": "s"}, "data": {"a": "eA==", "b": "eA=="}, "stringData": {"b": "two"}}
        await call(session, "POST", SECRETS, body)
        _, got = await call(session, "GET", f"{SECRETS}/s")
        assert got["data"] == {"a": "eA==", "b": b64encode(b"two").decode()}
        assert "stringData" not in got


async def test_an_immutable_secret_stays_as_it_is() -> None:
    async with api() as (_, session):
        body: dict[str, Any] = {"metadata": {"name": "s"}, "data": {"a": "eA=="}, "immutable": True}
        await call(session, "POST", SECRETS, body)
        code, status = await call(session, "PATCH", f"{SECRETS}/s", {"data": {"a": "eQ=="}}, MERGE)
        assert code == 422
        assert causes(status) == [
            ("data", "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set")
        ]
        assert (await call(session, "PATCH", f"{SECRETS}/s", {"metadata": {"labels": {"a": "b"}}}, MERGE))[0] == 200
