"""What is the same for every controller: caches, the Lease, chores, a clean stop, health and counts.

A controller is registered once and says the rest of itself: which informers it needs, how it starts, runs and ends,
what it does every so often, what it counts, and which rights it wants. None of them knows another; what one has to tell
goes through `topics`.

    every replica      informers run, and events are written
    the one that leads synced ─▶ informers that must be true now are listed anew ─▶ start ─▶ run, chores
    a stop             no new calls to authorities ─▶ flush beside drain ─▶ events ─▶ the Lease is given up

Caches are kept warm on every replica; only the one that holds the Lease works. When the Lease is lost the program ends
rather than going on in some half state; Kubernetes starts it again. On a clean stop no new call goes to a CA, what was
sent is waited for and delivered, and the Lease is given up, so that the next replica takes over at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from issuer.kube.rbac import Rule, once
from issuer.observe.logs import get_logger
from issuer.observe.metrics import Snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from issuer.kube.events import EventRecorder
    from issuer.kube.informer import Informer
    from issuer.kube.lease import LeaderElector
    from issuer.observe.metrics import Measure

log = get_logger(__name__)

DRAIN_POLL: Final = 0.1
"""Seconds between two looks for what can be written while a stop waits for calls that are under way."""
EVENT_GRACE: Final = 3.0
"""Seconds that a stop waits for events to be written."""
EVENT_RULES: Final = (Rule(("events.k8s.io",), ("events",), ("create", "patch")),)


class StoppingError(Exception):
    """The program is about to end: no new call goes to an authority."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that the leader does every so often.

    Attributes:
        name: for the log.
        run: does it; what it raises is logged, and it is done again at the next time.
        every: seconds.
    """

    name: str
    run: Callable[[], Awaitable[object]]
    every: float


class Controller(Protocol):
    """One controller, as the manager sees it."""

    @property
    def name(self) -> str:
        """A plural, as its queue is called in the metrics."""
        ...

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """The caches that it reads. It has added its handlers and indices to them itself."""
        ...

    @property
    def fresh(self) -> Sequence[Informer[Any]]:
        """Of these, the ones that must not be minutes old at the moment when it takes over the work of another."""
        ...

    @property
    def chores(self) -> Sequence[Chore]:
        """What it does every so often."""
        ...

    @property
    def rules(self) -> Sequence[Rule]:
        """What it must be allowed to do, beside writing events."""
        ...

    @property
    def depth(self) -> int:
        """Keys that wait in its queue."""
        ...

    async def start(self) -> None:
        """Begin, with the caches as they are now. Called once, by the leader, before any controller runs."""
        ...

    async def run(self) -> None:
        """Reconcile until it is drained; when cancelled, end what is under way."""
        ...

    async def drain(self, grace: float) -> None:
        """Begin nothing new, and let what is under way end within its share of `grace` seconds, the time of a stop."""
        ...

    async def flush(self) -> bool:
        """Write what is decided and not written yet; whether anything is left. Called again and again at a stop."""
        ...

    def measures(self) -> Iterable[Measure]:
        """What it counts when Prometheus asks."""
        ...


class Manager:
    """Runs controllers. Make it inside a running event loop, `add` what there is, `run` it once.

    Args:
        elector: who works; None: this process does, whatever others do.
        events: written for all of them.
        grace: seconds that a stop may take.
    """

    def __init__(self, elector: LeaderElector | None, events: EventRecorder, *, grace: float) -> None:
        self.controllers: Final[list[Controller]] = []
        self._elector = elector
        self._events = events
        self._grace = grace
        self._stopping = False
        self._leading = False

    def add(self, *controllers: Controller) -> None:
        """Register controllers; they start in this order. Before `run`."""
        self.controllers.extend(controllers)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set.

        Raises:
            LeaseLostError: another replica may be leading now; nothing was written after that.
        """
        tasks = [asyncio.create_task(informer.run()) for informer in self.informers()]
        tasks.append(asyncio.create_task(self._events.run()))
        telling = asyncio.create_task(self._tell_when_filled())
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                delivering = asyncio.create_task(self._deliver())
                await asyncio.wait({work, delivering}, return_when=asyncio.FIRST_COMPLETED)
                tasks.append(delivering)
            for task in (work, *tasks):
                if task.done():
                    task.result()
        finally:
            await _cancel(work, stopped, telling, *tasks)
            if self._elector is not None:
                await self._elector.release()

    def informers(self) -> list[Informer[Any]]:
        """Those of all controllers, each once."""
        return list(dict.fromkeys(one for controller in self.controllers for one in controller.informers))

    def rules(self) -> list[Rule]:
        """What must be allowed for all controllers to work; the right to the Lease comes on top."""
        return once([*(rule for controller in self.controllers for rule in controller.rules), *EVENT_RULES])

    @property
    def is_leading(self) -> bool:
        """Whether this replica is the one that works."""
        return self._leading

    def trouble(self) -> str | None:
        """Why this replica is not healthy and should be restarted, or None (for /healthz)."""
        now = asyncio.get_running_loop().time()
        for informer in self.informers():
            if informer.is_stuck(now):
                silence = now - informer.last_attempt
                return f"the watch of {informer.resource} is stuck: no attempt has ended for {silence:.0f} s"
        return None

    def unready(self) -> str | None:
        """Why this replica cannot work yet, or None (for /readyz)."""
        for informer in self.informers():
            if informer.resource_missing:
                return f"the API server knows no {informer.resource}; install the CRDs of {informer.resource.group}"
            if not informer.synced.is_set():
                return f"the cache of {informer.resource} is not filled yet"
        if self._elector is not None and self._elector.forbidden:
            return f"the Lease cannot be had: {self._elector.forbidden}"
        return None

    def may_call(self) -> None:
        """Asked before each call to an authority.

        Raises:
            StoppingError: no new calls, the program is about to end.
            LeaseLostError: another replica may be working.
        """
        if self._stopping:
            raise StoppingError
        if self._elector is not None:
            self._elector.check()

    def may_write(self) -> None:
        """Asked before each write to the API server but those of the Lease; who does not lead writes nothing.

        It depends on the Lease alone. Where this process is in its life is no matter: while it stops it has no new work
        any more, and still writes.

        Raises:
            LeaseLostError: another replica may be working.
        """
        if self._elector is not None:
            self._elector.check()

    def snapshot(self) -> Snapshot:
        """What the metrics count at each scrape."""
        loop_time = asyncio.get_running_loop().time()
        silence: dict[str, float] = {}
        for informer in self.informers():
            if informer.last_contact > float("-inf"):
                name = str(informer.resource)
                silence[name] = max(silence.get(name, 0.0), loop_time - informer.last_contact)
        return Snapshot(
            measures=[measure for controller in self.controllers for measure in controller.measures()],
            queue_depth={controller.name: controller.depth for controller in self.controllers},
            leading=self._leading,
            watch_silence_seconds=silence,
        )

    async def _tell_when_filled(self) -> None:
        """Say how many objects there are, once, whether or not this replica leads."""
        counts: dict[str, int] = {}
        for informer in self.informers():
            await informer.synced.wait()
            name = str(informer.resource)
            counts[name] = counts.get(name, 0) + len(list(informer.items()))
        log.info("caches filled", objects=counts)

    async def _work(self) -> None:
        if self._elector is not None:
            await self._elector.lead(self._lead)
        else:
            await self._lead()

    async def _lead(self) -> None:
        """Reconcile until cancelled."""
        for informer in self.informers():
            await informer.synced.wait()
        if self._elector is not None:
            fresh = dict.fromkeys(informer for controller in self.controllers for informer in controller.fresh)
            await asyncio.gather(*(informer.refresh() for informer in fresh))
        for controller in self.controllers:
            await controller.start()
        self._leading = True
        chores = [asyncio.create_task(_repeat(chore)) for controller in self.controllers for chore in controller.chores]
        try:
            async with asyncio.TaskGroup() as group:
                for controller in self.controllers:
                    group.create_task(controller.run())
            # Drained by `_deliver`, which still writes: the Lease is kept until it is done.
            await asyncio.Event().wait()
        finally:
            self._leading = False
            await _cancel(*chores)

    async def _deliver(self) -> None:
        """Write what is signed, wait for the calls that are under way, and tell the events; all within the grace.

        What is signed is written first and beside the waiting, so that no call that hangs costs it its time.
        """
        log.info("stopping", grace=self._grace)
        self._stopping = True
        if not self._leading:
            return
        drains = {asyncio.create_task(controller.drain(self._grace)) for controller in self.controllers}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                while await self._flush() or drains:
                    await asyncio.sleep(DRAIN_POLL)
                    drains = {drain for drain in drains if not drain.done()}
        await _cancel(*drains)
        await self._events.drain(EVENT_GRACE)

    async def _flush(self) -> bool:
        return any(await asyncio.gather(*(controller.flush() for controller in self.controllers)))


async def _repeat(chore: Chore) -> None:
    """Do a chore every so many seconds; a defect in it is told and must not end the work."""
    while True:
        await asyncio.sleep(chore.every)
        try:
            await chore.run()
        except Exception:
            log.exception("a chore failed", chore=chore.name, retry_in=chore.every)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
