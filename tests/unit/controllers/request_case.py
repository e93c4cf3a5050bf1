"""An API server, a cache, a clock, an engine and issuers for the real request controller, all of which misbehave.

Each of them also watches what is done to it, and notes in `faults` what must never happen.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import msgspec
from cryptography.hazmat.primitives import hashes, serialization

from issuer.api.issuer import GROUP, Issuer
from issuer.api.meta import ObjectKey, format_micro_time
from issuer.api.request import CertificateRequest
from issuer.authorities.errors import InProgress, Unavailable
from issuer.controllers.certificaterequests import RESOURCE
from issuer.controllers.delivery import Delivered, StatusWriter
from issuer.controllers.issuercache import IssuerId
from issuer.kube.errors import ConflictError, KubeError, NotFoundError, ServerError, ThrottledError, UnreachableError
from issuer.kube.informer import Change, Informer
from issuer.sandbox.objects import signing_request
from issuer.signing.failures import NoTime
from issuer.signing.plan import Issued, IssuerPlan, NotIssued
from tests.unit.pki import pki_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from issuer.authorities.base import SigningOrder
    from issuer.controllers.decision import Verdict
    from issuer.controllers.port import Request
    from issuer.kube.reflector import Source

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NAMESPACE = "shop"
ATTEMPT = 5.0
"""Seconds that one attempt at the one authority may take: all that a go past the deadline has."""
ISSUER = {"authorities": [{"name": "edge", "ca": {"secretRef": {"name": "ca"}}, "timeouts": {"attempt": "5s"}}]}
CSR = b64encode(signing_request(["www.example.com"])).decode()


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def issuer_id(name: str) -> IssuerId:
    return IssuerId("CDNIssuer", ObjectKey(NAMESPACE, name))


def request_key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


FINGERPRINTS: dict[str, str] = {}
"""By certificate, as it stands in a status."""


@cache
def certificate(number: int) -> tuple[bytes, str]:
    """One of many certificates, PEM, and its fingerprint."""
    ca = pki_case.make_ca()
    leaf = ca.leaf(names=pki_case.dns(f"number-{number}.example.com"))
    pem, fingerprint = leaf.public_bytes(serialization.Encoding.PEM), leaf.fingerprint(hashes.SHA256()).hex()
    FINGERPRINTS[b64encode(pem).decode()] = fingerprint
    return pem, fingerprint


class Clock:
    """A wall clock beside the loop's. It jumps where it is told to; `ticking`, no two readings of it are the same.

    A ticking one goes on while nothing else does, and back again: so a deadline is reached between two readings.
    """

    def __init__(self) -> None:
        self.offset = timedelta()
        self.ticking = False
        self.readings = 0

    def __call__(self) -> datetime:
        self.readings += 1
        tick = timedelta(milliseconds=self.readings % 7 if self.ticking else 0)
        return START + timedelta(seconds=loop_time()) + self.offset + tick

    def loop_time_of(self, when: datetime) -> float:
        return (when - START - self.offset) / timedelta(seconds=1)


class Cache(Informer[CertificateRequest]):
    """An informer's cache that may hold what no handler was told of."""

    def __init__(self) -> None:
        self.mute = False
        self.told: set[str] = set()
        """UIDs of which a handler has heard that somebody decided on them, or that a resync has passed over since."""
        super().__init__(cast("Source", None), RESOURCE, item=CertificateRequest, transform=CertificateRequest.trimmed)

    def put(self, type_: str, text: bytes, *, told: bool) -> None:
        self.mute = not told
        self._parts[""].event(type_, msgspec.Raw(text))

    def passed_over(self) -> None:
        self.told.update(request.metadata.uid for request in self.items() if is_decided_on(request))

    def _tell(self, change: Change[CertificateRequest]) -> None:
        if self.mute:
            return
        if change.new is not None and is_decided_on(change.new):
            self.told.add(change.new.metadata.uid)
        for handler in self._handlers:
            handler(change)


def is_decided_on(request: CertificateRequest) -> bool:
    return request.is_approved or request.is_denied or request.is_invalid


@dataclass(frozen=True)
class Answer:
    """What becomes of one call to the API server; `applied`: a write is done although its answer says otherwise."""

    kind: str = "ok"
    seconds: float = 0.0
    applied: bool = False
    retry_after: float | None = None


WRITING: ContextVar[str] = ContextVar("WRITING")
"""UID of the request that a write is for."""


class Writer(StatusWriter):
    """The real one, which says for which request it writes."""

    async def write(self, request: Request, verdict: Verdict) -> Delivered:
        WRITING.set(request.metadata.uid)
        return await super().write(request, verdict)


