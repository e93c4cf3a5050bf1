"""A replica that takes over and whose watch has been blind: it looks for what the leader before it had signed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from issuer.kube.errors import UnreachableError
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.harness import QUICK, live, signatures
from tests.component.quick import REQUESTS, hurried
from tests.component.rig import holder, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import pytest

    from issuer.cli.stage import Replica, Stage
    from issuer.kube.resource import Resource
    from tests.component.harness import NewStage

STATUS = f"/{REQUESTS}/one/status"
LEASE: dict[str, Any] = {
    "leader_election": True,
    "lease_duration": 1.0,
    "renew_deadline": 0.7,
    "retry_period": 0.1,
}
"""A Lease that is lost, and taken over, within a second or two."""


async def add_issuer(stage: Stage, **settings: Any) -> None:
    authorities = [stage.edge(**(settings or QUICK))]
    await stage.apply(objects.issuer("web", authorities, namespace=stage.namespace))


async def add_local_issuer(stage: Stage) -> None:
    await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))


def blinded(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have the watch of requests of a replica hear nothing, as over a half-open connection, until the event is set."""
    sees = asyncio.Event()
    stream = replica._client.stream

    async def blind(
        resource: Resource, *args: Any, opened: Callable[[], None] | None = None, **kwargs: Any
    ) -> AsyncGenerator[bytes, None]:
        if resource.plural == REQUESTS and not sees.is_set():
            if opened is not None:
                opened()
            await sees.wait()
            raise UnreachableError("the watch was silent")
        async for line in stream(resource, *args, opened=opened, **kwargs):
            yield line

    monkeypatch.setattr(replica._client, "stream", blind)
    return sees


async def test_a_stand_by_that_was_blind_looks_for_what_the_leader_before_it_signed(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_stage(hurried(**LEASE), controlled=False) as stage:
        await add_issuer(stage)
        first = stage.replica(hurried(**LEASE, identity="first"))
        await until(lambda: first.program.is_leading)
        second = stage.replica(hurried(**LEASE, identity="second"))
        sees = blinded(second, monkeypatch)
        try:
            await until(lambda: second.program.unready() is None)
            fault = stage.cluster.faults.add(Fault(kind="hang", method="PATCH", path_contains=STATUS))
            csr = await stage.ask("one", "web")
            await until(lambda: live(stage, csr) == 1 and fault.hits == 1)
            await first.kill()
            stage.cluster.faults.remove(fault)
            await until(lambda: holder(stage) == "second")
            sees.set()
            await stage.finished(["one"], 10)
            assert signatures(stage) == 1
            assert live(stage, csr) == 1
        finally:
            await first.kill()
            await second.kill()
