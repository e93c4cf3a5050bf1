"""Server-side apply and dry runs over the sandbox's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from issuer.sandbox.cluster import serverapply
from issuer.sandbox.cluster.kinds import BUILT_IN
from tests.unit.sandbox.cluster_case import MERGE, REQUESTS, api, call, request

if TYPE_CHECKING:
    import aiohttp

WWW = f"{REQUESTS}/www"
KIND = next(kind for kind in BUILT_IN if kind.kind == "CertificateRequest")
APPLY = {"Content-Type": "application/apply-patch+yaml"}


NEEDED: dict[str, Any] = {"request": "eA==", "issuerRef": {"name": "edge"}}
"""What a request has to have."""


def wanted(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    head = {"apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest"}
    return head | {"metadata": {"name": "www", **metadata}, "spec": NEEDED | spec}


async def applied(
    session: aiohttp.ClientSession, manager: str, body: dict[str, Any], more: str = ""
) -> tuple[int, dict[str, Any]]:
    return await call(session, "PATCH", f"{WWW}?fieldManager={manager}{more}", body, APPLY)


async def test_the_first_apply_creates_and_the_next_one_updates() -> None:
    async with api() as (_, session):
        code, made = await applied(session, "a", wanted({"duration": "1h"}))
        assert (code, made["spec"]) == (201, NEEDED | {"duration": "1h"})
        assert made["metadata"]["namespace"] == "web"
        (entry,) = made["metadata"]["managedFields"]
        assert (entry["manager"], entry["operation"]) == ("a", "Apply")
        assert entry["fieldsV1"]["f:spec"]["f:duration"] == {}
        assert set(entry["fieldsV1"]) == {"f:spec"}
        code, changed = await applied(session, "a", wanted({"duration": "2h"}))
        assert (code, changed["spec"], changed["metadata"]["generation"]) == (200, NEEDED | {"duration": "2h"}, 2)


async def test_applying_the_same_again_changes_nothing() -> None:
    async with api() as (_, session):
        _, made = await applied(session, "a", wanted({"duration": "1h"}, labels={"a": "b"}))
        _, again = await applied(session, "a", wanted({"duration": "1h"}, labels={"a": "b"}))
        assert again == made


def test_the_time_of_an_entry_is_that_of_the_last_change_of_its_fields() -> None:
    def apply(current: dict[str, Any] | None, spec: dict[str, Any], now: str) -> dict[str, Any]:
        return serverapply.applied(KIND, "www", current, wanted(spec), "a", now)

    first = apply(None, {"duration": "1h"}, "2026-01-01T00:00:00Z")
    same = apply(first, {"duration": "2h"}, "2026-01-02T00:00:00Z")
    other = apply(first, {"isCA": True}, "2026-01-03T00:00:00Z")
    times = [one["metadata"]["managedFields"][0]["time"] for one in (first, same, other)]
    assert times == ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"]


async def test_a_field_is_taken_away_by_its_last_owner_only() -> None:
    async with api() as (_, session):
        await applied(session, "a", wanted({"duration": "1h", "isCA": False, "extra": {"x": ["1"], "y": ["2"]}}))
        await applied(session, "b", wanted({"duration": "1h"}))
        await call(session, "PATCH", WWW, {"spec": {"extra": {"z": ["3"]}}}, MERGE)
        _, left = await applied(session, "a", wanted({"isCA": True}))
        assert left["spec"] == NEEDED | {"duration": "1h", "isCA": True, "extra": {"z": ["3"]}}
        _, left = await applied(session, "b", wanted({}))
        assert left["spec"] == NEEDED | {"isCA": True, "extra": {"z": ["3"]}}
        assert {entry["manager"] for entry in left["metadata"]["managedFields"]} == {"a", "b"}


async def test_yaml_is_taken_and_the_status_is_applied_apart() -> None:
    async with api() as (_, session):
        text = "apiVersion: cert-manager.io/v1\nkind: CertificateRequest\n"
        text += "spec: {duration: 1h, request: eA==, issuerRef: {name: edge}}\n"
        text += "status: {ca: eA==}\n"
        url = f"{WWW}?fieldManager=a"
        async with session.patch(url, data=text, headers=APPLY) as response:
            made = await response.json()
        assert (response.status, made["spec"], made["metadata"]["name"]) == (201, NEEDED | {"duration": "1h"}, "www")
        assert "status" not in made
        async with session.patch(url.replace("www?", "www/status?"), data=text, headers=APPLY) as response:
            assert (await response.json())["status"] == {"ca": "eA=="}


@pytest.mark.parametrize(
    ("manager", "body", "code", "told"),
    [
        ("", wanted({}), 422, "fieldManager: Required value"),
        ("a", wanted({}, managedFields=[{}]), 400, "managedFields must be nil"),
        ("a", wanted({}) | {"kind": "Certificate"}, 400, "no cert-manager.io/v1 CertificateRequest"),
        ("a", wanted({}, name="other"), 400, "does not match the name on the URL"),
        ("a", wanted({}, resourceVersion="1"), 409, "has been modified"),
        ("a", [], 400, "not an object"),
    ],
)
async def test_an_apply_that_makes_no_sense_is_refused(manager: str, body: Any, code: int, told: str) -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request())
        answered, status = await applied(session, manager, body)
        assert answered == code
        assert told in status["message"]


@pytest.mark.parametrize("headers", [MERGE, APPLY])
async def test_a_dry_run_of_a_patch_answers_and_changes_nothing(headers: dict[str, str]) -> None:
    async with api() as (cluster, session):
        _, made = await call(session, "POST", REQUESTS, request())
        path = f"{WWW}?dryRun=All&fieldManager=a"
        code, answered = await call(session, "PATCH", path, wanted({"duration": "1h"}), headers)
        assert (code, answered["spec"]["duration"]) == (200, "1h")
        assert answered["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert cluster.get("certificaterequests", "web", "www") == made


async def test_a_dry_run_of_a_creation_and_of_a_deletion_tells_no_watch() -> None:
    async with api() as (cluster, session):
        _, listed = await call(session, "GET", REQUESTS)
        code, answered = await call(session, "POST", f"{REQUESTS}?dryRun=All", request())
        assert code == 201
        assert answered["metadata"]["uid"]
        assert "resourceVersion" not in answered["metadata"]
        _, made = await call(session, "POST", REQUESTS, request())
        assert (await call(session, "DELETE", f"{WWW}?dryRun=All"))[0] == 200
        assert (await call(session, "DELETE", WWW, {"dryRun": ["All"]}))[0] == 200
        assert (await call(session, "DELETE", f"{REQUESTS}?dryRun=All"))[0] == 200
        assert cluster.get("certificaterequests", "web", "www") == made
        since = listed["metadata"]["resourceVersion"]
        async with session.get(f"{REQUESTS}?watch=true&timeoutSeconds=1&resourceVersion={since}") as response:
            assert (await response.text()).count("\n") == 1


async def test_a_dry_run_fails_as_the_write_would() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request())
        assert (await call(session, "POST", f"{REQUESTS}?dryRun=All", request()))[0] == 409
        assert (await call(session, "DELETE", f"{REQUESTS}/none?dryRun=All"))[0] == 404
        code, status = await call(session, "POST", f"{REQUESTS}?dryRun=some", request("b"))
        assert code == 422
        assert 'Unsupported value: "some"' in status["message"]
