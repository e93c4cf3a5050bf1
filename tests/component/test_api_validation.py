"""What both API servers refuse of Events, Leases, and our own resources, and what they say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.component.api_client import JSON_PATCH, MERGE
from tests.component.api_objects import causes, event, issuer, lease

if TYPE_CHECKING:
    from tests.component.api_client import Api

REQUIRED, INVALID = "FieldValueRequired", "FieldValueInvalid"


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"note": "x" * 1025}, ("message", INVALID)),
        ({"note": "ä" * 513}, ("message", INVALID)),
        ({"reason": "x" * 129}, ("reason", INVALID)),
        ({"action": "x" * 129}, ("action", INVALID)),
        ({"action": None}, ("action", REQUIRED)),
        ({"reason": None}, ("reason", REQUIRED)),
        ({"reportingController": None}, ("reportingController", REQUIRED)),
        ({"reportingController": "two words"}, ("reportingController", INVALID)),
        ({"reportingInstance": None}, ("reportingInstance", REQUIRED)),
        ({"type": "Bad"}, ("type", INVALID)),
        ({"type": None}, ("type", INVALID)),
        ({"deprecatedCount": 2}, ("count", INVALID)),
        ({"series": {"count": 1, "lastObservedTime": "2026-01-02T03:04:05.000006Z"}}, ("series.count", INVALID)),
        ({"series": {"count": 2, "lastObservedTime": None}}, ("series.lastObservedTime", REQUIRED)),
    ],
)
async def test_an_event_of_today_is_held_to_every_rule(
    api: Api, fields: dict[str, Any], cause: tuple[str, str]
) -> None:
    status, _, body = await api.call("POST", api.events, event(api, **fields))
    assert (status, body["reason"]) == (422, "Invalid")
    assert cause in causes(body)


async def test_an_event_of_today_needs_its_time(api: Api) -> None:
    status, _, body = await api.call("POST", api.events, event(api, eventTime=None))
    assert (status, body["reason"]) == (422, "Invalid")
    assert ("eventTime", REQUIRED) in causes(body)


@pytest.mark.parametrize("note", ["x" * 1024, "ä" * 512, ""])
async def test_a_note_may_have_1024_bytes(api: Api, note: str) -> None:
    made = await api.ask("POST", api.events, event(api, note=note))
    assert made.get("note", "") == note


async def test_an_event_shows_in_the_api_of_old_under_its_old_names(api: Api) -> None:
    await api.ask("POST", api.events, event(api))
    old = await api.ask("GET", f"{api.core_events}/e")
    assert (old["apiVersion"], old["message"], old["reason"], old["action"]) == ("v1", "told", "Signed", "Sign")
    assert (old["reportingComponent"], old["reportingInstance"]) == ("cdn-issuer.io/controller", "pod-1")
    assert (old["involvedObject"]["name"], old["eventTime"]) == ("r", "2026-01-02T03:04:05.000006Z")
    selected = f"{api.core_events}?fieldSelector=involvedObject.name=r,reason=Signed,type=Normal"
    assert [one["metadata"]["name"] for one in (await api.ask("GET", selected))["items"]] == ["e"]
    assert (await api.ask("GET", selected.replace("name=r", "name=other")))["items"] == []


async def test_an_event_of_old_shows_in_the_api_of_today(api: Api) -> None:
    regarding = event(api)["regarding"]
    old = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": regarding}
    await api.ask("POST", api.core_events, {**old, "reason": "Signed", "message": "x" * 2000, "count": 2})
    new = await api.ask("GET", f"{api.events}/e")
    assert (new["note"], new["deprecatedCount"], new["regarding"]) == ("x" * 2000, 2, regarding)


async def test_an_event_of_old_with_a_time_is_held_to_the_rules_of_today(api: Api) -> None:
    old = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": event(api)["regarding"]}
    status, _, body = await api.call(
        "POST", api.core_events, {**old, "reason": "Signed", "eventTime": "2026-01-02T03:04:05.000006Z"}
    )
    assert (status, body["reason"]) == (422, "Invalid")
    assert {("reportingComponent", REQUIRED), ("action", REQUIRED)} <= set(causes(body))


async def test_of_an_event_its_series_may_change_and_nothing_else(api: Api) -> None:
    await api.ask("POST", api.events, event(api))
    series = {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}
    changed = await api.ask("PATCH", f"{api.events}/e", {"series": series}, MERGE)
    assert changed["series"] == series
    status, _, body = await api.call("PATCH", f"{api.events}/e", {"note": "other"}, MERGE)
    assert (status, causes(body)) == (422, [("message", INVALID)])


async def test_a_lease_is_replaced_only_by_one_that_says_which_it_replaces(api: Api) -> None:
    made = await api.ask("POST", api.leases, lease())
    status, _, body = await api.call("PUT", f"{api.leases}/l", lease(holderIdentity="other"))
    assert (status, causes(body)) == (422, [("metadata.resourceVersion", INVALID)])
    assert "must be specified for an update" in body["message"]
    await api.ask("PUT", f"{api.leases}/l", {**made, "spec": {**made["spec"], "holderIdentity": "other"}})
    status, _, body = await api.call("PUT", f"{api.leases}/l", made)
    assert (status, body["reason"]) == (409, "Conflict")


@pytest.mark.parametrize("moment", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123Z", "yesterday", ""])
async def test_times_of_a_lease_have_microseconds(api: Api, moment: str) -> None:
    status, _, body = await api.call("POST", api.leases, lease(renewTime=moment))
    assert (status, body["reason"]) == (400, "BadRequest")
    assert f'parsing time "{moment}"' in body["message"]


async def test_the_times_of_a_lease_come_back_as_they_were(api: Api) -> None:
    moment = "2026-01-02T03:04:05.000006Z"
    made = await api.ask("POST", api.leases, lease(renewTime=moment, acquireTime=moment, leaseTransitions=0))
    assert (made["spec"]["renewTime"], made["spec"]["acquireTime"]) == (moment, moment)
    assert made["spec"]["leaseTransitions"] == 0


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"leaseDurationSeconds": 0}, "spec.leaseDurationSeconds"),
        ({"leaseDurationSeconds": -1}, "spec.leaseDurationSeconds"),
        ({"leaseTransitions": -1}, "spec.leaseTransitions"),
    ],
)
async def test_numbers_of_a_lease_are_sensible(api: Api, spec: dict[str, Any], field: str) -> None:
    status, _, body = await api.call("POST", api.leases, lease(**spec))
    assert (status, causes(body)) == (422, [(field, INVALID)])


@pytest.mark.parametrize("spec", [{"leaseDurationSeconds": "15"}, {"leaseDurationSeconds": 1.5}, {"holderIdentity": 1}])
async def test_a_lease_of_wrong_types_does_not_decode(api: Api, spec: dict[str, Any]) -> None:
    status, _, body = await api.call("POST", api.leases, lease(**spec))
    assert (status, body["reason"]) == (400, "BadRequest")
    assert "json: cannot unmarshal" in body["message"]


TOKEN = {"apiTokenSecretRef": {"name": "token", "key": "token"}}
CA = {"secretRef": {"name": "ca"}}


@pytest.mark.parametrize(
    ("authority", "field", "told"),
    [
        ({"cloudflare": TOKEN, "ca": CA}, "spec.authorities[0]", "exactly one of cloudflare, ca, issuerRef is needed"),
        ({}, "spec.authorities[0]", "exactly one of cloudflare, ca, issuerRef is needed"),
        (
            {"cloudflare": TOKEN, "timeouts": {"attempt": "20m"}},
            "spec.authorities[0].timeouts.attempt",
            "must be between 100ms and 10m",
        ),
        (
            {"cloudflare": TOKEN, "timeouts": {"attempt": "soon"}},
            "spec.authorities[0].timeouts.attempt",
            "spec.authorities[0].timeouts.attempt in body should match",
        ),
        (
            {"cloudflare": TOKEN, "retry": {"minBackoff": "30s", "maxBackoff": "10s"}},
            "spec.authorities[0].retry",
            "minBackoff must not be longer than maxBackoff",
        ),
        (
            {"cloudflare": TOKEN, "retry": {"minBackoff": "30s", "maxBackoff": "20s"}},
            "spec.authorities[0].retry",
            "minBackoff must not be longer than maxBackoff",
        ),
        (
            {"cloudflare": TOKEN, "circuitBreaker": {"openFor": "10m", "maxOpenFor": "5m"}},
            "spec.authorities[0].circuitBreaker",
            "openFor must not be longer than maxOpenFor",
        ),
        (
            {"ca": CA, "timeouts": {"attempt": "5s"}},
            "spec.authorities[0]",
            "timeouts have no effect on a ca, which signs in process; leave them out",
        ),
        (
            {"ca": CA, "limits": {"requestsPerSecond": 2}},
            "spec.authorities[0]",
            "limits have no effect on a ca, which signs in process; leave them out",
        ),
        (
            {"cloudflare": TOKEN, "caBundle": "eA==", "caBundleSecretRef": {"name": "a", "key": "b"}},
            "spec.authorities[0]",
            "caBundle and caBundleSecretRef exclude each other",
        ),
    ],
)
async def test_the_rules_of_our_resources_are_told(api: Api, authority: dict[str, Any], field: str, told: str) -> None:
    status, _, body = await api.call("POST", api.issuers, issuer(authorities=[{"name": "edge", **authority}]))
    assert (status, body["reason"]) == (422, "Invalid")
    assert (field, INVALID) in causes(body)
    assert told in body["message"]


async def test_an_attempt_that_was_written_longer_than_the_deadline_is_told(api: Api) -> None:
    authorities = [{"name": "edge", "cloudflare": TOKEN, "timeouts": {"attempt": "60s"}}]
    status, _, body = await api.call("POST", api.issuers, issuer(authorities=authorities, deadline="30s"))
    assert (status, causes(body)) == (422, [("spec", INVALID)])
    assert "timeouts.attempt of an authority must not be longer than deadline" in body["message"]


@pytest.mark.parametrize(
    ("authority", "spec"),
    [
        ({"cloudflare": TOKEN}, {"deadline": "30s"}),
        ({"cloudflare": TOKEN, "timeouts": {"connect": "1s"}}, {"deadline": "30s"}),
        ({"ca": CA}, {"deadline": "30s"}),
        ({"cloudflare": TOKEN, "timeouts": {"turn": "20s"}}, {}),
        ({"cloudflare": TOKEN, "timeouts": {"attempt": "5m"}}, {}),
        ({"cloudflare": TOKEN, "retry": {"minBackoff": "30s"}}, {}),
        ({"cloudflare": TOKEN, "retry": {"maxBackoff": "100ms"}}, {}),
        ({"cloudflare": TOKEN, "circuitBreaker": {"openFor": "10m"}}, {}),
        ({"cloudflare": TOKEN, "circuitBreaker": {"maxOpenFor": "10s"}}, {}),
        ({"ca": CA, "retry": {"attempts": 1}, "circuitBreaker": {"consecutiveFailures": 5}}, {}),
    ],
)
async def test_a_default_that_nobody_wrote_makes_no_resource_of_ours_invalid(
    api: Api, authority: dict[str, Any], spec: dict[str, Any]
) -> None:
    made = await api.ask("POST", api.issuers, issuer(authorities=[{"name": "edge", **authority}], **spec))
    (stored,) = made["spec"]["authorities"]
    assert set(stored) == {"name", "state", *authority}  # `state` contradicts nothing, so the API server fills it in


async def test_what_an_older_crd_filled_in_at_a_ca_is_taken(api: Api) -> None:
    timeouts = {"connect": "5s", "read": "60s", "attempt": "60s", "turn": "2m"}
    limits = {"requestsPerSecond": 4, "burst": 8, "inFlight": 10}
    stored = {"name": "backup", "ca": CA, "timeouts": timeouts, "limits": limits}
    await api.ask("POST", api.issuers, issuer(authorities=[stored], deadline="30s"))


async def test_a_name_that_is_there_twice_is_told(api: Api) -> None:
    authorities = [{"name": "edge", "cloudflare": TOKEN}] * 2
    status, _, body = await api.call("POST", api.issuers, issuer(authorities=authorities))
    assert (status, causes(body)) == (422, [("spec.authorities[1]", "FieldValueDuplicate")])
    assert 'spec.authorities[1]: Duplicate value: {"name":"edge"}' in body["message"]


async def test_the_whole_refusal_of_our_resource_reads_the_same(api: Api) -> None:
    authorities = [{"name": "edge", "cloudflare": TOKEN, "ca": CA}]
    _, _, body = await api.call("POST", api.issuers, issuer(authorities=authorities))
    assert body["message"] == (
        'CDNIssuer.cdn-issuer.io "i" is invalid: spec.authorities[0]: Invalid value: exactly one of cloudflare, ca, '
        "issuerRef is needed"
    )
    assert body["details"]["kind"] == "CDNIssuer"


async def test_a_change_is_held_to_the_rules_too(api: Api) -> None:
    await api.ask("POST", api.issuers, issuer())
    change = [{"op": "add", "path": "/spec/authorities/0/ca", "value": CA}]
    status, _, body = await api.call("PATCH", f"{api.issuers}/i", change, JSON_PATCH)
    assert (status, causes(body)) == (422, [("spec.authorities[0]", INVALID)])


async def test_a_status_that_our_schema_does_not_allow_is_refused(api: Api) -> None:
    await api.ask("POST", api.issuers, issuer())
    for status_, reason in (({"active": "x" * 64}, "FieldValueTooLong"), ({"active": 1}, "FieldValueTypeInvalid")):
        status, _, body = await api.call("PATCH", f"{api.issuers}/i/status", {"status": status_}, MERGE)
        assert (status, causes(body)[0]) == (422, ("status.active", reason))
