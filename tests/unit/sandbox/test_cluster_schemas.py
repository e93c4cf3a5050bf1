"""Custom resources in the sandbox are held to the schema and the rules of their CRD."""

from __future__ import annotations

from typing import Any

import pytest

from issuer.api import crd
from issuer.authorities import registry
from issuer.sandbox import objects
from issuer.sandbox.cluster import StatusError
from tests.unit.sandbox.cluster_case import BOXES, MERGE, REQUESTS, api, box, boxes, call, causes, request

SPEC: dict[str, Any] = {
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": "number", "minimum": 0.5, "x-kubernetes-validations": [{"rule": "self <= 2.5"}]},
        "colour": {"type": "string", "enum": ["red", "blue"]},
        "code": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 4},
        "when": {"type": "string", "format": "date-time"},
        "loose": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "either": {"x-kubernetes-int-or-string": True},
        "maybe": {"type": "string", "nullable": True},
        "words": {"type": "object", "additionalProperties": {"type": "string"}},
        "parts": {
            "type": "array",
            "maxItems": 2,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "kind": {"type": "string", "default": "plain"}},
            },
        },
        "fixed": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed stays as it is"}],
        },
    },
    "x-kubernetes-validations": [
        {"rule": "!has(self.colour) || self.size > 2", "message": "colour is for boxes over 2"},
        {
            "rule": "!has(self.code) || has(self.when)",
            "messageExpression": "'code ' + self.code + ' needs when'",
            "fieldPath": ".when",
            "reason": "FieldValueRequired",
        },
    ],
}


@pytest.mark.parametrize(
    ("spec", "field", "reason", "message"),
    [
        ({"size": 0}, "size", "Invalid", "Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 10}, "size", "Invalid", "Invalid value: 10: spec.size in body should be less than or equal to 9"),
        (
            {"size": "3"},
            "size",
            "TypeInvalid",
            'Invalid value: "string": spec.size in body must be of type integer: "string"',
        ),
        ({"size": None}, "size", "Required", "Required value"),
        (
            {"colour": "green"},
            "colour",
            "NotSupported",
            'Unsupported value: "green": supported values: "red", "blue"',
        ),
        (
            {"code": "AB"},
            "code",
            "Invalid",
            "Invalid value: \"AB\": spec.code in body should match '^[a-z]+$'",
        ),
        ({"code": "ab\n"}, "code", "Invalid", "Invalid value: \"ab\\n\": spec.code in body should match '^[a-z]+$'"),
        ({"code": "a"}, "code", "Invalid", 'Invalid value: "a": spec.code in body should be at least 2 chars long'),
        ({"code": "abcde"}, "code", "TooLong", "Too long: may not be more than 4 bytes"),
        (
            {"when": "noon"},
            "when",
            "TypeInvalid",
            'Invalid value: "noon": spec.when in body must be of type date-time: "noon"',
        ),
        ({"parts": [{}]}, "parts[0].name", "Required", "Required value"),
        ({"parts": [{"name": n} for n in "abc"]}, "parts", "TooMany", "Too many: 3: must have at most 2 items"),
        ({"parts": [{"name": "a"}] * 2}, "parts[1]", "Duplicate", 'Duplicate value: {"name":"a"}'),
        ({"share": 3}, "share", "Invalid", "Invalid value: 3: failed rule: self <= 2.5"),
        ({"colour": "red", "size": 2}, "", "Invalid", "Invalid value: colour is for boxes over 2"),
        ({"code": "abc"}, "when", "Required", "Required value: code abc needs when"),
    ],
)
async def test_what_the_schema_does_not_allow_is_refused(spec: Any, field: str, reason: str, message: str) -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SPEC))
        code, status = await call(session, "POST", BOXES, box(**spec))
        assert code == 422
        path = f"spec.{field}" if field else "spec"
        found = causes(status)
        if reason == "Invalid" and "failed rule" not in message:
            found = [one for one in found if one[2] == message]  # a bad value may break a rule as well
        assert found[0] == (path, f"FieldValue{reason}", message)


