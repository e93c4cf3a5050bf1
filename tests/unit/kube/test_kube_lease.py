"""The lease: one leader at a time, whatever the clocks say, and one that fences itself."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from issuer.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    KubeError,
    LeaseLostError,
    NotFoundError,
    UnreachableError,
)
from issuer.kube.lease import LeaderElector
from issuer.kube.resource import LEASES, Resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.unit.kube.log_case import Lines


pytestmark = pytest.mark.looptime

START = datetime(2026, 1, 1, tzinfo=UTC)


def loop_time() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """One Lease, guarded by its resourceVersion; `fault` may raise or hang before (or after) a call takes effect."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.calls: list[tuple[float, str]] = []
        self.before: Callable[[str], Awaitable[None]] | None = None
        self.after: Callable[[str], Awaitable[None]] | None = None

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        assert (resource, namespace, name) == (LEASES, "ns", "leader")
        await self._note("get", self.before)
        if self.lease is None:
            raise NotFoundError(404, "NotFound", "no")
        answer = json.dumps(self.lease).encode()
        await self._note("", self.after, verb="get")
        return answer

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        await self._note("create", self.before)
        if self.lease is not None:
            raise AlreadyExistsError(409, "AlreadyExists", "no")
        return await self._store(json.loads(body), "create")

    async def replace(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        await self._note("replace", self.before)
        if self.lease is None:
            raise NotFoundError(404, "NotFound", "no")
        new = json.loads(body)
        if new["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "changed")
        return await self._store(new, "replace")

    async def _store(self, lease: dict[str, Any], verb: str) -> bytes:
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        self.lease = lease
        answer = json.dumps(lease).encode()
        await self._note("", self.after, verb=verb)
        return answer

    async def _note(self, call: str, fault: Callable[[str], Awaitable[None]] | None, *, verb: str = "") -> None:
        if call:
            self.calls.append((loop_time(), call))
        if fault is not None:
            await fault(call or verb)

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        spec: dict[str, Any] = self.lease["spec"]
        return spec

    def touch(self, **labels: str) -> None:
        """Somebody edits the metadata."""
        assert self.lease is not None
        self.version += 1
        self.lease["metadata"].update(resourceVersion=str(self.version), labels=labels)

    def hold(self, who: str, **spec: Any) -> None:
        self.version += 1
        self.lease = {
            "metadata": {"name": "leader", "namespace": "ns", "resourceVersion": str(self.version)},
            "spec": {"holderIdentity": who, "leaseDurationSeconds": 15, "leaseTransitions": 3, **spec},
        }


def elector(server: Server, identity: str = "me", *, skew: float = 0.0, **options: Any) -> LeaderElector:
    return LeaderElector(
        server,
        "ns",
        "leader",
        identity,
        **{
            "monotonic": loop_time,
            "now": lambda: START + timedelta(seconds=loop_time() + skew),
            "random": random.Random(1),
            **options,
        },
    )


class Work:
    """Something to do while leading; notes when it began and how it ended."""

    def __init__(self, seconds: float = 1e6, wind_down: float = 0.0) -> None:
        self.seconds = seconds
        self.wind_down = wind_down
        self.began: float | None = None
        self.ended: float | None = None

    def has_begun(self) -> bool:
        return self.began is not None

    def has_ended(self) -> bool:
        return self.ended is not None

    async def __call__(self) -> None:
        self.began = loop_time()
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(self.wind_down)
            raise
        finally:
            self.ended = loop_time()


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def hang(_: str) -> None:
    await asyncio.sleep(1e6)


def failing(error: Exception) -> Callable[[str], Awaitable[None]]:
    async def fault(_: str) -> None:
        raise error

    return fault


def failing_at(verb: str, error: Exception) -> Callable[[str], Awaitable[None]]:
    async def fault(call: str) -> None:
        if call == verb:
            raise error

    return fault


async def test_a_lease_that_is_not_there_is_made_and_renewed() -> None:
    server, work = Server(), Work()
    elect = elector(server)
    task = asyncio.create_task(elect.lead(work))
    await asyncio.sleep(1)
    assert elect.is_leading
    assert server.spec == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }
    assert server.lease is not None
    assert server.lease["kind"] == "Lease"
    await asyncio.sleep(59)
    assert elect.is_leading
    assert server.spec["acquireTime"] == "2026-01-01T00:00:00.000000Z"
    assert server.spec["renewTime"] > "2026-01-01T00:00:57"
    assert [call for _, call in server.calls[:4]] == ["get", "create", "replace", "replace"]
    await stop(task)


async def test_lead_returns_when_the_work_does_and_passes_its_error_on() -> None:
    server = Server()
    elect = elector(server)
    await elect.lead(Work(5))
    assert elect.is_leading

    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await elect.lead(broken)


async def test_a_held_lease_is_waited_for_until_its_holder_has_been_silent_for_its_duration() -> None:
    server, work = Server(), Work()
    server.hold("other", leaseDurationSeconds=20)
    elect = elector(server)
    task = asyncio.create_task(elect.lead(work))
    for second in range(10):
        await asyncio.sleep(1)
        server.hold("other", leaseDurationSeconds=20, renewTime=str(second))
    assert elect.holder == "other"
    await asyncio.sleep(17)
    assert not work.has_begun()
    await asyncio.sleep(8)
    assert work.began is not None
    assert work.began >= 30 - 2.4
    assert server.spec["leaseTransitions"] == 4
    assert elect.holder == "me"
    await stop(task)


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
async def test_a_clock_that_is_a_day_off_neither_steals_a_lease_nor_waits_a_day(skew: float) -> None:
    server = Server()
    holding, waiting = Work(), Work()
    first = asyncio.create_task(elector(server, "first").lead(holding))
    await asyncio.sleep(1)
    second = asyncio.create_task(elector(server, "second", skew=skew).lead(waiting))
    await asyncio.sleep(100)
    assert not waiting.has_begun()
    assert not holding.has_ended()
    await stop(first)
    await asyncio.sleep(20)
    assert waiting.began is not None
    await stop(second)


async def test_two_candidates_never_both_win() -> None:
    server = Server()

    async def slow(_: str) -> None:
        await asyncio.sleep(0.1)

    server.before = slow
    works = [Work() for _ in range(5)]
    electors = [elector(server, str(i)) for i in range(5)]
    tasks = [asyncio.create_task(elect.lead(work)) for elect, work in zip(electors, works, strict=True)]
    for _ in range(60):
        await asyncio.sleep(1)
        assert sum(elect.is_leading for elect in electors) <= 1
    assert sum(work.began is not None for work in works) == 1
    await asyncio.gather(*(stop(task) for task in tasks))


async def test_a_released_lease_is_taken_over_at_the_next_look() -> None:
    server = Server()
    elect, work = elector(server), Work()
    await elect.lead(Work(1))
    other = asyncio.create_task(elector(server, "other").lead(work))
    await asyncio.sleep(1)
    await elect.release()
    assert not elect.is_leading
    assert (server.spec["holderIdentity"], server.spec["leaseDurationSeconds"]) == ("", 1)
    released = loop_time()
    await asyncio.sleep(3)
    assert work.began is not None
    assert work.began - released <= 2.4
    assert server.spec["leaseTransitions"] == 1
    await stop(other)


async def test_releasing_what_is_not_held_or_not_reachable_raises_nothing() -> None:
    server = Server()
    elect = elector(server)
    await elect.release()
    assert server.calls == []
    await elect.lead(Work(1))
    server.before = hang
    await elect.release()
    assert loop_time() < 10
    assert server.spec["holderIdentity"] == "me"


async def test_a_lease_is_released_although_a_cancelled_renewal_has_arrived() -> None:
    server = Server()
    elect = elector(server)
    leading = asyncio.create_task(elect.lead(Work(100)))
    await asyncio.sleep(1)
    server.after = hang
    await asyncio.sleep(2)
    server.after = None
    await stop(leading)
    assert server.version > 1
    await elect.release()
    assert server.spec["holderIdentity"] == ""


async def test_a_lease_that_somebody_has_labelled_is_released_and_anothers_is_not() -> None:
    server = Server()
    elect = elector(server)
    await elect.lead(Work(1))
    server.touch(colour="blue")
    await elect.release()
    assert server.spec["holderIdentity"] == ""
    await elect.lead(Work(1))
    server.hold("other")
    await elect.release()
    assert server.spec["holderIdentity"] == "other"


async def test_a_lease_past_its_fence_is_not_released_for_it_may_be_anothers() -> None:
    server = Server()
    elect = elector(server)
    await elect.lead(Work(1))
    await asyncio.sleep(10)
    calls = len(server.calls)
    await elect.release()
    assert len(server.calls) == calls


@pytest.mark.parametrize("fault", [hang, failing(UnreachableError("x")), failing(ForbiddenError(403, "", "no"))])
async def test_a_leader_that_cannot_renew_stops_before_anybody_else_may_start(
    fault: Callable[[str], Awaitable[None]],
) -> None:
    server, work = Server(), Work()
    elect = elector(server)
    task = asyncio.create_task(elect.lead(work))
    await asyncio.sleep(5)
    last = server.calls[-1][0]
    server.before = fault
    with pytest.raises(LeaseLostError):
        await task
    assert work.ended == pytest.approx(last + 10, abs=0.1)
    assert not elect.is_leading
    with pytest.raises(LeaseLostError):
        elect.check()


async def test_the_fence_counts_from_the_start_of_the_renewal_not_from_its_answer() -> None:
    server = Server()
    elect = elector(server)

    async def slow(_: str) -> None:
        await asyncio.sleep(4)

    task = asyncio.create_task(elect.lead(Work()))
    await asyncio.sleep(1)
    server.after = slow
    await asyncio.sleep(5.5)  # the renewal of second 2 is answered at second 6
    server.before = hang
    await asyncio.sleep(5)
    elect.check()
    await asyncio.sleep(1)
    assert loop_time() == pytest.approx(12.5, abs=0.1)
    assert not elect.is_leading
    with pytest.raises(LeaseLostError):
        await task


async def test_one_failed_renewal_does_not_end_the_leadership() -> None:
    server, work = Server(), Work()
    elect = elector(server)
    task = asyncio.create_task(elect.lead(work))
    await asyncio.sleep(1)
    server.before = hang
    await asyncio.sleep(5)
    server.before = None
    await asyncio.sleep(60)
    assert elect.is_leading
    assert not work.has_ended()
    await stop(task)


async def test_a_process_that_was_stopped_knows_at_once_that_it_leads_no_more() -> None:
    server, work = Server(), Work()
    jump = 0.0
    elect = elector(server, monotonic=lambda: loop_time() + jump)
    task = asyncio.create_task(elect.lead(work))
    await asyncio.sleep(5)
    elect.check()
    jump = 60.0  # SIGSTOP, a minute, SIGCONT: no timer of the loop has fired yet
    with pytest.raises(LeaseLostError):
        elect.check()
    calls = len(server.calls)
    with pytest.raises(LeaseLostError):
        await task
    assert len(server.calls) == calls


async def test_a_lease_taken_by_another_ends_the_work_at_the_next_renewal() -> None:
    server, work = Server(), Work()
    elect = elector(server)
    task = asyncio.create_task(elect.lead(work))
    await asyncio.sleep(5)
    server.hold("other")
    with pytest.raises(LeaseLostError):
        await task
    assert work.ended is not None
    assert work.ended < 7
    assert server.spec["holderIdentity"] == "other"


async def test_an_edit_of_the_leases_metadata_does_not_cost_the_leadership() -> None:
    server, work = Server(), Work()
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(5)
    server.touch(team="a")
    await asyncio.sleep(30)
    assert not work.has_ended()
    assert server.lease is not None
    assert server.lease["metadata"]["labels"] == {"team": "a"}
    await stop(task)


async def test_a_lease_that_was_deleted_is_made_again() -> None:
    server, work = Server(), Work()
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(5)
    server.lease = None
    await asyncio.sleep(30)
    assert not work.has_ended()
    assert server.spec["holderIdentity"] == "me"
    await stop(task)


async def test_a_lease_that_is_deleted_is_not_taken_before_its_holder_has_ended() -> None:
    server, work = Server(), Work()
    server.hold("other", renewTime="a")
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(9)
    server.hold("other", renewTime="b")
    await asyncio.sleep(0.5)
    server.lease = None
    await asyncio.sleep(15)
    assert not work.has_begun()
    assert server.lease is None
    await asyncio.sleep(5)
    assert work.has_begun()
    await stop(task)


async def test_a_holder_that_was_not_heard_while_it_renewed_is_waited_for_when_its_lease_is_gone() -> None:
    server, work = Server(), Work()
    server.hold("other", renewTime="a")
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(1)
    server.before = failing(UnreachableError("reset"))
    await asyncio.sleep(60)
    server.before, server.lease = None, None
    await asyncio.sleep(14)
    assert not work.has_begun()
    await asyncio.sleep(6)
    assert work.has_begun()
    await stop(task)


async def test_a_lease_that_was_missed_for_a_moment_costs_a_dead_holder_no_more_time() -> None:
    server, work = Server(), Work()
    server.hold("dead")
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(10)
    kept, server.lease = server.lease, None
    await asyncio.sleep(3)
    server.lease = kept
    await asyncio.sleep(5)
    assert work.has_begun()
    await stop(task)


async def test_a_lease_that_was_released_and_deleted_is_made_at_once() -> None:
    server, work = Server(), Work()
    server.hold("other")
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(1)
    server.hold("")
    server.before = failing_at("replace", ConflictError(409, "Conflict", "changed"))
    await asyncio.sleep(3)
    server.lease = None
    await asyncio.sleep(3)
    assert work.has_begun()
    await stop(task)


async def test_a_renewal_whose_answer_was_lost_is_recognised_as_ones_own() -> None:
    server, work = Server(), Work()
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(1)
    server.after = failing(UnreachableError("reset"))
    await asyncio.sleep(2)
    server.after = None
    await asyncio.sleep(60)
    assert not work.has_ended()
    await stop(task)


async def test_a_namesake_is_treated_as_a_stranger() -> None:
    server, work = Server(), Work()
    server.hold("me")
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(14)
    assert not work.has_begun()
    await asyncio.sleep(4)
    assert work.began is not None
    await stop(task)


async def test_a_leader_that_is_stopped_renews_until_its_work_has_wound_down() -> None:
    server, work = Server(), Work(wind_down=40)
    elect = elector(server)
    task = asyncio.create_task(elect.lead(work))
    await asyncio.sleep(5)
    task.cancel()
    for _ in range(38):
        await asyncio.sleep(1)
        elect.check()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert work.ended == pytest.approx(45)
    elect.check()
    await elect.release()
    assert server.spec["holderIdentity"] == ""


async def test_work_that_winds_down_is_ended_when_the_lease_is_lost() -> None:
    server, work = Server(), Work(wind_down=1000)
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(5)
    task.cancel()
    server.before = hang
    await asyncio.wait((task,))
    assert work.ended == pytest.approx(14, abs=0.1)


async def test_work_that_cannot_be_cancelled_does_not_hide_the_loss(lines: Lines) -> None:
    server, work = Server(), Work(wind_down=100)
    task = asyncio.create_task(elector(server).lead(work))
    await asyncio.sleep(1)
    server.before = hang
    with pytest.raises(LeaseLostError):
        await task
    assert loop_time() == pytest.approx(15, abs=0.5)
    assert any("does not let itself be cancelled" in line["event"] for line in lines)
    await asyncio.sleep(100)


async def test_every_call_is_shorter_than_the_renew_deadline() -> None:
    server = Server()
    server.before = hang
    task = asyncio.create_task(elector(server).lead(Work()))
    await asyncio.sleep(20)
    await stop(task)
    times = [at for at, _ in server.calls]
    assert len(times) >= 3
    assert times[1] - times[0] <= 5 + 2.4


async def test_a_failure_that_stays_is_a_warning_once(lines: Lines) -> None:
    server = Server()
    server.before = failing(ForbiddenError(403, "Forbidden", "no right"))
    elect = elector(server)
    task = asyncio.create_task(elect.lead(Work()))
    await asyncio.sleep(100)
    assert "no right" in elect.forbidden
    server.before = None
    await asyncio.sleep(10)
    assert elect.forbidden == ""
    await stop(task)
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["the Lease cannot be had"]
    assert all("no right" in line["error"] for line in lines if line["event"] == "the Lease cannot be had")


async def test_the_periods_must_make_sense() -> None:
    for periods in ((15, 15, 2), (15, 10, 10), (15, 10, 0)):
        duration, deadline, retry = periods
        with pytest.raises(ValueError, match="retry_period"):
            elector(Server(), lease_duration=duration, renew_deadline=deadline, retry_period=retry)


def test_a_lost_lease_is_a_kube_error() -> None:
    assert issubclass(LeaseLostError, KubeError)
