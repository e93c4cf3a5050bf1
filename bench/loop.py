"""How long the event loop is held up when much happens at once in a large cluster.

The Lease, the deadlines and every call share one loop: while it is held, nothing else goes on. The controllers are the
real ones, in this process; the API server is a stub that answers from memory, so that what is measured is theirs alone.
Every unfinished request waits (the Secret of its issuer does not exist), so each is decided and goes through the engine
whenever it is woken.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from issuer.api.meta import format_time
from issuer.api.request import PLURAL
from issuer.cli.run import spare_the_collector
from issuer.controllers.program import Options, Program
from issuer.kube.access import Access
from issuer.kube.client import KubeClient
from issuer.kube.errors import GoneError, NotFoundError
from issuer.kube.reflector import PAGE_SIZE
from issuer.observe.metrics import Metrics
from issuer.sandbox import objects

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from rich.table import Table

    from issuer.kube.resource import Resource

BEAT = 0.001
"""Seconds between two looks at how late the loop is."""
ANSWER = 0.005
"""Seconds that the stub takes to answer."""
BOOKMARK = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1"}}}'
WHEN = format_time(datetime.now(UTC))
"""Of every creation and approval: no deadline passes while it is measured."""


class StubApi(KubeClient):
    """Lists what it was given, takes every write, and has no Secrets."""

    def __init__(self) -> None:
        super().__init__(Access("http://stub"))
        self.pages: dict[str, list[bytes]] = {}
        self._changed = asyncio.Event()

    def hold(self, plural: str, items: list[objects.Manifest]) -> None:
        """From now on these are there, in pages as the reflector asks for them."""
        pages = [items[at : at + PAGE_SIZE] for at in range(0, len(items), PAGE_SIZE)] or [[]]
        self.pages[plural] = [
            msgspec.json.encode(
                {"metadata": {"resourceVersion": "1", "continue": str(at + 1) if page is not pages[-1] else ""}}
                | {"items": page}
            )
            for at, page in enumerate(pages)
        ]

    def expire(self) -> None:
        """End each watch of an issuer as an API server does that has forgotten where it was: list again."""
        self._changed.set()

    async def list(self, resource: Resource, namespace: str = "", *, query: Mapping[str, str] | None = None) -> bytes:
        await asyncio.sleep(ANSWER)
        return self.pages.get(resource.plural, [b'{"metadata":{"resourceVersion":"1"},"items":[]}'])[
            int((query or {}).get("continue", "0"))
        ]

    async def stream(
        self,
        resource: Resource,
        namespace: str,
        query: Mapping[str, str],
        *,
        inactivity: float,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        while resource.plural != "cdnissuers":
            await asyncio.sleep(inactivity)
            yield BOOKMARK
        await self._changed.wait()
        self._changed.clear()
        raise GoneError(410, "Expired", "too old")

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        await asyncio.sleep(ANSWER)
        raise NotFoundError(404, "NotFound", f"{resource.plural} {name} not found")

    async def patch(self, *_: Any, **__: Any) -> bytes:
        await asyncio.sleep(ANSWER)
        return b"{}"

    async def create(self, *_: Any) -> bytes:
        await asyncio.sleep(ANSWER)
        return b"{}"


class Lag:
    """The longest time between two turns of the loop."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(BEAT)
            self.longest = max(self.longest, loop.time() - began - BEAT)

    def take(self) -> float:
        """Seconds, since it was taken last."""
        longest, self.longest = self.longest, 0.0
        return longest


def issuers(count: int, generation: int) -> list[objects.Manifest]:
    """Of a namespace each, with a provider whose Secret does not exist."""
    cloudflare = {"apiTokenSecretRef": {"name": "missing", "key": "token"}}
    found = []
    for number in range(count):
        manifest = objects.issuer("web", [{"name": "edge", "cloudflare": cloudflare}], namespace=f"ns-{number}")
        manifest["metadata"] |= {"uid": f"issuer-{number}", "resourceVersion": str(generation)}
        manifest["metadata"]["generation"] = generation
        found.append(manifest)
    return found


def requests(count: int, unfinished: int, issuers: int) -> list[objects.Manifest]:
    """Spread over the issuers; the first `unfinished` wait, and the rest ended long ago."""
    csr = objects.signing_request(["www.example.com"])
    approved = {"type": "Approved", "status": "True", "lastTransitionTime": WHEN}
    issued = {"type": "Ready", "status": "True", "reason": "Issued", "lastTransitionTime": WHEN}
    found = []
    for number in range(count):
        where = f"ns-{number % issuers}"
        manifest = objects.certificate_request(f"r-{number}", csr, namespace=where, issuer="web")
        manifest["metadata"] |= {"uid": f"r-{number}", "resourceVersion": "1", "creationTimestamp": WHEN}
        manifest["status"] = {"conditions": [approved] if number < unfinished else [approved, issued]}
        found.append(manifest)
    return found


@asynccontextmanager
async def controller(client: StubApi, metrics: Metrics) -> AsyncIterator[Program]:
    """The whole controller, leading."""
    program, stop = Program(client, metrics, Options(leader_election=False, grace=1.0)), asyncio.Event()
    running = asyncio.create_task(program.run(stop))
    try:
        yield program
    finally:
        stop.set()
        await running


async def had_a_turn(program: Program, count: int, turns: dict[str, int]) -> dict[str, int]:
    """Wait until so many requests have had one more go at their authorities than before."""
    while True:
        await asyncio.sleep(0.25)
        memory = program.request_controller.memory
        now = {state.request.metadata.uid: state.turns for state in memory.all()}
        if sum(number > turns.get(uid, 0) for uid, number in now.items()) >= count:
            return now


async def held(count: int, unfinished: int, changed: int, table: Table) -> None:
    """The longest time that the loop was held, by what happened meanwhile."""
    client, metrics, lag = StubApi(), Metrics(), Lag()
    client.hold("cdnissuers", issuers(changed, 1))
    client.hold(PLURAL, requests(count, unfinished, changed))
    spare_the_collector()

    def report(what: str) -> None:
        table.add_row(f"loop held at most, {what}", "", f"{lag.take() * 1000:.0f} ms", "", "Lease: 10 s to renew")

    beating = asyncio.create_task(lag.run())
    try:
        async with controller(client, metrics) as program:
            turns = await had_a_turn(program, unfinished, {})
            report(f"start with {count} requests, {unfinished} unfinished")
            client.hold("cdnissuers", issuers(changed, 2))
            client.expire()
            turns = await had_a_turn(program, unfinished, turns)
            report(f"{changed} issuers changed on one page")
            program.request_controller.triggers.wake()
            await had_a_turn(program, unfinished, turns)
            report("every account recovered")
            await program.request_controller.triggers.resync()
            report("resync")
            metrics.render()
            await asyncio.sleep(0.1)
            report("scrape")
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await client.close()