class Server:
    """The API server, as its client, and the watch that brings its news to the cache, in order and late."""

    def __init__(self, cache: Cache, losses: Iterable[bool] = ()) -> None:
        self.objects: dict[ObjectKey, dict[str, Any]] = {}
        self.cache = cache
        self.writes: deque[Answer] = deque()
        self.reads: deque[Answer] = deque()
        self.losses = deque(losses)
        self.lag = 0.0
        self.version = 0
        self.delivered: dict[str, str] = {}
        """Fingerprint of the certificate that each UID has got."""
        self.by_others: set[str] = set()
        self.perhaps: dict[str, set[str]] = {}
        """Fingerprints that each UID may have got, for all that its writer was told."""
        self.has_lied = False
        self.faults: list[str] = []
        self.intercept: Callable[[ObjectKey], None] = lambda _: None
        self._news: deque[tuple[str, bytes, bool]] = deque()
        self._arrival = 0.0

    def create(self, name: str, issuer: str) -> str:
        uid = f"{name}-{self.version + 1}"
        self.save(
            {
                "metadata": {
                    "namespace": NAMESPACE,
                    "name": name,
                    "uid": uid,
                    "creationTimestamp": format_micro_time(START + timedelta(seconds=loop_time())),
                },
                "spec": {
                    "request": CSR,
                    "issuerRef": {"group": GROUP, "kind": "CDNIssuer", "name": issuer},
                },
                "status": {"conditions": []},
            },
            "ADDED",
        )
        return uid

    def delete(self, key: ObjectKey) -> None:
        if (found := self.objects.pop(key, None)) is not None:
            self._publish("DELETED", found)

    def save(self, raw: dict[str, Any], type_: str = "MODIFIED") -> None:
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.objects[ObjectKey(raw["metadata"]["namespace"], raw["metadata"]["name"])] = raw
        self._publish(type_, raw)

    def find(self, key: ObjectKey) -> CertificateRequest | None:
        raw = self.objects.get(key)
        return msgspec.convert(raw, CertificateRequest) if raw is not None else None

    def has(self, uid: str) -> bool:
        return any(raw["metadata"]["uid"] == uid for raw in self.objects.values())

    async def patch(self, _: object, namespace: str, name: str, body: bytes, *, subresource: str) -> bytes:
        patch, key = json.loads(body), ObjectKey(namespace, name)
        answer = self.writes.popleft() if self.writes else Answer()
        if answer.kind == "conflict":
            self.intercept(key)
        if answer.kind == "ok":
            await asyncio.sleep(answer.seconds)
            self._apply(key, patch)
            return b"{}"
        if answer.kind in ("hang", "500"):
            self._note_perhaps(patch["status"])
            if answer.applied:
                with suppress(KubeError):
                    self._apply(key, patch)
        await self._refuse(answer, name)
        raise AssertionError(answer)

    async def get(self, _: object, namespace: str, name: str) -> bytes:
        answer = self.reads.popleft() if self.reads else Answer()
        await self._refuse(answer, name)
        if (raw := self.objects.get(ObjectKey(namespace, name))) is None:
            raise NotFoundError(404, "NotFound", f"{name} not found", name=name)
        return json.dumps(raw).encode()

    async def _refuse(self, answer: Answer, name: str) -> None:
        match answer.kind:
            case "hang":
                await asyncio.sleep(answer.seconds)
                raise UnreachableError("no answer in time")
            case "unsent":
                raise UnreachableError("no connection", sent=False)
            case "500":
                raise ServerError(500, "InternalError", "etcd is away")
            case "throttled":
                raise ThrottledError(429, "TooManyRequests", "slowly", retry_after=answer.retry_after)
            case "404":
                self.has_lied = True
                raise NotFoundError(404, "NotFound", f"{name} not found", name=name)
            case "proxy 404":
                raise NotFoundError(404, "", "no such page")
            case "conflict":
                raise ConflictError(409, "Conflict", "it has changed")
            case _:
                await asyncio.sleep(answer.seconds)

    def _apply(self, key: ObjectKey, patch: dict[str, Any]) -> None:
        raw, found = self.objects.get(key), self.find(key)
        if raw is None or found is None:
            raise NotFoundError(404, "NotFound", f"{key.name} not found", name=key.name)
        if patch["metadata"]["resourceVersion"] != found.metadata.resource_version:
            raise ConflictError(409, "Conflict", "it has changed")
        uid = found.metadata.uid
        if found.is_finished:
            self.faults.append(f"{uid} was written to after its end")
        if WRITING.get() != uid:
            self.faults.append(f"what was meant for {WRITING.get()} was written to {uid}")
        if (text := patch["status"].get("certificate")) is not None:
            if uid in self.delivered:
                self.faults.append(f"{uid} got a second certificate")
            self.delivered[uid] = FINGERPRINTS[text]
        raw["status"] = {**raw["status"], **patch["status"]}
        self.save(raw)

    def _note_perhaps(self, status: dict[str, Any]) -> None:
        if (text := status.get("certificate")) is not None:
            self.perhaps.setdefault(WRITING.get(), set()).add(FINGERPRINTS[text])

    def _publish(self, type_: str, raw: dict[str, Any]) -> None:
        told = not (self.losses.popleft() if self.losses else False)
        news = (type_, json.dumps(raw).encode(), told)
        self._arrival = max(self._arrival, loop_time() + self.lag)
        if self._arrival <= loop_time() and not self._news:
            self.cache.put(type_, news[1], told=told)
            return
        self._news.append(news)
        asyncio.get_running_loop().call_at(self._arrival, self._arrive)

    def _arrive(self) -> None:
        type_, text, told = self._news.popleft()
        self.cache.put(type_, text, told=told)


