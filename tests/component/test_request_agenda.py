"""When a request is looked at, called for and written, and what somebody else may write at the same moment."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from issuer.api.request import signer_of
from issuer.controllers.pace import Pace
from issuer.kube.queue import WorkQueue
from issuer.sandbox import objects
from issuer.sandbox.cdn import MockCDN
from issuer.sandbox.cluster import Fault, StatusError
from tests.component.harness import QUICK, live, message, signatures
from tests.component.quick import (
    BOUND,
    ONE_TRY,
    PATIENT,
    REQUESTS,
    ago,
    ended,
    heard,
    hurried,
    led,
    ready_issuers,
    reason,
    say,
)
from tests.component.rig import request, status_writes, until

if TYPE_CHECKING:
    from issuer.api.request import CertificateRequest
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

STATUS = f"/{REQUESTS}/one/status"
PROGRAM = "issuer.controllers.program"


async def add_issuer(stage: Stage, name: str = "web", **settings: object) -> None:
    await stage.apply(objects.issuer(name, [stage.edge(**(settings or QUICK))], namespace=stage.namespace))


async def add_local_issuer(stage: Stage) -> None:
    await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))


def gone(code: int, reason: str, message: str) -> StatusError:
    """In place of any error: the API server knows no such request, and names it."""
    details = {"name": "one", "group": "cert-manager.io", "kind": REQUESTS}
    return StatusError(404, "NotFound", f'{REQUESTS}.cert-manager.io "one" not found', details=details)


async def interrupted(stage: Stage, *types: str) -> None:
    """Have somebody write conditions to the request while our first write of its status is under way."""
    await until(lambda: any(fault.hits for fault in stage.cluster.faults._active))
    await say(stage, "one", *types)


@pytest.mark.parametrize("names_the_request", [False, True], ids=["plain", "names the request"])
async def test_one_404_on_a_write_costs_neither_the_result_nor_the_certificate(
    new_stage: NewStage, names_the_request: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if names_the_request:
        monkeypatch.setattr("issuer.sandbox.cluster.faults.StatusError", gone)
    async with new_stage(hurried()) as stage:
        await add_issuer(stage)
        await led(stage)
        stage.cluster.faults.add(Fault(kind="error", status=404, method="PATCH", path_contains=STATUS, count=1))
        csr = await stage.ask("one", "web")
        assert signer_of(await ended(stage, "one", 2.5)) == "edge"
        await stage.program.engine.clean_up()
        assert live(stage, csr) == 1
        assert signatures(stage) == 1


async def test_a_new_request_has_a_turn_while_old_ones_are_tried_again_and_again(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{PROGRAM}.REQUESTS_PER_ISSUER", 2)
    monkeypatch.setattr(f"{PROGRAM}.WorkQueue", partial(WorkQueue, patience=0.1))
    async with new_stage(hurried(pace=Pace(first=0.02, largest=0.02))) as stage:
        brief = {"connect": "100ms", "read": "200ms", "attempt": "200ms", "turn": "1s"}
        await add_issuer(stage, **{**ONE_TRY, "timeouts": brief})
        await led(stage)
        down = stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
        old = [f"old-{number}" for number in range(8)]
        for name in old:
            await stage.ask(name, "web")
        for name in old:
            await heard(stage, name, 10)
        stage.cdn.faults.set("hang", methods=["POST"], paths=["/certificates"])
        stage.cdn.faults.clear(down)
        await until(lambda: stage.program.request_queue.oldest_wait > 0.5)
        await stage.ask("new", "web")
        assert reason(await heard(stage, "new")) == "Pending"


async def test_the_deadline_of_a_request_that_waits_for_its_first_turn_is_met(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{PROGRAM}.REQUESTS_PER_ISSUER", 1)
    async with new_stage(hurried(), approve=False) as stage:
        await add_issuer(stage, **PATIENT)
        await led(stage)
        stage.cdn.faults.set("hang", methods=["POST"], paths=["/certificates"], count=1)
        stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
        await stage.ask("first", "web")
        await say(stage, "first", "Approved")
        await until(lambda: stage.cdn.hanging == 1)
        await stage.ask("late", "web")
        await say(stage, "late", "Approved", when=ago(seconds=3600 - 2))
        assert reason(await ended(stage, "late", 2 + 1.5)) == "Failed"


@pytest.mark.parametrize(("said", "told"), [("Denied", "Denied"), ("InvalidRequest", "Failed")])
async def test_what_an_approver_or_a_policy_says_just_before_our_write_counts(
    new_stage: NewStage, said: str, told: str
) -> None:
    async with new_stage(hurried()) as stage:
        await add_local_issuer(stage)
        await led(stage)
        stage.cluster.faults.add(Fault(kind="latency", method="PATCH", path_contains=STATUS, seconds=0.5, count=1))
        await stage.ask("one", "local")
        await interrupted(stage, said)
        found = await ended(stage, "one")
        assert 409 in status_writes(stage, "one"), "the test has to be quicker than our write"
        assert reason(found) == told
        assert not found.status.certificate


async def annotated(stage: Stage, name: str, value: str) -> None:
    """Have somebody write the annotation that names the authorities."""
    found = stage.cluster.get(REQUESTS, stage.namespace, name)
    metadata = {"name": name, "namespace": stage.namespace, "annotations": {"cdn-issuer.io/authorities": value}}
    await stage.cluster.apply(
        {**{field: found[field] for field in ("apiVersion", "kind", "spec")}, "metadata": metadata}
    )


async def test_what_is_signed_is_not_signed_again_though_it_is_decided_anew(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        await add_issuer(stage)
        await led(stage)
        slow = Fault(kind="latency", method="PATCH", path_contains=STATUS, seconds=0.5, count=1)
        stage.cluster.faults.add(slow)
        csr = await stage.ask("one", "web")
        await until(lambda: slow.hits > 0)
        await annotated(stage, "one", "edge")
        assert reason(await ended(stage, "one")) == "Issued"
        assert 409 in status_writes(stage, "one"), "the test has to be quicker than our write"
        assert (signatures(stage), live(stage, csr)) == (1, 1)


async def test_a_change_that_allows_no_other_authority_hurries_no_request(new_stage: NewStage) -> None:
    async with new_stage(hurried(pace=Pace(first=20, largest=20))) as stage:
        await add_issuer(stage, **ONE_TRY)
        await led(stage)
        await until(lambda: ready_issuers(stage) == 1)
        await asyncio.sleep(0.3)  # becoming ready hurries the requests that wait for it
        stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
        await stage.ask("one", "web")
        await heard(stage, "one")
        before = signatures(stage)
        await annotated(stage, "one", " , ")
        await asyncio.sleep(0.5)
        assert signatures(stage) == before
        await annotated(stage, "one", "edge")
        await until(lambda: signatures(stage) > before, BOUND)


async def test_why_a_request_waits_is_told_even_if_somebody_else_wrote_at_that_moment(new_stage: NewStage) -> None:
    async with new_stage(hurried(), approve=False) as stage:
        await led(stage)
        stage.cluster.faults.add(Fault(kind="latency", method="PATCH", path_contains=STATUS, seconds=0.5, count=1))
        await stage.ask("one", "nowhere")
        await asyncio.sleep(0.3)  # so that nothing but the approval makes it look
        await say(stage, "one", "Approved")
        await interrupted(stage, "example.com/Audited")
        await until(lambda: 409 in status_writes(stage, "one"))
        assert "does not exist" in message(await heard(stage, "one"))


async def test_a_pending_condition_that_cannot_be_written_repeats_the_write_and_not_the_turn(
    new_stage: NewStage,
) -> None:
    async with new_stage(hurried(pace=Pace(first=0.05, largest=60, first_write=0.02, largest_write=0.1))) as stage:
        await add_issuer(stage, **ONE_TRY)
        await led(stage)
        stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
        refused = stage.cluster.faults.add(Fault(kind="error", status=500, method="PATCH", path_contains=STATUS))
        await stage.ask("one", "web")
        await until(lambda: refused.hits >= 15, 6)
        assert signatures(stage) <= 8, "doubled pauses from 25 ms on leave room for no more in these seconds"


async def test_an_issuer_whose_status_meets_conflicts_does_not_hurry_its_requests(new_stage: NewStage) -> None:
    async with new_stage(hurried(pace=Pace(first=20, largest=20))) as stage:
        refused = Fault(kind="conflict", method="PATCH", path_contains="/cdnissuers/web/status")
        stage.cluster.faults.add(refused)
        stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
        await add_issuer(stage, **ONE_TRY)
        await led(stage)
        await until(lambda: refused.hits > 0)
        await asyncio.sleep(0.3)  # an issuer that is new wakes its requests, and rightly so
        await stage.ask("one", "web")
        await heard(stage, "one")
        await asyncio.sleep(0.3)  # the approval may come during the first turn, and be a reason for another
        before = signatures(stage)
        await asyncio.sleep(1.5)
        assert signatures(stage) == before


async def test_the_recovery_of_one_authority_does_not_hurry_the_requests_of_another(new_stage: NewStage) -> None:
    async with (
        MockCDN(tokens=["sandbox-token"], rate_limit=None) as other,
        new_stage(hurried(pace=Pace(first=20, largest=20))) as stage,
    ):
        stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
        other.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
        await add_issuer(stage, **ONE_TRY)
        edge = stage.edge(**QUICK, caBundle=other.roots_pem)
        edge["cloudflare"]["endpoint"] = other.endpoint
        await stage.apply(objects.issuer("other", [edge], namespace=stage.namespace))
        await led(stage)
        await until(lambda: ready_issuers(stage) == 2)
        await asyncio.sleep(0.3)  # becoming ready wakes requests too, and rightly so
        for name, issuer in {"one": "web", "two": "other", "three": "other", "four": "other"}.items():
            await stage.ask(name, issuer)
            await heard(stage, name)
        before = signatures(stage)
        other.faults.clear()
        for number in range(20):
            await stage.ask(f"probe-{number}", "other")
            if reason(await heard(stage, f"probe-{number}")) == "Issued":
                break
        await asyncio.sleep(0.5)
        assert signatures(stage) == before


async def test_a_request_for_a_kind_that_is_not_served_here_is_left_alone(new_stage: NewStage) -> None:
    async with new_stage(hurried(cluster_issuers=False), approve=False) as stage:
        await stage.apply(objects.issuer("wide", [stage.backup()]))
        await add_local_issuer(stage)
        await led(stage)
        for name, approved in {"one": ago(), "overdue": ago(hours=2)}.items():
            await stage.ask(name, "wide", kind="CDNClusterIssuer")
            await say(stage, name, "Approved", when=approved)
        await stage.ask("ours", "local")
        await say(stage, "ours", "Approved")
        await ended(stage, "ours")
        await asyncio.sleep(0.3)
        assert status_writes(stage, "one") == []
        assert status_writes(stage, "overdue") == []


@pytest.mark.parametrize("kind", ["Issuer", "CdnIssuer"])
async def test_a_request_of_our_group_with_an_unknown_kind_is_told_and_ends_at_the_deadline(
    new_stage: NewStage, kind: str
) -> None:
    async with new_stage(hurried(), approve=False) as stage:
        await led(stage)
        await stage.ask("one", "web", kind=kind)
        await say(stage, "one", "Approved", when=ago(seconds=3600 - 3))
        told: CertificateRequest = await heard(stage, "one")
        assert reason(told) == "Pending"
        assert "CDNIssuer" in message(told)
        assert "CDNClusterIssuer" in message(told)
        assert reason(await ended(stage, "one", 3 + BOUND)) == "Failed"
        assert request(stage, "one").status.failure_time
