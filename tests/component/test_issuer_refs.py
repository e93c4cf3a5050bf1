"""Other issuers as authorities: what a restart, another replica and a broken API server make of a child under way."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from issuer.api.meta import format_time
from issuer.api.request import signer_of
from issuer.cli.stage import is_child
from issuer.sandbox import objects
from issuer.sandbox.cluster import Cluster, Fault
from issuer.sandbox.others import OtherIssuers
from tests.component.rig import options, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from issuer.cli.stage import Stage
    from issuer.sandbox.objects import Manifest
    from tests.component.harness import NewStage


@asynccontextmanager
async def others(stage: Stage, *silent: str, turn: str = "1m") -> AsyncIterator[OtherIssuers]:
    """Two issuers of cert-manager's, and one of ours that stands for both."""
    playing = OtherIssuers(stage.cluster)
    playing.silent |= set(silent)
    playing_all = [asyncio.create_task(playing.run())]
    if not isinstance(stage.cluster, Cluster):
        playing_all.append(asyncio.create_task(approve(stage)))  # the sandbox does that itself
    entries: list[Any] = []
    for name in ("first", "second"):
        metadata = {"name": name, "namespace": stage.namespace}
        await stage.apply(
            {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": metadata, "spec": {"selfSigned": {}}}
        )
        entries.append({"name": name, "issuerRef": {"name": name}, "timeouts": {"turn": turn}})
    await stage.apply(objects.issuer("web", entries, namespace=stage.namespace))
    try:
        yield playing
    finally:
        for task in playing_all:
            task.cancel()
        await asyncio.gather(*playing_all, return_exceptions=True)


async def approve(stage: Stage) -> None:
    """Approve children, as cert-manager's approver does."""

    def waiting() -> list[Manifest]:
        return [one for one in children(stage) if not one.get("status", {}).get("conditions")]

    while True:
        await stage.cluster.wait_for(lambda: bool(waiting()), timeout=3600)
        for one in waiting():
            approved = {"type": "Approved", "status": "True", "reason": "Test", "message": "approved by the test"}
            approved["lastTransitionTime"] = format_time(datetime.now(UTC))
            meta = one["metadata"]
            with contextlib.suppress(Exception):
                await stage.cluster.set_status(
                    "certificaterequests", meta["namespace"], meta["name"], {"conditions": [approved]}
                )


def children(stage: Stage) -> list[Manifest]:
    return [one for one in stage.cluster.list("certificaterequests", stage.namespace) if is_child(one)]


def signed_by(stage: Stage, name: str = "one") -> str | None:
    return signer_of(stage.requests()[name])


async def test_another_replica_goes_on_with_the_same_child(new_stage: NewStage) -> None:
    async with new_stage(options(), controlled=False) as stage, others(stage, "first", "second") as playing:
        first = stage.replica(options(identity="first"))
        await until(lambda: first.program.is_leading)
        second = stage.replica(options(identity="second"))
        try:
            await stage.ask("one", "web")
            await until(lambda: len(children(stage)) == 1)
            await first.kill()
            await until(lambda: second.program.is_leading)
            playing.silent.clear()
            await stage.finished(["one"])
            assert signed_by(stage) == "first"
            assert len(children(stage)) == 1
        finally:
            for replica in (first, second):
                if not replica.running.done():
                    await replica.stop()


async def test_a_child_whose_creation_was_never_answered_is_found_again(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage, others(stage):
        stage.cluster.faults.add(
            Fault(kind="cut", method="POST", path_contains="/certificaterequests", count=1, after=True)
        )
        await stage.ask("one", "web")
        await stage.finished(["one"])
        assert signed_by(stage) == "first"
        assert len(children(stage)) == 1


async def test_one_that_falls_silent_loses_its_child_and_the_other_signs(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage, others(stage, "first", turn="1s"):
        await stage.ask("one", "web")
        await stage.finished(["one"])
        assert signed_by(stage) == "second"
        assert [one["spec"]["issuerRef"]["name"] for one in children(stage)] == ["second"]


async def test_what_nobody_waits_for_any_more_is_deleted(new_stage: NewStage) -> None:
    async with new_stage(options()) as stage, others(stage, "first", "second") as playing:
        await stage.apply(
            objects.issuer(
                "brief",
                [{"name": "first", "issuerRef": {"name": "first"}, "timeouts": {"turn": "1m"}}],
                namespace=stage.namespace,
                deadline="1s",
            )
        )
        await stage.ask("one", "brief")
        await stage.finished(["one"])
        assert signed_by(stage) is None
        assert len(children(stage)) == 1
        tidy = next(one for one in stage.program.controllers if one.name == "children").chores[0]
        async with asyncio.timeout(10):
            while children(stage):  # the end of the request reaches the cache a moment after the cluster
                await tidy.run()
                await asyncio.sleep(0.05)
        assert playing.silent


async def test_switched_off_the_issuer_says_so_and_nothing_is_asked(new_stage: NewStage) -> None:
    async with new_stage(options(issuer_refs=False)) as stage, others(stage):

        def states() -> list[str]:
            found = stage.cluster.get("cdnissuers", stage.namespace, "web").get("status", {})
            return [f"{one['state']} {one.get('message', '')}" for one in found.get("authorities", [])]

        await until(lambda: len(states()) == 2)
        assert all("switched off (--no-issuer-refs)" in one for one in states())
        await stage.ask("one", "web")
        assert children(stage) == []
