"""Kubernetes: who leads, what a write is asked before it goes out, and what counts as gone."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_LEASE: Final = "issuer/kube/lease.py"
_CLIENT: Final = "issuer/kube/client.py"
_WIRE: Final = "issuer/kube/wire.py"
_INFORMER: Final = "issuer/kube/informer.py"
_REFLECTOR: Final = "issuer/kube/reflector.py"
_QUEUE: Final = "issuer/kube/queue.py"

_LEASE_TESTS: Final = ("unit/kube/test_kube_lease.py",)
_CLIENT_TESTS: Final = ("unit/kube/test_kube_client.py",)
_INFORMER_TESTS: Final = ("unit/kube/test_kube_informer.py",)
_QUEUE_TESTS: Final = ("unit/kube/test_kube_queue.py",)

MUTATIONS: Final = (
    Mutation(
        "a leader that has not renewed goes on",
        _LEASE,
        old="return self._held is not None and self._monotonic() < self._fence",
        new="return self._held is not None",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "the fence counts from the answer of a renewal",
        _LEASE,
        old="        self._renewed = started\n",
        new="        self._renewed = self._monotonic()\n",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "whoever does not lead may write",
        _LEASE,
        old="        if not self.is_leading:\n            raise LeaseLostError(",
        new="        if False:\n            raise LeaseLostError(",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "a held lease is taken before its holder was silent for its duration",
        _LEASE,
        old="        if self._monotonic() - self._observed[1] < self._duration(spec):\n            return False\n",
        new="",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "a deleted lease is made anew before its holder has ended",
        _LEASE,
        old="            if now - self._missed < self._duration(spec):\n                return False\n",
        new="",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "a lease past its fence is released although it may be another's",
        _LEASE,
        old="        if held is None or self._monotonic() >= self._fence:\n            return\n        spec =",
        new="        if held is None:\n            return\n        spec =",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "another's lease is released",
        _LEASE,
        old="            if found.spec != held.spec and not self._is_mine(found.spec):\n                raise\n",
        new="",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "a released lease is still held",
        _LEASE,
        old='held.spec, holder_identity="", lease_duration_seconds=1,',
        new="held.spec, lease_duration_seconds=15,",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "a process of the same name is taken for this one",
        _LEASE,
        old="return spec in self._attempts or (self._held is not None and spec == self._held.spec)",
        new="return spec.holder_identity == self.identity",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "a renewal whose answer was lost is taken for a stranger's",
        _LEASE,
        old="return spec in self._attempts or (self._held is not None and spec == self._held.spec)",
        new="return self._held is not None and spec == self._held.spec",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "work goes on after the lease is lost",
        _LEASE,
        old="        if renewing.done() and not working.done():\n            working.cancel()\n",
        new="        if renewing.done() and not working.done():\n",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "one renewal takes all of the time before the fence",
        _LEASE,
        old="seconds = min(self._renew_deadline / 2, limit)",
        new="seconds = min(self._lease_duration, limit)",
        tests=_LEASE_TESTS,
    ),
    Mutation(
        "a write is sent by a process that has lost its lease while it connected",
        _WIRE,
        old="            if context.trace_request_ctx:\n",
        new="            if False:\n",
        tests=_CLIENT_TESTS,
    ),
    Mutation(
        "a lease call is stopped by the guard that it is there for",
        _CLIENT,
        old='fenced = method != "GET" and resource != LEASES',
        new='fenced = method != "GET"',
        tests=_CLIENT_TESTS,
    ),
    Mutation(
        "a lease call queues behind calls that hang",
        _CLIENT,
        old="        if resource == LEASES:\n            return await self._observed(",
        new="        if False:\n            return await self._observed(",
        tests=_CLIENT_TESTS,
    ),
    Mutation(
        "writes that hang hold up reads",
        _CLIENT,
        old='        async with self._places[resource, method == "GET"]:\n',
        new="        async with self._places[resource, True]:\n",
        tests=_CLIENT_TESTS,
    ),
    Mutation(
        "an empty name makes a call for one object one for all",
        _CLIENT,
        old="    if not name:\n        raise InvalidError(",
        new="    if False:\n        raise InvalidError(",
        tests=_CLIENT_TESTS,
    ),
    Mutation(
        "a watch that is silent for ever is waited for",
        _WIRE,
        old="        async with asyncio.timeout(inactivity):\n",
        new="        if True:\n",
        tests=("unit/kube/test_kube_client.py::test_a_half_open_connection_ends_by_inactivity",),
    ),
    Mutation(
        "a namesake is taken for the object that had its name",
        _INFORMER,
        old="if old is not None and old.metadata.uid != new.metadata.uid:",
        new="if False and old is not None:",
        tests=_INFORMER_TESTS,
    ),
    Mutation(
        "the late word of a namesake's end deletes the object that has its name now",
        _INFORMER,
        old='if old is not None and metadata.uid in ("", old.metadata.uid):',
        new="if old is not None:",
        tests=_INFORMER_TESTS,
    ),
    Mutation(
        "an object that cannot be read is gone",
        _INFORMER,
        old="                self._seen.add(item.metadata.key)\n                self._misread(item)\n",
        new="                self._misread(item)\n",
        tests=("unit/kube/test_kube_unreadable.py",),
    ),
    Mutation(
        "a handler that fails ends the watch",
        _INFORMER,
        old="            except Exception:\n                # One object",
        new="            except TimeoutError:\n                # One object",
        tests=_INFORMER_TESTS,
    ),
    Mutation(
        "a list that breaks off between two pages deletes what it has not shown",
        _REFLECTOR,
        old="            self._touch()\n            if not meta.continue_:\n",
        new="            self._touch()\n            self._sink.listed()\n            if not meta.continue_:\n",
        tests=_INFORMER_TESTS,
    ),
    Mutation(
        "a Retry-After of an hour blinds a replica for an hour",
        _REFLECTOR,
        old="delay = max(self._throttle.next(), min(error.retry_after or 0.0, THROTTLED))",
        new="delay = max(self._throttle.next(), error.retry_after or 0.0)",
        tests=_INFORMER_TESTS,
    ),
    Mutation(
        "a 410 that stays is a hot loop",
        _REFLECTOR,
        old="if isinstance(error, GoneError) and not self._expired:",
        new="if isinstance(error, GoneError):",
        tests=_INFORMER_TESTS,
    ),
    Mutation(
        "a key that is added while it is handled is handled twice at once",
        _QUEUE,
        old="        if key in self._running:\n            return  #",
        new="        if False:\n            return  #",
        tests=_QUEUE_TESTS,
    ),
    Mutation(
        "a slow issuer takes the turns of all others",
        _QUEUE,
        old="while self._handler is not None and lane.running < self._per_lane and any(lane.ready):",
        new="while self._handler is not None and len(self._running) < self._per_lane and any(lane.ready):",
        tests=_QUEUE_TESTS,
    ),
    Mutation(
        "a flood of new requests holds back those that are tried again",
        _QUEUE,
        old="            if is_old and not lane.new_in_a_row:\n                return retried.popitem(last=False)[0]\n",
        new="",
        tests=_QUEUE_TESTS,
    ),
    Mutation(
        "a handler that fails loses its key",
        _QUEUE,
        old="            delay = self._again(key)\n            log.exception(",
        new="            delay = 0.0\n            log.exception(",
        tests=_QUEUE_TESTS,
    ),
)
