"""After an outage: which Certificates are issued again, and that it is done once. The tests play cert-manager."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from issuer.api.meta import format_time
from issuer.controllers import recovery
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.harness import QUICK, ended, events, pending
from tests.component.quick import hurried, led, reason
from tests.component.rig import options, until

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from issuer.sandbox.objects import Manifest
    from tests.component.harness import NewStage

CERTIFICATES: Final = "certificates"
NAMES: Final = ("a", "b", "c")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LATER", 0.2)


async def add_issuer(stage: Stage, **fields: Any) -> None:
    """An issuer that gives its requests a second."""
    spec: dict[str, Any] = {"deadline": "1s", "recovery": {"perMinute": 600}, **fields}
    await stage.apply(objects.issuer("web", [stage.edge(**QUICK)], namespace=stage.namespace, **spec))


async def ask(stage: Stage, name: str) -> None:
    """The request for the first revision of a Certificate, as cert-manager makes it."""
    owner = stage.cluster.get(CERTIFICATES, stage.namespace, name)
    csr = objects.signing_request([f"{name}.example.com"])
    request = objects.certificate_request(f"{name}-1", csr, namespace=stage.namespace, issuer="web")
    request["metadata"]["annotations"] = {
        "cert-manager.io/certificate-name": name,
        "cert-manager.io/certificate-revision": "1",
        "cert-manager.io/private-key-secret-name": f"{name}-x7k2p",
    }
    reference = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "name": name, "controller": True}
    request["metadata"]["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"]}]
    await stage.apply(request)


async def note_failure(stage: Stage, name: str) -> None:
    """What cert-manager writes when the request has failed."""
    now = format_time(datetime.now(UTC))
    issuing = {"type": "Issuing", "status": "False", "reason": "Failed", "message": "failed", "lastTransitionTime": now}
    generation = stage.cluster.get(CERTIFICATES, stage.namespace, name)["metadata"].get("generation", 1)
    status = {"conditions": [{**issuing, "observedGeneration": generation}], "lastFailureTime": now}
    await stage.cluster.set_status(CERTIFICATES, stage.namespace, name, status)


def certificate(stage: Stage, name: str) -> Manifest:
    spec = {
        "secretName": f"{name}-tls",
        "dnsNames": [f"{name}.example.com"],
        "issuerRef": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"},
    }
    metadata = {"name": name, "namespace": stage.namespace}
    return {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec}


async def failed(stage: Stage, *names: str, **spec: Any) -> None:
    """The provider is down, and the requests of these Certificates have failed."""
    stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
    await add_issuer(stage, **spec)
    await led(stage)
    for name in names:
        await stage.apply(certificate(stage, name))
        await ask(stage, name)
    for name in names:
        assert reason(await ended(stage, f"{name}-1")) == "Failed"
        await note_failure(stage, name)


async def reissue(stage: Stage, name: str) -> None:
    """cert-manager replaces the failed request."""
    await stage.cluster.delete("certificaterequests", stage.namespace, f"{name}-1")
    await ask(stage, name)


def issuing(stage: Stage, name: str) -> Manifest:
    found = stage.cluster.get(CERTIFICATES, stage.namespace, name)
    return next(one for one in found["status"]["conditions"] if one["type"] == "Issuing")


def started(stage: Stage) -> list[str]:
    return [name for name in NAMES if is_there(stage, name) and issuing(stage, name)["status"] == "True"]


def is_there(stage: Stage, name: str) -> bool:
    return any(one["metadata"]["name"] == name and "status" in one for one in stage.cluster.list(CERTIFICATES))


def writes(stage: Stage, name: str) -> list[int]:
    """The answers to all writes to a Certificate."""
    return [one.status for one in stage.cluster.writes if f"/certificates/{name}/status" in one.path]


async def test_one_is_started_again_and_the_others_when_it_is_signed(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        await failed(stage, *NAMES)
        await until(lambda: len(started(stage)) == 1, 15)
        (probe,) = started(stage)
        told = issuing(stage, probe)
        assert (told["reason"], "to see whether it is over" in told["message"]) == ("RenewedAfterOutage", True)
        failure = stage.requests()[f"{probe}-1"].status.failure_time
        assert failure is not None
        assert told["lastTransitionTime"] > failure, "or cert-manager takes it for the failure of this issuance"
        await until(lambda: any(why == "RenewedAfterOutage" for _, why, _ in events(stage, probe)))
        await reissue(stage, probe)
        stage.cdn.faults.clear()
        assert reason(await ended(stage, f"{probe}-1")) == "Issued"
        await until(lambda: started(stage) == list(NAMES), 15)
        for name in NAMES:
            assert writes(stage, name) == [200]
            if name != probe:
                assert "which is over" in issuing(stage, name)["message"]


async def test_a_restart_starts_nothing_twice(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        await failed(stage, "a")
        await until(lambda: started(stage) == ["a"], 15)
        await stage.kill_controller()
        await stage.start_controller()
        await led(stage)
        gets = "/certificates/a"
        before = len([path for method, path in stage.cluster.calls if method == "GET" and path.endswith(gets)])
        await until(lambda: len([path for _, path in stage.cluster.calls if path.endswith(gets)]) >= before + 2, 15)
        assert writes(stage, "a") == [200]


async def test_a_write_whose_answer_is_lost_is_not_repeated(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        lost = Fault(kind="cut", method="PATCH", path_contains="/certificates/a/status", count=1, after=True)
        stage.cluster.faults.add(lost)
        await failed(stage, "a")
        await until(lambda: started(stage) == ["a"], 15)
        before = len(stage.cluster.calls)
        await until(lambda: any(path.endswith("/certificates/a") for _, path in stage.cluster.calls[before:]), 15)
        assert len(writes(stage, "a")) <= 1, "the sandbox notes none whose answer is lost"
        assert lost.hits == 1


async def test_a_certificate_that_changes_under_the_write_is_judged_anew(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        race = Fault(kind="race", method="PATCH", path_contains="/certificates/a/status", count=1)
        stage.cluster.faults.add(race)
        await failed(stage, "a")
        await until(lambda: started(stage) == ["a"], 15)
        assert writes(stage, "a") == [409, 200]


async def test_a_certificate_that_is_gone_is_left_alone_and_holds_up_nobody(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        await stage.apply(certificate(stage, "gone"))
        await ask(stage, "gone")
        await stage.cluster.delete(CERTIFICATES, stage.namespace, "gone")
        await failed(stage, "a")
        await until(lambda: started(stage) == ["a"], 15)
        assert writes(stage, "gone") == []


async def test_nothing_is_done_where_it_is_switched_off(new_stage: NewStage) -> None:
    async with new_stage(options(leader_election=False, recovery=False)) as stage:
        await failed(stage, "a")
        assert "recovery" not in [one.name for one in stage.program.controllers]
        assert not any("/certificates/a" in path for _, path in stage.cluster.calls)


async def test_nothing_is_done_for_an_issuer_that_does_without(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        await failed(stage, "a", recovery={"renewAfterOutage": False})
        await asyncio.sleep(0.5)
        assert not any("/certificates/a" in path for _, path in stage.cluster.calls)
        await add_issuer(stage)
        await until(lambda: started(stage) == ["a"], 15)


async def test_pending_requests_are_taken_up_by_the_end_of_the_certificates_in_use(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        limits = {"requestsPerSecond": 20, "burst": 1, "inFlight": 1}
        breaker = {"consecutiveFailures": 1, "openFor": "1s", "maxOpenFor": "1s"}
        edge = stage.edge(**{**QUICK, "limits": limits, "circuitBreaker": breaker})
        await stage.apply(objects.issuer("web", [edge], namespace=stage.namespace, deadline="10m"))
        await led(stage)
        days = {"late": 365, "soon": 7, "later": 90, "next": 30}
        for name, lifetime in days.items():
            of = {"cert-manager.io/certificate-name": name}
            await stage.ask(f"{name}-1", "web", f"{name}.example.com", duration=f"{24 * lifetime}h", annotations=of)
        await stage.finished(f"{name}-1" for name in days)
        before = len(stage.cdn.certificates)
        stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
        for name in days:
            of = {"cert-manager.io/certificate-name": name}
            await stage.ask(f"{name}-2", "web", f"{name}.example.com", annotations=of)
        for name in days:
            await pending(stage, f"{name}-2")
        stage.cdn.faults.clear()
        await stage.finished(f"{name}-2" for name in days)
        signed = [record.hostnames[0].split(".")[0] for record in list(stage.cdn.certificates.values())[before:]]
        probe, *rest = signed
        assert rest == [name for name in ("soon", "next", "later", "late") if name != probe]
