"""What a controller leaves behind when it ends in the middle, and what the next one makes of it.

The memory of a killed process is gone, and with it the only word of a certificate that the provider may have signed.
The next process has to find it there. Each test kills, stops or confuses the whole controller at the worst moment.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from issuer.api.meta import ObjectKey
from issuer.api.request import signer_of
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component import harness
from tests.component.rig import (
    LIST,
    POST,
    REVOKE,
    add_issuer,
    approve,
    holder,
    live,
    options,
    request,
    status_writes,
    until,
    version,
)

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

STATUS = "/certificaterequests/one/status"


async def test_a_certificate_signed_before_the_kill_is_adopted_by_the_next_controller(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage:
        await add_issuer(stage)
        hanging = stage.cluster.faults.add(Fault(kind="hang", method="PATCH", path_contains=STATUS))
        csr = await stage.ask("one", "web")
        await until(lambda: hanging.hits > 0)
        (signed,) = live(stage, csr)
        await stage.kill_controller()
        stage.cluster.faults.clear()
        assert not request(stage, "one").is_finished
        assert holder(stage), "a killed controller releases no Lease"

        await stage.start_controller()
        await stage.finished(["one"])
        assert signer_of(request(stage, "one")) == "edge"
        assert live(stage, csr) == (signed,)
        assert stage.cdn.calls[POST] == 1
        await stage.program.engine.clean_up()
        assert stage.cdn.calls[REVOKE] == 0


async def test_a_write_that_was_applied_before_the_kill_is_not_made_again(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage:
        await add_issuer(stage)
        stage.cluster.faults.add(Fault(kind="hang", method="PATCH", path_contains=STATUS, after=True))
        csr = await stage.ask("one", "web")
        await stage.finished(["one"])
        await stage.kill_controller()
        stage.cluster.faults.clear()
        ended = version(stage, "one")

        await stage.start_controller()
        await stage.ask("two", "web")
        await stage.finished(["two"])
        assert version(stage, "one") == ended
        assert len(live(stage, csr)) == 1
        assert stage.cdn.calls[POST] == 2


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
async def test_a_controller_killed_while_the_provider_hangs_leaves_one_certificate_in_the_end(
    new_stage: NewStage, *, signed: bool
) -> None:
    async with new_stage(options()) as stage:
        await add_issuer(stage)
        kind = "hang-after" if signed else "hang"
        stage.cdn.faults.set(kind, methods=["POST"], paths=["/certificates"], count=1)
        csr = await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.hanging > 0)
        await stage.kill_controller()

        await stage.start_controller()
        await stage.finished(["one"])
        assert signer_of(request(stage, "one")) == "edge"
        assert len(live(stage, csr)) == 1
        assert stage.cdn.calls[LIST] > 0, "the next controller looks before it asks for a certificate"
        assert stage.cdn.calls[POST] == (1 if signed else 2)
        assert len(stage.cdn.certificates) == 1


async def test_what_is_said_of_a_pending_request_is_not_written_again_by_the_next_controller(
    new_stage: NewStage,
) -> None:
    async with new_stage(options()) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("status", status=503)
        await stage.ask("one", "web")
        await stage.cluster.wait_for(lambda: request(stage, "one").ready is not None)
        why, asked = request(stage, "one").told_why, stage.cdn.calls[POST]
        await stage.kill_controller()
        written = len(status_writes(stage, "one"))

        await stage.start_controller()
        await until(lambda: stage.cdn.calls[POST] >= asked + 3)
        assert request(stage, "one").told_why == why
        assert len(status_writes(stage, "one")) == written, "how often it was tried is no reason to write"


async def test_a_request_that_was_pending_at_the_kill_is_taken_up_by_the_next_controller(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("status", status=503)
        csr = await stage.ask("one", "web")
        await stage.cluster.wait_for(lambda: request(stage, "one").ready is not None)
        await stage.kill_controller()
        assert not request(stage, "one").is_finished
        stage.cdn.faults.clear()

        await stage.start_controller()
        await stage.finished(["one"])
        assert signer_of(request(stage, "one")) == "edge"
        assert len(live(stage, csr)) == 1


async def test_a_request_whose_deadline_passed_while_nobody_ran_gets_one_attempt_and_then_ends(
    new_stage: NewStage,
) -> None:
    async with new_stage(options(), approve=False, controlled=False) as stage:
        await add_issuer(stage, deadline="60s")
        stage.cdn.faults.set("status", status=503)
        await stage.ask("one", "web")
        await approve(stage, "one", datetime.now(UTC) - timedelta(hours=1))

        await stage.start_controller()
        await stage.finished(["one"])
        ended = request(stage, "one")
        assert ended.ready is not None
        assert (ended.ready.status, ended.ready.reason) == ("False", "Failed")
        assert ended.status.failure_time is not None
        assert "deadline" in ended.ready.message
        assert stage.cdn.calls[POST] <= 1
        assert stage.cdn.calls[POST] + stage.cdn.calls[LIST] + stage.cdn.calls["GET /zones"] >= 1


async def test_a_request_whose_deadline_passed_while_nobody_ran_is_signed_if_the_one_attempt_succeeds(
    new_stage: NewStage,
) -> None:
    async with new_stage(options(), approve=False, controlled=False) as stage:
        await add_issuer(stage, deadline="60s")
        csr = await stage.ask("one", "web")
        await approve(stage, "one", datetime.now(UTC) - timedelta(hours=1))

        await stage.start_controller()
        await stage.finished(["one"])
        assert signer_of(request(stage, "one")) == "edge"
        assert stage.cdn.calls[POST] == 1
        assert len(live(stage, csr)) == 1


async def test_a_clean_stop_delivers_what_is_in_flight_and_releases_the_lease(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("slow", seconds=1, methods=["POST"], paths=["/certificates"])
        names = [f"flying-{number}" for number in range(5)]
        csrs = [await stage.ask(name, "web") for name in names]
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == len(names))
        assert not any(found.is_finished for found in stage.requests().values())

        await stage.stop_controller()
        assert all(signer_of(request(stage, name)) == "edge" for name in names)
        assert all(len(live(stage, csr)) == 1 for csr in csrs)
        assert stage.cdn.calls[POST] == len(names)
        assert holder(stage) == ""


async def test_a_clean_stop_repeats_the_write_that_is_refused(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("slow", seconds=0.5, methods=["POST"], paths=["/certificates"])
        refused = stage.cluster.faults.add(Fault(kind="error", method="PATCH", path_contains=STATUS, count=10))
        await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)

        await stage.stop_controller()
        assert refused.hits == 10
        assert signer_of(request(stage, "one")) == "edge"
        assert stage.cdn.calls[POST] == 1


async def test_a_clean_stop_sends_nothing_new_to_the_provider(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("slow", seconds=1, methods=["POST"], paths=["/certificates"])
        await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        stopping = stage.stop_controller()
        await stage.ask("late", "web")
        await stopping
        assert request(stage, "one").is_finished
        assert stage.cdn.calls[POST] <= 2
        assert request(stage, "late").is_finished == (stage.cdn.calls[POST] == 2)

        await stage.start_controller()
        await stage.finished(["late"])
        assert stage.cdn.calls[POST] == 2
        assert stage.cdn.ledger.duplicates() == 0


async def test_a_namesake_made_while_the_first_was_being_signed_gets_a_certificate_of_its_own(
    new_stage: NewStage,
) -> None:
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        stage.cdn.faults.set("slow", seconds=0.7, methods=["POST"], paths=["/certificates"], count=1)
        first = await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        await stage.cluster.delete("certificaterequests", stage.namespace, "one")
        second = await stage.ask("one", "web")

        await stage.finished(["one"])
        await stage.cdn.until(lambda: len(stage.cdn.certificates) == 2)
        assert len(live(stage, second)) == 1
        await swept(stage)
        await harness.swept(stage, lambda: live(stage, first) == ())  # nobody received the first one's certificate
        assert len(live(stage, second)) == 1
        assert stage.cdn.calls[POST] == 3, "the first, its namesake, and the bystander of the sweep"
        assert status_writes(stage, "one").count(200) == 1


async def test_a_result_is_not_written_to_a_namesake_that_still_waits_for_its_own(new_stage: NewStage) -> None:
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        await until(lambda: stage.program.is_leading)
        stage.cdn.faults.set("slow", seconds=0.3, methods=["POST"], paths=["/certificates"], count=1)
        first = await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        stage.cdn.faults.set("slow", seconds=1.5, methods=["POST"], paths=["/certificates"], count=1)
        await stage.cluster.delete("certificaterequests", stage.namespace, "one")
        second = await stage.ask("one", "web")
        await stage.cdn.until(lambda: len(live(stage, first)) == 1)

        await stage.finished(["one"])
        (own,) = live(stage, second)
        delivered = stage.cluster.get("certificaterequests", stage.namespace, "one")["status"]["certificate"]
        assert b64decode(delivered).decode().startswith(own.certificate)
        await swept(stage)
        await harness.swept(stage, lambda: live(stage, first) == ())


async def test_a_namesake_with_the_same_key_keeps_the_certificate_that_it_received(new_stage: NewStage) -> None:
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        csr = objects.signing_request(["one.example.com"])
        wanted = objects.certificate_request("one", csr, namespace=stage.namespace, issuer="web")
        stage.cdn.faults.set("slow", seconds=0.7, methods=["POST"], paths=["/certificates"], count=1)
        await stage.apply(wanted)
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        await stage.cluster.delete("certificaterequests", stage.namespace, "one")
        await stage.apply(wanted)

        await stage.finished(["one"])
        await stage.cdn.until(lambda: len(stage.cdn.certificates) == stage.cdn.calls[POST])
        await swept(stage)
        await harness.swept(stage, lambda: len(live(stage, csr)) <= 1)
        (left,) = live(stage, csr)
        delivered = stage.cluster.get("certificaterequests", stage.namespace, "one")["status"]["certificate"]
        assert b64decode(delivered).decode().startswith(left.certificate)


async def test_what_a_former_process_delivered_is_not_revoked_for_another_request_with_the_same_key(
    new_stage: NewStage,
) -> None:
    """A certificate in use, and a renewal for longer with the same private key, whose call is lost after a restart."""
    async with new_stage(options(leader_election=False)) as stage:
        await add_issuer(stage, backup=True)
        csr = objects.signing_request(["one.example.com"])
        await stage.apply(objects.certificate_request("one", csr, namespace=stage.namespace, issuer="web"))
        await stage.finished(["one"])
        (in_use,) = live(stage, csr)
        await stage.kill_controller()
        await stage.start_controller()
        await until(lambda: stage.program.is_leading)
        await until(lambda: stage.program.requests.get(ObjectKey(stage.namespace, "one")) is not None)

        stage.cdn.faults.set("reset-before", methods=["POST"], paths=["/certificates"])
        longer = objects.certificate_request("two", csr, namespace=stage.namespace, issuer="web", duration="2160h")
        await stage.apply(longer)
        await stage.finished(["two"])
        assert signer_of(request(stage, "two")) == "backup"
        stage.cdn.faults.clear()
        await until(lambda: len(stage.program.engine._ledger) == 1)
        harness.long_after(stage)
        await harness.swept(stage, lambda: stage.program.engine.orphans == 0)
        assert live(stage, csr) == (in_use,)


async def swept(stage: Stage) -> None:
    """Let what is under way end, and look for certificates that nobody received."""
    await stage.ask("bystander", "web")
    await stage.finished(["bystander"])
    await until(lambda: not stage.program.request_controller.unfinished())
    await stage.program.engine.clean_up()
