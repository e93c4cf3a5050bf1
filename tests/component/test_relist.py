"""An API server that is silent, refuses for a while, or forgets: the controller's picture becomes true again.

Beside `test_watch_faults`: here the calls hang rather than fail, deletions are missed, and the world changes while a
certificate is being signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from issuer.api.meta import ObjectKey
from issuer.api.request import signer_of
from issuer.cli.stage import TOKEN
from issuer.sandbox import objects
from issuer.sandbox.cdn import Token
from issuer.sandbox.cluster import Fault
from tests.component.harness import swept
from tests.component.rig import POST, add_issuer, live, options, request, until

if TYPE_CHECKING:
    from tests.component.harness import NewStage

REQUESTS = "certificaterequests"


@pytest.mark.parametrize("kind", ["hang", "error", "throttle", "cut"])
async def test_an_api_server_that_does_not_list_for_a_while_delays_and_loses_nothing(
    kind: str, new_stage: NewStage
) -> None:
    async with new_stage(options(leader_election=False), controlled=False, kube_timeout=0.5) as stage:
        await add_issuer(stage)
        trouble = stage.cluster.faults.add(
            Fault(kind=kind, method="GET", path_contains=REQUESTS, seconds=0, count=3)  # type: ignore[arg-type]
        )
        await stage.start_controller()
        csr = await stage.ask("one", "web")
        await stage.finished(["one"])
        assert trouble.hits == 3
        assert stage.cdn.calls[POST] == 1
        assert len(live(stage, csr)) == 1


async def test_a_new_list_notices_what_was_deleted_while_nobody_watched(new_stage: NewStage) -> None:
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("status", status=503)
        await stage.ask("one", "web")
        await stage.ask("two", "web")
        await stage.cluster.wait_for(lambda: all(found.ready for found in stage.requests().values()))
        assert len(stage.program.request_controller.unfinished()) == 2

        blind = stage.cluster.faults.add(Fault(kind="error", method="GET", path_contains=REQUESTS))
        stage.cluster.cut_watches()
        await until(lambda: blind.hits > 0)
        await stage.cluster.delete(REQUESTS, stage.namespace, "one")
        stage.cluster.compact()
        stage.cluster.faults.remove(blind)
        await until(lambda: stage.program.requests.get(ObjectKey(stage.namespace, "one")) is None)
        assert len(stage.program.request_controller.unfinished()) == 1
        stage.cdn.faults.clear()
        await stage.finished(["two"])
        # A go at the authorities for the one that is gone may have been under way; what it made is nobody's.
        await swept(stage, lambda: [one.revoked for one in stage.cdn.certificates.values()].count(False) == 1)


async def test_a_request_replaced_while_nobody_watched_is_taken_for_another_one(new_stage: NewStage) -> None:
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        await until(lambda: stage.program.is_leading)
        first = await stage.ask("one", "web")
        await stage.finished(["one"])
        blind = stage.cluster.faults.add(Fault(kind="error", method="GET", path_contains=REQUESTS))
        stage.cluster.cut_watches()
        await until(lambda: blind.hits > 0)
        await stage.cluster.delete(REQUESTS, stage.namespace, "one")
        second = await stage.ask("one", "web")
        stage.cluster.compact()
        stage.cluster.faults.remove(blind)
        await stage.finished(["one"])
        assert len(live(stage, first)) == 1, "it was delivered, whatever became of its request"
        assert len(live(stage, second)) == 1


async def test_a_watch_that_is_told_410_lists_again_and_signs_nothing_twice(new_stage: NewStage) -> None:
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        await stage.ask("one", "web")
        await stage.finished(["one"])
        expired = stage.cluster.faults.add(Fault(kind="gone", method="GET", path_contains="watch=1", count=6))
        stage.cluster.cut_watches()
        await stage.ask("two", "web")
        await stage.finished(["two"])
        assert expired.hits > 0
        assert stage.cdn.calls[POST] == 2


async def test_a_secret_that_is_rotated_while_its_old_token_is_refused_serves_the_waiting_request(
    new_stage: NewStage,
) -> None:
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("slow", seconds=0.5, methods=["POST"], paths=["/certificates"], count=1)
        csr = await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        del stage.cdn.tokens[TOKEN]
        stage.cdn.tokens["rotated"] = Token()
        await stage.apply(objects.secret("cloudflare", stage.namespace, {"token": b"rotated"}))
        await stage.finished(["one"])
        assert signer_of(request(stage, "one")) == "edge"
        assert len(live(stage, csr)) == 1


async def test_an_issuer_that_is_deleted_while_it_signs_still_delivers_and_then_lets_others_wait(
    new_stage: NewStage,
) -> None:
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("slow", seconds=0.5, methods=["POST"], paths=["/certificates"], count=1)
        csr = await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        await stage.cluster.delete("cdnissuers", stage.namespace, "web")
        await stage.finished(["one"])
        assert signer_of(request(stage, "one")) == "edge"
        assert len(live(stage, csr)) == 1
        await stage.ask("two", "web")
        await stage.cluster.wait_for(lambda: request(stage, "two").ready is not None)
        ready = request(stage, "two").ready
        assert ready is not None
        assert "does not exist" in ready.message
        await add_issuer(stage)
        await stage.finished(["two"])
        assert signer_of(request(stage, "two")) == "edge"
