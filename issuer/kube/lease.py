"""One leader at a time, by a coordination.k8s.io/v1 Lease, and one that knows when it leads no more.

Two clocks must never be compared: a host whose clock is five minutes off would take a lease away from a healthy
leader, or never get one. So the holder's times are only ever compared for *being different*: each candidate measures,
on its own monotonic clock, for how long the record has not changed, and takes over when that is longer than the
duration the holder asked for. A Lease that is deleted says nothing about its holder, who may be cut off and at work: it
is waited for just as long, counted from when the Lease was first missed.

The leader fences itself. What it knows for certain is when it *sent* its last successful renewal; nobody else can
count from earlier than that. `renew_deadline` seconds after it (and before `lease_duration` has run out) `is_leading`
is False, `check` raises, and the work is cancelled, whether the event loop ran in between or the process was stopped.

Every write carries the resourceVersion of what was read, so two candidates cannot both win.
"""

from __future__ import annotations

import asyncio
import math
import random as random_module
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from issuer.api.meta import format_micro_time
from issuer.kube.client import decode
from issuer.kube.errors import ConflictError, ForbiddenError, KubeError, LeaseLostError, NotFoundError, UnreachableError
from issuer.kube.resource import LEASES, Resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)


class Leases(Protocol):
    """The part of `KubeClient` that is needed here."""

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        """Read one object."""
        ...

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """Make an object."""
        ...

    async def replace(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        """Write a whole object."""
        ...


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who holds the lease, and since when."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int = 0


class _Lease(msgspec.Struct, rename="camel"):
    """A Lease whose metadata goes back as it came, labels and resourceVersion included."""

    metadata: msgspec.Raw
    spec: LeaseSpec = LeaseSpec()
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


class _NewMeta(msgspec.Struct):
    name: str
    namespace: str


_DECODER: Final = msgspec.json.Decoder(_Lease)


class LeaderElector:
    """Gets a lease, keeps it while some work runs, and ends the work when it is lost.

    Args:
        client: a `KubeClient`; its `guard` may be this elector's `check`, which lets Lease calls through.
        namespace: of the Lease.
        name: of the Lease.
        identity: names this process. A process that is started anew must have a new one, or it waits for the lease of
            the one before to run out.
        lease_duration: seconds that others wait, after the last change they saw, before they take over.
        renew_deadline: seconds after the last successful renewal at which this process counts itself out.
        retry_period: seconds between two renewals, and between two looks at somebody else's lease.
        monotonic: a clock that never jumps and does not stop while the process is stopped.
        now: the wall clock, for people who read the Lease.
        random: for the jitter between two looks.
    """

    def __init__(
        self,
        client: Leases,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: random_module.Random | None = None,
    ) -> None:
        if not 0 < retry_period < renew_deadline < lease_duration:
            raise ValueError("retry_period must be less than renew_deadline, and that less than lease_duration")
        self.identity: Final = identity
        self._client = client
        self._namespace = namespace
        self._name = name
        self._lease_duration = lease_duration
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._monotonic = monotonic
        self._now = now
        self._random = random or random_module.Random()
        self._held: _Lease | None = None
        self._renewed = float("-inf")
        self._complaint = ""
        self._forbidden = ""
        self._attempts: deque[LeaseSpec] = deque(maxlen=16)
        self._observed: tuple[LeaseSpec, float] | None = None
        self._missed: float | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this process may act as the leader at this moment."""
        return self._held is not None and self._monotonic() < self._fence

    @property
    def holder(self) -> str:
        """Who holds the lease, as last heard of; empty if nobody is known to."""
        if self._held is not None:
            return self.identity
        return (self._observed[0].holder_identity or "") if self._observed else ""

    @property
    def forbidden(self) -> str:
        """Why this process may not even try to lead: a right is missing. Empty if none is."""
        return self._forbidden

    def check(self) -> None:
        """Ask before each write.

        Raises:
            LeaseLostError: this process does not lead, or has not renewed for `renew_deadline` seconds.
        """
        if not self.is_leading:
            raise LeaseLostError(f"the lease {self._namespace}/{self._name} is not held by {self.identity}")

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then run `work` while it is held. Returns when the work does.

        When cancelled, the work is cancelled and the lease is renewed until it has ended, so that it can finish what
        it must. The lease is kept; give it up with `release`.

        Raises:
            LeaseLostError: the lease was lost and the work was cancelled.
        """
        await self._acquire()
        log.info("leading", **self._where, identity=self.identity)
        working = asyncio.ensure_future(work())
        renewing = asyncio.create_task(self._keep())
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await self._end(working, renewing)
        except asyncio.CancelledError:
            working.cancel()
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            await self._end(working, renewing)
            working.add_done_callback(_log_failure)
            raise
        finally:
            renewing.cancel()
            await asyncio.wait((renewing,))
            lost = None if renewing.cancelled() else renewing.exception()
        if lost is not None:
            working.add_done_callback(_log_failure)
            raise lost
        await working

    async def release(self) -> None:
        """Give the lease up, so that another process takes over at once. Never raises for a failed call."""
        held, self._held = self._held, None
        if held is None or self._monotonic() >= self._fence:
            return
        spec = msgspec.structs.replace(
            held.spec, holder_identity="", lease_duration_seconds=1, renew_time=format_micro_time(self._now())
        )
        try:
            await self._put_back(held, spec)
        except KubeError as error:
            log.warning("the Lease could not be released", **self._where, error=str(error))
        else:
            log.info("released the Lease", **self._where)

    async def _put_back(self, held: _Lease, spec: LeaseSpec) -> None:
        """Write the spec that gives it up, over whatever of ours is there.

        A renewal that was under way when it was cancelled may have arrived: then it is ours in a version that we do not
        know.
        """
        try:
            await self._put(held, spec, self._fence - self._monotonic())
        except ConflictError:
            answer = await self._timed(self._client.get(LEASES, self._namespace, self._name))
            found = decode(answer, _DECODER)
            if found.spec != held.spec and not self._is_mine(found.spec):
                raise
            await self._put(found, spec, self._fence - self._monotonic())

    @property
    def _fence(self) -> float:
        return self._renewed + self._renew_deadline

    async def _acquire(self) -> None:
        while True:
            if await self._try():
                return
            await asyncio.sleep(self._retry_period * (1 + 0.2 * self._random.random()))

    async def _end(self, working: asyncio.Future[None], renewing: asyncio.Task[None]) -> None:
        """If the lease is lost, see the work end before the lease's duration does: then another may lead."""
        if renewing.done() and not working.done():
            working.cancel()
            _, pending = await asyncio.wait((working,), timeout=self._lease_duration - self._renew_deadline)
            if pending:
                log.error("the work goes on although the lease is lost: it does not let itself be cancelled")

    @property
    def _where(self) -> dict[str, str]:
        """Which Lease, for the log."""
        return {"lease_namespace": self._namespace, "lease": self._name}

    async def _keep(self) -> None:
        """Renew until it fails for too long."""
        while True:
            await asyncio.sleep(min(self._retry_period, max(0.0, self._fence - self._monotonic())))
            held = self._held
            if held is None or self._monotonic() >= self._fence:
                break
            if not await self._try() and self._held is None:
                break
        self._held = None
        raise LeaseLostError(f"the lease {self._namespace}/{self._name} was lost by {self.identity}")

    async def _try(self) -> bool:
        """One try to get or to keep the lease; whether it worked. `_held` is None afterwards if another has it."""
        try:
            if self._held is not None:
                try:
                    return await self._take(self._held, renewal=True)
                except (ConflictError, NotFoundError):
                    pass  # somebody has written to it or deleted it, for whatever reason: look
            is_ours = await self._look_and_take()
        except KubeError as error:
            # Every two seconds, perhaps for hours: as a warning only when it is news.
            report = log.debug if str(error) == self._complaint else log.warning
            self._complaint = str(error)
            self._forbidden = str(error) if isinstance(error, ForbiddenError) else ""
            report("the Lease cannot be had", **self._where, error=str(error))
            return False
        self._forbidden = ""
        return is_ours

    async def _look_and_take(self) -> bool:
        try:
            answer = await self._timed(self._client.get(LEASES, self._namespace, self._name))
        except NotFoundError:
            return await self._create()
        self._missed = None
        found = decode(answer, _DECODER)
        spec = found.spec
        if not spec.holder_identity:
            self._observed = None
            return await self._take(found)
        if self._is_mine(spec):
            return await self._take(found, renewal=True)
        self._held = None
        if self._observed is None or self._observed[0] != spec:
            self._observed = (spec, self._monotonic())
        if self._monotonic() - self._observed[1] < self._duration(spec):
            return False
        log.info("the Lease has run out", **self._where, holder=spec.holder_identity)
        return await self._take(found)

    async def _create(self) -> bool:
        """Make the Lease; who has seen another hold it waits until that one has ended for certain."""
        if self._held is None and self._observed is not None:
            spec, now = self._observed[0], self._monotonic()
            if self._missed is None:
                self._missed = now
                log.warning("the Lease is gone", **self._where, holder=spec.holder_identity)
            if now - self._missed < self._duration(spec):
                return False
        meta = msgspec.Raw(msgspec.json.encode(_NewMeta(self._name, self._namespace)))
        return await self._take(_Lease(meta), create=True)

    def _duration(self, spec: LeaseSpec) -> float:
        """Seconds that a silent holder must be waited for."""
        return float(spec.lease_duration_seconds or self._lease_duration)

    def _is_mine(self, spec: LeaseSpec) -> bool:
        """Whether this very object wrote it: two processes may have the same identity by mistake.

        What it tried to write counts too, for the answer to a write may have been lost.
        """
        return spec in self._attempts or (self._held is not None and spec == self._held.spec)

    async def _take(self, lease: _Lease, *, renewal: bool = False, create: bool = False) -> bool:
        now = format_micro_time(self._now())
        spec = LeaseSpec(
            holder_identity=self.identity,
            lease_duration_seconds=math.ceil(self._lease_duration),
            acquire_time=(lease.spec.acquire_time if renewal else None) or now,
            renew_time=now,
            lease_transitions=lease.spec.lease_transitions + (0 if renewal or create else 1),
        )
        started = self._monotonic()
        self._held = await self._put(lease, spec, create=create)
        self._renewed = started
        self._attempts.clear()
        self._observed, self._missed, self._complaint = None, None, ""
        return True

    async def _put(
        self, lease: _Lease, spec: LeaseSpec, limit: float = float("inf"), *, create: bool = False
    ) -> _Lease:
        self._attempts.append(spec)
        body = msgspec.json.encode(_Lease(lease.metadata, spec))
        call = (
            self._client.create(LEASES, self._namespace, body)
            if create
            else self._client.replace(LEASES, self._namespace, self._name, body)
        )
        return decode(await self._timed(call, limit), _DECODER)

    async def _timed(self, call: Awaitable[bytes], limit: float = float("inf")) -> bytes:
        """A call with a timeout that leaves room for a second one before the fence."""
        seconds = min(self._renew_deadline / 2, limit)
        if self._held is not None:
            seconds = min(seconds, max(0.0, self._fence - self._monotonic()))
        try:
            async with asyncio.timeout(seconds):
                return await call
        except TimeoutError:
            raise UnreachableError(f"no answer within {seconds:.1f} s") from None


def _log_failure(working: asyncio.Future[None]) -> None:
    """The lease's end is what is raised; what the work made of being cancelled is only told."""
    if not working.cancelled() and (error := working.exception()) is not None:
        log.error("the work failed while it was being ended", exc_info=error)
