"""Events: written beside the work, counted up instead of repeated, dropped rather than waited for."""

from __future__ import annotations

import asyncio
import json

import pytest

from issuer.kube.errors import (
    AlreadyExistsError,
    ForbiddenError,
    InvalidError,
    LeaseLostError,
    NotFoundError,
    ThrottledError,
    UnreachableError,
)
from issuer.kube.events import MAX_WAITING
from tests.unit.kube.events_case import Server, about, loop_time, recorder_of, running

pytestmark = pytest.mark.looptime


CREATE = "create events.events.k8s.io"
PATCH = "patch events.events.k8s.io"


async def test_an_event_is_written_with_all_that_the_api_demands() -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Warning", "Failed", "it failed")
        await asyncio.sleep(1)
    ((_, call, namespace, body),) = server.calls
    assert (call, namespace) == (CREATE, "ns")
    assert body["metadata"].pop("name").startswith("a.")
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "ns"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "cdn-issuer",
        "reportingInstance": "pod-1",
        "action": "Failed",
        "reason": "Failed",
        "type": "Warning",
        "note": "it failed",
        "regarding": {"apiVersion": "example.org/v1", "kind": "Thing", "name": "a", "namespace": "ns", "uid": "uid-a"},
    }
    assert (recorder.written, recorder.dropped) == (1, 0)


async def test_an_event_of_a_cluster_scoped_object_lives_in_default() -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(namespace=""), "Normal", "Ready", "x")
        await asyncio.sleep(1)
    assert server.calls[0][2] == "default"


async def test_what_happens_again_is_counted_and_written_every_half_minute_at_most() -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        for attempt in range(50):
            recorder.emit(about(), "Warning", "Retry", f"attempt {attempt} failed after {attempt}ms")
            await asyncio.sleep(1)
        await asyncio.sleep(60)
    assert server.made() == [(0, CREATE), (30, PATCH), (60, PATCH)]
    assert server.body(1)["series"]["count"] in (30, 31)
    assert server.body(2) == {"series": {"count": 50, "lastObservedTime": "2026-01-01T00:00:49.000000Z"}}
    assert server.calls[1][2] == f"ns/{server.body(0)['metadata']['name']}"


async def test_different_objects_reasons_and_messages_are_different_events() -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about("a"), "Normal", "R", "x")
        recorder.emit(about("b"), "Normal", "R", "x")
        recorder.emit(about("a", uid="another"), "Normal", "R", "x")
        recorder.emit(about("a"), "Normal", "S", "x")
        recorder.emit(about("a"), "Normal", "R", "y")
        await asyncio.sleep(1)
    assert [call for _, call in server.made()] == [CREATE] * 5


async def test_a_thing_that_happens_again_much_later_is_a_new_event() -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(700)
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(1)
    assert [call for _, call in server.made()] == [CREATE, CREATE]
    assert server.body(0)["metadata"]["name"] != server.body(1)["metadata"]["name"]