async def test_what_the_schema_allows_is_taken_with_its_defaults() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SPEC))
        good: dict[str, Any] = {
            "share": 1,
            "colour": "red",
            "code": "abc",
            "when": "2026-11-25T01:04:34+01:00",
            "loose": {"a": {"b": None}},
            "either": "5%",
            "maybe": None,
            "words": {"a": "b"},
            "parts": [{"name": "a"}, {"name": "b", "kind": "odd"}],
            "fixed": "x",
        }
        code, made = await call(session, "POST", BOXES, box("b", **good))
        assert code == 201
        parts = [{"name": "a", "kind": "plain"}, {"name": "b", "kind": "odd"}]
        assert made["spec"] == {"size": 3, **good, "parts": parts}


async def test_rules_are_not_asked_about_what_is_of_the_wrong_form() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SPEC))
        code, status = await call(session, "POST", BOXES, box(colour="green", size=2))
        assert code == 422
        assert [field for field, _, _ in causes(status)] == ["spec.colour", "<nil>"]
        assert "some validation rules were not checked" in status["message"]


async def test_a_rule_about_the_value_before_holds_for_changes() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SPEC))
        assert (await call(session, "POST", BOXES, box(fixed="x")))[0] == 201
        code, status = await call(session, "PATCH", f"{BOXES}/b", {"spec": {"fixed": "y"}}, MERGE)
        assert code == 422
        assert causes(status) == [("spec.fixed", "FieldValueInvalid", 'Invalid value: "y": fixed stays as it is')]
        assert (await call(session, "PATCH", f"{BOXES}/b", {"spec": {"size": 4}}, MERGE))[0] == 200


async def test_unknown_fields_are_dropped_told_or_refused_as_the_caller_asks() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SPEC))
        odd = box(parts=[{"name": "a", "odd": 1}], loose={"free": 1}) | {"extra": 1}
        code, status = await call(session, "POST", f"{BOXES}?fieldValidation=Strict", odd)
        assert code == 400
        assert status["message"].endswith(
            'strict decoding error: unknown field "extra", unknown field "spec.parts[0].odd"'
        )
        await call(session, "POST", BOXES, box("plain"))
        patch = f"{BOXES}/plain?fieldValidation=Strict"
        code, status = await call(session, "PATCH", patch, {"spec": {"odd": 1}}, MERGE)
        assert (code, [field for field, _, _ in causes(status)]) == (422, ["patch"])
        assert status["message"].endswith('strict decoding error: unknown field "spec.odd"')
        async with session.post(f"{BOXES}?fieldValidation=Warn", json=odd) as response:
            assert response.status == 201
            assert response.headers.getall("Warning") == [
                '299 - "unknown field \\"extra\\""',
                '299 - "unknown field \\"spec.parts[0].odd\\""',
            ]
            made = await response.json()
        assert "extra" not in made
        assert made["spec"]["parts"] == [{"name": "a", "kind": "plain"}]
        assert made["spec"]["loose"] == {"free": 1}
        async with session.put(f"{BOXES}/b?fieldValidation=Ignore", json=made | {"extra": 1}) as response:
            assert (response.status, "Warning" in response.headers) == (200, False)


async def test_what_was_wrong_before_is_not_held_against_a_change_elsewhere() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes({"properties": {"size": {"type": "integer"}}}))
        await call(session, "POST", BOXES, box(size=100))
        await cluster.apply(boxes(SPEC))
        labels = {"metadata": {"labels": {"a": "b"}}}
        assert (await call(session, "PATCH", f"{BOXES}/b", labels, MERGE))[0] == 200
        assert (await call(session, "PATCH", f"{BOXES}/b", {"spec": {"size": 101}}, MERGE))[0] == 422


async def test_a_custom_resource_says_its_kind() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SPEC))
        nameless = {name: part for name, part in box().items() if name != "kind"}
        code, status = await call(session, "POST", BOXES, nameless)
        assert (code, status["reason"]) == (400, "BadRequest")
        assert "must be of type Box" in status["message"]


async def test_a_refusal_warns_of_unknown_fields_too() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SPEC))
        async with session.post(BOXES, json=box(size=0, odd=1)) as response:
            assert response.status == 422
            assert response.headers.getall("Warning") == ['299 - "unknown field \\"spec.odd\\""']


