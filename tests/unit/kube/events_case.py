"""What tests of events share: a server that notes each call, and a recorder on the loop's clock."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from issuer.kube.events import EventRecorder, ObjectReference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from issuer.kube.resource import Resource

START = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    def __init__(self) -> None:
        self.calls: list[tuple[float, str, str, dict[str, Any]]] = []
        self.fault: Callable[[str, str], Exception | None] = lambda _verb, _resource: None
        self.takes = 0.0
        self.under_way = 0
        self.most_under_way = 0

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        return await self._call("create", resource, namespace, body)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, content_type: str = ""
    ) -> bytes:
        return await self._call("patch", resource, f"{namespace}/{name}", body)

    async def _call(self, verb: str, resource: Resource, where: str, body: bytes) -> bytes:
        self.calls.append((round(loop_time(), 1), f"{verb} {resource}", where, json.loads(body)))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1
        if (error := self.fault(verb, str(resource))) is not None:
            raise error
        return b"{}"

    def made(self) -> list[tuple[float, str]]:
        return [(at, call) for at, call, _, _ in self.calls]

    def body(self, index: int) -> dict[str, Any]:
        return self.calls[index][3]


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def recorder_of(server: Server, observer: Callable[[str], None] = lambda _: None) -> EventRecorder:
    return EventRecorder(
        server,
        "cdn-issuer",
        "pod-1",
        monotonic=loop_time,
        now=lambda: START + timedelta(seconds=round(loop_time(), 1)),
        observer=observer,
    )


def about(name: str = "a", namespace: str = "ns", uid: str = "") -> ObjectReference:
    return ObjectReference("example.org/v1", "Thing", name, namespace, uid or f"uid-{name}")


@asynccontextmanager
async def running(recorder: EventRecorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
