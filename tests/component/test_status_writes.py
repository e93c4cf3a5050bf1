"""Only the write is repeated, never the signature.

A certificate that was paid for with a call to the provider must reach its request, however often the API server refuses
to take it, and one that may have reached it must never be revoked. Each test runs the whole controller over HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from issuer.api.request import signer_of
from issuer.sandbox.cluster import Fault
from tests.component.rig import POST, REVOKE, add_issuer, live, options, request, status_writes, until, version

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

STATUS = "/certificaterequests/one/status"
THE_REQUEST = "/certificaterequests/one"
"""Writes of its status and reads of it alone; a list names no object."""


def prepared(new_stage: NewStage, *, kube_timeout: float = 10.0) -> Stage:
    return new_stage(options(leader_election=False), kube_timeout=kube_timeout)


async def set_up(stage: Stage) -> None:
    """An issuer, and a controller that leads already: what it finds when it starts to, it holds for suspect."""
    await add_issuer(stage)
    await until(lambda: stage.program.is_leading)


async def assert_nothing_follows(stage: Stage, name: str) -> None:
    """Poke the controller after the end of a request, stop it cleanly, and see that it wrote nothing more."""
    ended, writes = version(stage, name), status_writes(stage, name).count(200)
    await stage.ask("afterwards", "web")
    await stage.finished(["afterwards"])
    await stage.stop_controller()
    assert version(stage, name) == ended
    assert status_writes(stage, name).count(200) == writes


async def assert_signed_once_and_delivered(stage: Stage, csr: bytes) -> None:
    assert stage.cdn.calls[POST] == 1
    assert stage.cdn.ledger.duplicates() == 0
    assert len(live(stage, csr)) == 1
    assert signer_of(request(stage, "one")) == "edge"
    await assert_nothing_follows(stage, "one")
    assert stage.cdn.calls[REVOKE] == 0


@pytest.mark.parametrize("times", [1, 10, 100])
@pytest.mark.parametrize("kind", ["race", "error"])
async def test_a_write_that_is_refused_is_repeated_until_it_is_taken(
    new_stage: NewStage, kind: str, times: int
) -> None:
    async with prepared(new_stage) as stage:
        await set_up(stage)
        fault = stage.cluster.faults.add(Fault(kind=kind, method="PATCH", path_contains=STATUS, count=times))  # type: ignore[arg-type]
        csr = await stage.ask("one", "web")
        await stage.finished(["one"])
        assert fault.hits == times
        await until(lambda: 200 in status_writes(stage, "one"))
        refusal = 409 if kind == "race" else 500
        *refused, taken = status_writes(stage, "one")
        assert set(refused) == {refusal}
        assert len(refused) >= times
        assert taken == 200
        await assert_signed_once_and_delivered(stage, csr)


@pytest.mark.parametrize("times", [1, 10, 100])
async def test_a_write_that_hangs_is_given_up_and_repeated(new_stage: NewStage, times: int) -> None:
    async with prepared(new_stage, kube_timeout=0.1) as stage:
        await set_up(stage)
        fault = stage.cluster.faults.add(Fault(kind="hang", method="PATCH", path_contains=STATUS, count=times))
        csr = await stage.ask("one", "web")
        await stage.finished(["one"])
        assert fault.hits == times
        await assert_signed_once_and_delivered(stage, csr)


@pytest.mark.parametrize("times", [1, 10, 100])
@pytest.mark.parametrize("kind", ["error", "cut"])
async def test_a_write_whose_answer_is_lost_is_recognised_as_done(new_stage: NewStage, kind: str, times: int) -> None:
    async with prepared(new_stage) as stage:
        await set_up(stage)
        lost = Fault(kind=kind, path_contains=THE_REQUEST, count=times, after=True)  # type: ignore[arg-type]
        stage.cluster.faults.add(lost)
        csr = await stage.ask("one", "web")
        await stage.finished(["one"])
        applied = version(stage, "one")
        await until(lambda: lost.hits == times)
        await until(lambda: stage.program.engine.orphans == 0)
        assert version(stage, "one") == applied, "the first write was applied, so no other may be"
        await assert_signed_once_and_delivered(stage, csr)


async def test_the_label_that_somebody_else_wrote_meanwhile_survives_our_write(new_stage: NewStage) -> None:
    async with prepared(new_stage) as stage:
        await set_up(stage)
        stage.cluster.faults.add(Fault(kind="race", method="PATCH", path_contains=STATUS, count=3))
        await stage.ask("one", "web")
        await stage.finished(["one"])
        annotations = stage.cluster.get("certificaterequests", stage.namespace, "one")["metadata"]["annotations"]
        assert annotations["sandbox/touched"] == "3"


@pytest.mark.parametrize("kind", ["error", "cut"])
async def test_a_delivered_certificate_is_not_revoked_though_the_answer_was_lost_and_the_request_deleted(
    new_stage: NewStage, kind: str
) -> None:
    async with prepared(new_stage) as stage:
        await set_up(stage)
        stage.cluster.faults.add(Fault(kind=kind, path_contains=THE_REQUEST, after=True))  # type: ignore[arg-type]
        csr = await stage.ask("one", "web")
        await stage.finished(["one"])
        await stage.cluster.delete("certificaterequests", stage.namespace, "one")
        stage.cluster.faults.clear()
        await until(lambda: 404 in status_writes(stage, "one"))
        await until(lambda: stage.program.engine.orphans == 0)
        await stage.program.engine.clean_up()
        assert len(live(stage, csr)) == 1
        assert stage.cdn.calls[REVOKE] == 0
        assert stage.cdn.calls[POST] == 1


async def test_a_certificate_that_certainly_nobody_received_is_revoked(new_stage: NewStage) -> None:
    async with prepared(new_stage) as stage:
        await set_up(stage)
        refused = Fault(kind="throttle", method="PATCH", path_contains=STATUS)
        stage.cluster.faults.add(refused)
        csr = await stage.ask("one", "web")
        await until(lambda: refused.hits > 0)
        await stage.cluster.delete("certificaterequests", stage.namespace, "one")
        stage.cluster.faults.clear()
        await until(lambda: 404 in status_writes(stage, "one"))
        await stage.ask("other", "web")
        await stage.finished(["other"])
        await stage.program.engine.clean_up()
        assert live(stage, csr) == ()
        assert stage.cdn.calls[REVOKE] == 1


async def test_a_result_does_not_overwrite_the_end_that_somebody_else_wrote_meanwhile(new_stage: NewStage) -> None:
    async with prepared(new_stage) as stage:
        await set_up(stage)
        refused = stage.cluster.faults.add(Fault(kind="throttle", method="PATCH", path_contains=STATUS, seconds=0))
        csr = await stage.ask("one", "web")
        await until(lambda: refused.hits > 0)
        status = stage.cluster.get("certificaterequests", stage.namespace, "one")["status"]
        failed = {"type": "Ready", "status": "False", "reason": "Failed", "message": "ended by hand"}
        await stage.cluster.set_status(
            "certificaterequests", stage.namespace, "one", {"conditions": [*status["conditions"], failed]}
        )
        ended = version(stage, "one")
        stage.cluster.faults.clear()
        await until(lambda: 409 in status_writes(stage, "one"))
        await stage.ask("other", "web")
        await stage.finished(["other"])
        await stage.program.engine.clean_up()
        assert version(stage, "one") == ended
        assert live(stage, csr) == (), "nobody received it"


async def test_a_refused_failure_is_written_as_often_as_it_takes_too(new_stage: NewStage) -> None:
    async with prepared(new_stage) as stage:
        await set_up(stage)
        stage.cluster.faults.add(Fault(kind="race", method="PATCH", path_contains=STATUS, count=10))
        await stage.ask("one", "web", "www.elsewhere.org")
        await stage.finished(["one"])
        ready = request(stage, "one").ready
        assert ready is not None
        assert ready.reason == "Failed"
        assert stage.cdn.calls[POST] <= 1
        await assert_nothing_follows(stage, "one")


async def test_an_issuer_whose_status_cannot_be_written_is_one_line_and_is_written_in_the_end(
    new_stage: NewStage,
) -> None:
    async with new_stage(options()) as stage:
        fault = stage.cluster.faults.add(Fault(kind="error", method="PATCH", path_contains="/cdnissuers/"))
        with capture_logs() as lines:
            await add_issuer(stage)
            await until(lambda: fault.hits >= 4)
        stage.cluster.faults.clear()
        told = [line for line in lines if line["event"] in ("issuer status not written", "handling failed")]
        (line,) = told
        assert (line["log_level"], line["issuer_kind"], line["issuer_namespace"], line["issuer"]) == (
            "warning",
            "CDNIssuer",
            stage.namespace,
            "web",
        )
        await until(lambda: "conditions" in stage.cluster.get("cdnissuers", stage.namespace, "web").get("status", {}))