async def test_a_custom_resource_is_replaced_only_by_one_that_says_which_it_replaces() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SPEC))
        await call(session, "POST", BOXES, box())
        code, status = await call(session, "PUT", f"{BOXES}/b", box(size=4))
        assert code == 422
        assert causes(status)[0][2] == "Invalid value: 0: must be specified for an update"


async def test_our_own_issuers_are_held_to_their_rules() -> None:
    async with api() as (cluster, session):
        for definition in crd.definitions(registry.configs()):
            await cluster.apply(definition)
        entry = {"name": "x", "ca": {"secretRef": {"name": "s"}}}
        path = "/apis/cdn-issuer.io/v1alpha1/namespaces/web/cdnissuers"
        assert (await call(session, "POST", path, objects.issuer("good", [entry], namespace="web")))[0] == 201
        both = entry | {"cloudflare": {"apiTokenSecretRef": {"name": "s", "key": "k"}}}
        bad = objects.issuer("bad", [both], namespace="web", deadline="3 hours")
        code, status = await call(session, "POST", path, bad)
        assert code == 422
        found = [(field, message) for field, _, message in causes(status)]
        assert ("spec.authorities[0]", "Invalid value: exactly one of cloudflare, ca, issuerRef is needed") in found
        assert found[0][0] == "spec.deadline"
        assert found[0][1].startswith('Invalid value: "3 hours": spec.deadline in body should match')
        problem = "type conversion error from 'string' to 'google.protobuf.Duration' evaluating rule: "
        assert ("spec.deadline", f'Invalid value: "string": {problem}must be between 1s and 720h') in found
        with pytest.raises(StatusError):
            await cluster.apply(bad)


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ({"certificate": "%%"}, "status.certificate"),
        ({"ca": 1}, "status.ca"),
        ({"failureTime": "yesterday"}, "status.failureTime"),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].status"),
        ({"conditions": [{"status": "True"}]}, "status.conditions[0].type"),
        ({"conditions": [{"type": "Ready", "status": "Yes"}]}, "status.conditions[0].status"),
        ({"conditions": [{"type": "Ready", "status": "True"}] * 2}, "status.conditions[1]"),
    ],
)
async def test_the_status_of_a_request_is_held_to_cert_managers_schema(status: Any, field: str) -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request())
        code, answer = await call(session, "PATCH", f"{REQUESTS}/www/status", {"status": status}, MERGE)
        assert code == 422
        assert [path for path, _, _ in causes(answer)] == [field]


async def test_a_request_as_cert_manager_writes_it_is_taken_and_what_it_does_not_know_is_dropped() -> None:
    async with api() as (_, session):
        body = request()
        body["spec"] |= {
            "usages": ["digital signature", "s/mime"],
            "duration": "2160h0m0s",
            "isCA": False,
            "username": "system:serviceaccount:cert-manager:cert-manager",
            "uid": "u",
            "groups": ["system:authenticated"],
            "extra": {"authentication.kubernetes.io/pod-name": ["p"]},
        }
        code, made = await call(session, "POST", REQUESTS, body)
        assert (code, made["spec"]) == (201, body["spec"])
        condition = {"type": "cdn-issuer.io/Authority", "status": "Unknown", "reason": "", "message": ""}
        status = {"conditions": [condition], "certificate": "eA==", "failureTime": "2026-11-25T01:04:34Z"}
        patch = {"status": status | {"foo": 1}}
        code, got = await call(session, "PATCH", f"{REQUESTS}/www/status", patch, MERGE)
        assert (code, got["status"]) == (200, status)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"request": "%%"}, "spec.request"),
        ({"request": ""}, "spec.request"),
        ({"request": None}, "spec.request"),
        ({"issuerRef": {"kind": "CDNIssuer"}}, "spec.issuerRef.name"),
        ({"usages": ["web"]}, "spec.usages[0]"),
    ],
)
async def test_the_spec_of_a_request_is_held_to_cert_managers_schema(change: dict[str, Any], field: str) -> None:
    async with api() as (_, session):
        body = request()
        body["spec"] |= change
        code, status = await call(session, "POST", REQUESTS, body)
        assert code == 422
        assert [path for path, _, _ in causes(status)] == [field]