@pytest.mark.parametrize("error", [NotFoundError(404, "", "no such path"), ForbiddenError(403, "Forbidden", "no")])
async def test_core_events_are_used_from_then_on_where_the_newer_api_is_missing_or_forbidden(error: Exception) -> None:
    server = Server()
    server.fault = lambda _, resource: error if resource == "events.events.k8s.io" else None
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(1)
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(40)
        recorder.emit(about("b"), "Normal", "R", "x")
        await asyncio.sleep(1)
    assert [call for _, call in server.made()] == [CREATE, "create events", "patch events", "create events"]
    body = server.body(1)
    assert (body["apiVersion"], body["count"], body["message"]) == ("v1", 1, "x")
    assert body["involvedObject"]["uid"] == "uid-a"
    assert body["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert server.body(2) == {"count": 2, "lastTimestamp": "2026-01-01T00:00:01Z", "message": "x"}
    assert recorder.written == 3


async def test_a_namespace_that_is_gone_does_not_change_the_api() -> None:
    server = Server()
    server.fault = lambda *_: NotFoundError(404, "NotFound", "namespaces ns not found")
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(1)
        server.fault = lambda *_: None
        recorder.emit(about("b"), "Normal", "R", "x")
        await asyncio.sleep(1)
    assert server.made()[-1][1] == CREATE
    assert (recorder.written, recorder.dropped) == (1, 1)


async def test_an_event_that_has_expired_begins_anew() -> None:
    server = Server()
    server.fault = lambda verb, _: NotFoundError(404, "NotFound", "gone") if verb == "patch" else None
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(1)
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(40)
    assert [call for _, call in server.made()] == [CREATE, PATCH, CREATE]
    assert server.body(0)["metadata"]["name"] != server.body(2)["metadata"]["name"]
    assert server.body(2)["series"]["count"] == 2


async def test_a_write_that_fails_is_tried_three_times_and_then_dropped() -> None:
    server = Server()
    server.fault = lambda *_: UnreachableError("timeout")
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(100)
    assert server.made() == [(0, CREATE), (2, CREATE), (6, CREATE)]
    assert len({json.dumps(body["metadata"]) for *_, body in server.calls}) == 1
    assert recorder.dropped == 1


async def test_an_event_whose_first_answer_was_lost_counts_as_written() -> None:
    server = Server()
    errors = [UnreachableError("reset"), AlreadyExistsError(409, "AlreadyExists", "there")]
    server.fault = lambda *_: errors.pop(0) if errors else None
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(100)
    assert (len(server.calls), recorder.written, recorder.dropped) == (2, 1, 0)


async def test_retry_after_is_waited_for() -> None:
    server = Server()
    errors = [ThrottledError(429, "", "slow", retry_after=20.0)]
    server.fault = lambda *_: errors.pop() if errors else None
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(100)
    assert server.made() == [(0, CREATE), (20, CREATE)]


@pytest.mark.parametrize("error", [InvalidError(422, "Invalid", "no"), LeaseLostError("lost")])
async def test_a_refused_event_is_dropped_at_once_and_the_next_is_written(error: Exception) -> None:
    server = Server()
    errors = [error]
    server.fault = lambda *_: errors.pop() if errors else None
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        recorder.emit(about("b"), "Normal", "R", "x")
        await asyncio.sleep(1)
    assert (recorder.written, recorder.dropped) == (1, 1)


async def test_too_many_waiting_events_are_dropped_and_counted_without_an_error() -> None:
    server = Server()
    server.takes = 1e6
    recorder = recorder_of(server)
    for i in range(MAX_WAITING + 50):
        recorder.emit(about(str(i)), "Normal", "R", "x")
    assert recorder.dropped == 50


async def test_an_object_with_too_much_to_say_is_silenced_and_the_others_are_not() -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        for word in "abcdefghijklmnopqrstuvwxyz":
            recorder.emit(about("noisy"), "Warning", "R", word)
        recorder.emit(about("quiet"), "Normal", "R", "x")
        await asyncio.sleep(1)
        assert (recorder.written, recorder.dropped) == (11, 16)
        await asyncio.sleep(60)
        recorder.emit(about("noisy"), "Warning", "R", "again")
        await asyncio.sleep(1)
        assert recorder.written == 12


@pytest.mark.parametrize(
    ("message", "length"),
    [("m" * 1024, 1024), ("m" * 5000, 1024), ("ü" * 512, 1024), ("ü" * 513, 1023), ("a" + "🔑" * 300, 1024)],
)
async def test_a_long_message_is_cut_to_the_bytes_that_the_api_server_takes(message: str, length: int) -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", message)
        await asyncio.sleep(1)
    note = server.body(0)["note"]
    assert len(note.encode()) == length
    assert note == message or (note.endswith("…") and message.startswith(note[:-1]))


async def test_a_long_name_is_cut() -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about("n" * 253), "Normal", "R", "it happened")
        await asyncio.sleep(1)
    assert len(server.body(0)["metadata"]["name"]) <= 253


async def test_drain_writes_what_waits_counts_included() -> None:
    server = Server()
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(1)
        recorder.emit(about(), "Normal", "R", "x")
        recorder.emit(about("b"), "Normal", "R", "x")
    await recorder.drain(5)
    # A write that the end of `run` has cut short is made again, and finds its Event there.
    assert sorted({(call, *where.split("/")[1:], body.get("note", "")) for _, call, where, body in server.calls}) == [
        (CREATE, "x"),
        (PATCH, server.body(0)["metadata"]["name"], ""),
    ]
    assert recorder.dropped == 0


async def test_what_drain_writes_is_not_missed_by_run() -> None:
    server = Server()
    server.takes = 1.0
    recorder = recorder_of(server)
    for name in "ab":
        recorder.emit(about(name), "Warning", "Failed", "it failed")
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0.5)
    await recorder.drain(5)
    await asyncio.sleep(1)
    assert not task.done()
    assert len(server.calls) == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_drain_gives_up_after_its_grace() -> None:
    server = Server()
    server.takes = 1e6
    recorder = recorder_of(server)
    for name in "abc":
        recorder.emit(about(name), "Normal", "R", "x")
    await recorder.drain(5)
    assert loop_time() == pytest.approx(5)
    assert recorder.dropped == 3


async def test_a_write_that_is_cut_short_by_the_end_of_run_is_left_for_drain() -> None:
    server = Server()
    server.takes = 2
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(1)
    await recorder.drain(5)
    assert (recorder.written, recorder.dropped) == (1, 0)
