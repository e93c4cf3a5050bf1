"""`python -m bench.incident`: the incident with real cert-manager, once for each kind of issuer, and a plot of it.

Five Certificates are due while their provider hangs, each with an issuer and a provider of its own, all at the same
time. What is seen goes to docs/incident.json, and from there to docs/incident.svg. It needs the control plane of the
tests (`make control-plane`) and takes about two minutes. With `--draw` only the plot is made anew.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any, Final

import msgspec
import uvloop

from bench.timeline import Measured, Row, Span, draw
from tests.component.rig import POST
from tests.controlplane import build
from tests.controlplane.fixtures import install
from tests.controlplane.plane import MERGE, ROOT, ControlPlane
from tests.e2e.certmanager import CertManager
from tests.e2e.controller import Controller
from tests.e2e.naive import REF, Naive
from tests.e2e.outage import DUE, add_issuer, attempts, outage, serial_of
from tests.e2e.webhook import Webhook
from tests.e2e.world import Cluster, World

if TYPE_CHECKING:
    from tests.controlplane.plane import Manifest

OUTAGE: Final = 20.0
BACKOFF: Final = 30.0
WATCHED: Final = 75.0
"""Seconds from the start of the outage to the end of the measurement."""
LOOK: Final = 0.1
NOT_YET_DUE: Final = 8.0
"""Seconds after a signature in which `DUE` is not due; older ones are due as soon as they are told to be."""
FAR: Final = "1h"
"""A renewBefore that is not due within the measurement."""
NONE: Final = {"renewAfterOutage": False}
"""Recovery is measured by `bench.recovery`; here cert-manager's backoff is."""
JSON: Final = ROOT / "docs" / "incident.json"
SVG: Final = ROOT / "docs" / "incident.svg"


class Case:
    """One Certificate with its issuer, and what was seen of it.

    Args:
        cluster: where it all runs.
        title: for the plot.
        remark: the same, in small.
        failure_time: of a naive issuer, whether it writes one; None for an issuer of ours.
        spec: of an issuer of ours.
    """

    def __init__(
        self, cluster: Cluster, title: str, remark: str, *, failure_time: bool | None = None, **spec: Any
    ) -> None:
        self.world = World(cluster)
        self.row = Row(title=title, remark=remark)
        self._failure_time = failure_time
        self._spec = spec
        self._uids: set[str] = set()
        self._calls = self._failed = self._serial = 0

    async def start(self, stack: AsyncExitStack) -> None:
        """Have the first certificate issued; its renewal is not due yet."""
        await self.world.start()
        stack.push_async_callback(self.world.stop)
        if self._failure_time is None:
            await add_issuer(self.world, **self._spec)
            self.world.certificate(**{**DUE, "renewBefore": FAR})
        else:
            await stack.enter_async_context(Naive(self.world, failure_time=self._failure_time))
            key: Manifest = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"}
            self.world.certificate(key=key, **{**DUE, "renewBefore": FAR, "issuerRef": REF})
        self._serial = serial_of(await self.world.ready())
        self._calls = self.world.cdn.calls[POST]

    def renew_before(self, span: str) -> None:
        """Make the renewal due, or no longer."""
        path = self.world.path("certificates", "site")
        self.world.plane.ask("PATCH", path, {"spec": {"renewBefore": span}}, content_type=MERGE)

    def look(self, now: float) -> None:
        """Note what is new, at so many seconds after the start of the outage."""
        calls = self.world.cdn.calls[POST]
        self.row.calls += [now] * (calls - self._calls)
        failed = attempts(self.world)
        if failed > self._failed:
            self.row.failures.append(now)
        self._calls, self._failed = calls, failed
        request = self.world.get("certificaterequests", "site-2")
        if request is not None:
            self._uids.add(request["metadata"]["uid"])
            self.row.requests = len(self._uids)
            self._note(self.world.condition("certificaterequests", "site-2", "Ready")[1] or "Asked", now)
        elif self.row.states:
            self.row.states[-1].end = now
        if self.row.renewed is None and serial_of(self.world.secret("site-tls")) != self._serial:
            self.row.renewed = now
            self.renew_before(FAR)

    def _note(self, state: str, now: float) -> None:
        last = self.row.states[-1] if self.row.states else None
        if last is not None:
            last.end = now
        if last is None or last.state != state:
            self.row.states.append(Span(state=state, start=now, end=now))


def cases(cluster: Cluster) -> list[Case]:
    """Who goes through it."""
    return [
        Case(cluster, "Naive issuer", "no failureTime, key re-used", failure_time=False),
        Case(cluster, "Naive issuer", "with failureTime", failure_time=True),
        Case(cluster, "cdn-issuer, short deadline", "one authority, 8 s", deadline="8s", recovery=NONE),
        Case(cluster, "cdn-issuer, one authority", "deadline after the outage", deadline="10m"),
        Case(cluster, "cdn-issuer, two authorities", "the second is a CA in process", backup=True),
    ]


async def measure(cluster: Cluster) -> Measured:
    """Play it."""
    async with AsyncExitStack() as stack:
        played = cases(cluster)
        for case in played:
            await case.start(stack)
        await asyncio.sleep(NOT_YET_DUE)
        with ExitStack() as down:
            for case in played:
                down.enter_context(outage(case.world))
            began = time.monotonic()
            for case in played:
                case.renew_before(str(DUE["renewBefore"]))
            await watch(played, began, OUTAGE)
        await watch(played, began, WATCHED)
        return Measured(outage=OUTAGE, backoff=BACKOFF, watched=WATCHED, rows=[case.row for case in played])


async def watch(played: list[Case], began: float, until: float) -> None:
    """Look at all of them, again and again."""
    while (now := time.monotonic() - began) < until:
        for case in played:
            case.look(round(now, 2))
        await asyncio.sleep(LOOK)


def play() -> Measured:
    """Start everything, and measure."""
    binaries = build.find()
    if binaries is None:
        sys.exit("the control plane is not built: run `make control-plane`")
    with ControlPlane(binaries) as plane, ExitStack() as stack:
        install(plane)
        webhook, controller = Webhook(plane), Controller(plane)
        certmanager = CertManager(plane, backoff=(BACKOFF, BACKOFF))
        for server in (webhook, certmanager, controller):
            stack.callback(server.stop)
            server.start()
        cluster = Cluster(plane=plane, webhook=webhook, certmanager=certmanager, controller=controller)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(measure(cluster))


def main() -> None:
    """Measure unless told not to, and draw."""
    parser = argparse.ArgumentParser(prog="python -m bench.incident", description=__doc__)
    parser.add_argument("--draw", action="store_true", help="only draw what was measured before")
    if not parser.parse_args().draw:
        JSON.write_bytes(msgspec.json.format(msgspec.json.encode(play())) + b"\n")
    measured = msgspec.json.decode(JSON.read_bytes(), type=Measured)
    SVG.write_text(draw(measured))
    for row in measured.rows:
        when = "not renewed" if row.renewed is None else f"renewed after {row.renewed:.1f} s"
        print(f"{row.title}, {row.remark}: {when}, {len(row.calls)} calls, {row.requests} requests")


if __name__ == "__main__":
    main()