class DefectError(Exception):
    """What a defect in the engine raises."""


@dataclass(frozen=True)
class Go:
    """What one go at the authorities comes to, after so many seconds."""

    kind: str = "down"
    seconds: float = 0.0
    retry_in: float = 0.0


@dataclass
class Engine:
    """Signs as it is told, and knows what it was told of each request's end."""

    clock: Clock
    server: Server
    goes: deque[Go] = field(default_factory=deque)
    then: Go = field(default_factory=Go)
    signed: dict[str, str] = field(default_factory=dict)
    """Fingerprint of the certificate of each UID whose end nobody has told yet."""
    fates: dict[str, str | None] = field(default_factory=dict)
    under_way: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    made: int = 0
    faults: list[str] = field(default_factory=list)
    orphans: int = 0

    def lead(self) -> None: ...

    async def clean_up(self) -> None: ...

    async def watch_credentials(self) -> None: ...

    def users(self, account: str) -> set[tuple[str, str]]:
        return {("CDNIssuer", f"{NAMESPACE}/{account}")}

    def suspect(self, uid: str) -> None:
        """Whoever takes up again what has ended says so."""
        self.fates.pop(uid, None)

    def settle(self, uid: str, fingerprint: str | None) -> None:
        if uid in self.fates:
            self.faults.append(f"the end of {uid} was told twice")
        shown = self.server.delivered.get(uid)
        if self.server.has(uid) and not self.server.has_lied and fingerprint != shown:
            self.faults.append(f"{uid} shows {shown}, and {fingerprint} was told")
        self.fates[uid] = fingerprint
        self.signed.pop(uid, None)

    async def sign(
        self,
        order: SigningOrder,
        plan: IssuerPlan,
        *,
        deadline: float,
        only: frozenset[str] | None,
        single_attempt: bool,
    ) -> Issued | NotIssued:
        uid = order.uid
        if uid in self.signed:
            self.faults.append(f"{uid} is signed already, and was to be signed again")
        if uid in self.fates or uid in self.under_way:
            self.faults.append(f"{uid} was to be signed after its end, or twice at the same time")
        self.asked.add(uid)
        self.under_way.add(uid)
        go = self.goes.popleft() if self.goes else self.then
        left = max(0.0, deadline - loop_time())
        try:
            await asyncio.sleep(min(go.seconds, left))
        finally:
            self.under_way.discard(uid)
        return self._outcome(uid, go if go.seconds <= left else Go())

    def _outcome(self, uid: str, go: Go) -> Issued | NotIssued:
        match go.kind:
            case "issued":
                return self._issue(uid)
            case "defect":
                raise DefectError
            case "cancelled":
                raise asyncio.CancelledError
            case "in progress":
                failure = InProgress("edge", "accepted", since=self.clock(), look_again_in=go.retry_in)
                return NotIssued(
                    failures=(failure,), terminal=False, retry_in=go.retry_in, attempted=True, accepted=failure
                )
            case "no turn":
                return NotIssued(failures=(), terminal=False, retry_in=go.retry_in, attempted=False)
            case "no time":
                late = (NoTime("edge", last=None),)
                return NotIssued(failures=late, terminal=False, retry_in=go.retry_in, attempted=False)
            case kind:
                failures = (Unavailable("edge", "HTTP 503"),)
                return NotIssued(failures=failures, terminal=kind == "refused", retry_in=go.retry_in, attempted=True)

    def _issue(self, uid: str) -> Issued:
        self.made += 1
        pem, fingerprint = certificate(self.made)
        self.signed[uid] = fingerprint
        life = timedelta(days=7)
        return Issued(
            authority="edge",
            position=0,
            certificate=pem,
            ca=b"",
            fingerprint=fingerprint,
            not_after=self.clock() + life,
            granted=life,
            requested=life,
        )


class RequestReporter:
    """Tells nobody, and counts as a fault what went wrong inside."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def crashed(self, request: CertificateRequest, error: Exception) -> None:
        if not isinstance(error, DefectError):
            self.faults.append(f"{request.metadata.uid}: {error!r}")

    def unsettled(self, request: CertificateRequest, error: KubeError) -> None: ...

    def pending(self, *_: object) -> None: ...

    unapproved = finished = retried = write_failed = dropped = pending


class Issuers:
    """The cache of issuers: what each is, and the last deadline that could be read of it."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, Issuer] = {}
        self.deadlines: dict[str, float] = {}
        self.generation = 0

    def put(self, name: str, deadline: float | None) -> None:
        """With so many seconds; None: its specification is nonsense."""
        self.generation += 1
        spec = {**ISSUER, "deadline": f"{deadline:g}s"} if deadline is not None else {}
        meta = {"namespace": NAMESPACE, "name": name, "uid": f"{name}-issuer", "generation": self.generation}
        text = msgspec.json.encode({"metadata": meta, "spec": spec})
        self.objects[ObjectKey(NAMESPACE, name)] = msgspec.json.decode(text, type=Issuer)
        if deadline is not None:
            self.deadlines[name] = deadline
