"""Events and Leases in the sandbox: what the real API server refuses is refused, in its words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.sandbox.cluster_case import CORE_EVENTS, EVENTS, LEASES, MERGE, api, call, causes

NOW = "2026-11-25T01:04:34.000000Z"


def event(**fields: Any) -> dict[str, Any]:
    """An Event as a recorder of today writes it."""
    good = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "CertificateRequest", "namespace": "web", "name": "www"},
        "note": "signed",
        "reason": "Issued",
        "action": "Issued",
        "type": "Normal",
        "eventTime": NOW,
        "reportingController": "cdn-issuer.io/controller",
        "reportingInstance": "pod-1",
    }
    return {name: value for name, value in (good | fields).items() if value is not None}


def legacy(**fields: Any) -> dict[str, Any]:
    """An Event without an eventTime, as old recorders write it."""
    regarding = {"kind": "CertificateRequest", "namespace": "web", "name": "www"}
    return {"metadata": {"name": "e"}, "involvedObject": regarding, "message": "x" * 5000} | fields


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"action": None}, "action", "Required value"),
        ({"reason": ""}, "reason", "Required value"),
        ({"reportingController": None}, "reportingController", "Required value"),
        ({"reportingInstance": None}, "reportingInstance", "Required value"),
        ({"action": "é" * 65}, "action", 'Invalid value: "": can have at most 128 characters'),
        ({"reason": "r" * 129}, "reason", 'Invalid value: "": can have at most 128 characters'),
        ({"reportingInstance": "i" * 129}, "reportingInstance", 'Invalid value: "": can have at most 128 characters'),
        ({"note": "é" * 513}, "message", 'Invalid value: "": can have at most 1024 characters'),
        ({"type": "Odd"}, "type", 'Invalid value: "": has invalid value: Odd'),
        ({"series": {"count": 1, "lastObservedTime": NOW}}, "series.count", 'Invalid value: "": should be at least 2'),
        ({"series": {"count": 2}}, "series.lastObservedTime", "Required value"),
        ({"deprecatedCount": 1}, "count", 'Invalid value: "": needs to be unset'),
        ({"deprecatedSource": {"component": "x"}}, "source", 'Invalid value: "": needs to be unset'),
        (
            {"regarding": {"name": "x"}},
            "involvedObject.namespace",
            'Invalid value: "": does not match event.namespace',
        ),
    ],
)
async def test_a_new_event_is_held_to_all_rules(fields: dict[str, Any], field: str, message: str) -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", EVENTS, event(**fields))
        assert (code, status["reason"]) == (422, "Invalid")
        assert (field, message) in [(path, text) for path, _, text in causes(status)]
        assert status["message"].startswith('Event "e" is invalid: ')


async def test_a_new_event_without_its_time_is_refused() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", EVENTS, event(eventTime=None))
        assert code == 422
        assert causes(status) == [("eventTime", "FieldValueRequired", "Required value")]


async def test_an_event_at_its_limits_is_taken() -> None:
    async with api() as (_, session):
        at_most = {"note": "é" * 512, "action": "a" * 128, "reason": "r" * 128, "reportingInstance": "i" * 128}
        code, made = await call(session, "POST", EVENTS, event(**at_most))
        assert (code, len(made["note"])) == (201, 512)
        series = {"series": {"count": 2, "lastObservedTime": NOW}}
        assert (await call(session, "PATCH", f"{EVENTS}/e", series, MERGE))[0] == 200


@pytest.mark.parametrize("field", ["note", "reason", "type", "action", "reportingInstance"])
async def test_of_a_new_event_only_the_series_may_change(field: str) -> None:
    async with api() as (_, session):
        await call(session, "POST", EVENTS, event())
        code, status = await call(session, "PATCH", f"{EVENTS}/e", {field: "Warning"}, MERGE)
        assert code == 422
        assert causes(status)[0][2].endswith("field is immutable")


async def test_an_old_event_has_to_be_of_its_objects_namespace_and_no_more() -> None:
    async with api() as (_, session):
        assert (await call(session, "POST", CORE_EVENTS, legacy()))[0] == 201
        assert (await call(session, "PATCH", f"{CORE_EVENTS}/e", {"message": "y", "count": 2}, MERGE))[0] == 200
        code, status = await call(session, "POST", CORE_EVENTS, legacy(involvedObject={"namespace": "default"}))
        assert code == 422
        assert causes(status) == [
            (
                "involvedObject.namespace",
                "FieldValueInvalid",
                'Invalid value: "default": does not match event.namespace',
            )
        ]


async def test_an_event_with_a_time_is_a_new_one_through_core_too() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", CORE_EVENTS, legacy(eventTime=NOW))
        assert code == 422
        assert {field for field, _, _ in causes(status)} == {
            *("reportingComponent", "reportingInstance", "action", "reason", "message")
        }


def lease(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", **spec}}


async def test_a_lease_needs_sensible_numbers() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", LEASES, lease(leaseDurationSeconds=0, leaseTransitions=-1))
        assert code == 422
        assert causes(status) == [
            ("spec.leaseDurationSeconds", "FieldValueInvalid", "Invalid value: 0: must be greater than 0"),
            ("spec.leaseTransitions", "FieldValueInvalid", "Invalid value: -1: must be greater than or equal to 0"),
        ]
        assert status["message"].startswith('Lease.coordination.k8s.io "l" is invalid: [spec.leaseDurationSeconds: ')


@pytest.mark.parametrize("time", ["yesterday", "2026-11-25T01:04:34Z", "2026-11-25 01:04:34.000000"])
async def test_the_times_of_a_lease_have_microseconds(time: str) -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", LEASES, lease(renewTime=time))
        assert (code, status["reason"]) == (400, "BadRequest")
        assert status["message"].startswith('Lease in version "v1" cannot be handled as a Lease: parsing time')
        assert (await call(session, "POST", LEASES, lease(renewTime=NOW)))[0] == 201


async def test_a_lease_of_wrong_types_does_not_decode() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", LEASES, lease(leaseDurationSeconds="15"))
        assert code == 400
        assert "cannot unmarshal string into Go struct field LeaseSpec.spec.leaseDurationSeconds" in status["message"]


async def test_a_lease_is_replaced_only_by_one_that_says_which_it_replaces() -> None:
    async with api() as (_, session):
        _, made = await call(session, "POST", LEASES, lease())
        code, status = await call(session, "PUT", f"{LEASES}/l", lease())
        assert code == 422
        message = "Invalid value: 0: must be specified for an update"
        assert causes(status) == [("metadata.resourceVersion", "FieldValueInvalid", message)]
        assert status["details"]["kind"] == "leases"
        named = lease() | {"metadata": {"name": "l", "resourceVersion": made["metadata"]["resourceVersion"]}}
        assert (await call(session, "PUT", f"{LEASES}/l", named))[0] == 200
