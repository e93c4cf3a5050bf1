"""Rehearsals: an authority that has not signed for a while signs for nobody, so that a fallback is no guess.

A rehearsal is a pass over the list with one authority allowed: limits, breaker, verification and the look for a lost
answer are those of every request. Its request never receives anything, so what was signed is an orphan from the start
and clean-up revokes it, where the authority can do that. The key is made here and thrown away.

    due       `every` after the last signature or rehearsal, an hour after one that failed, soon for one that never was
    asked     at once, if the annotation `REHEARSE_AT` of the issuer is one that the last rehearsal has not seen to
    not now   while the account has no calls left, its breaker is open or its credential is refused: that is known
    one       at a time, in the replica that leads
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.api.duration import human
from issuer.api.issuer import REHEARSE_AT, REHEARSE_AUTHORITIES
from issuer.api.issuerstatus import RehearsalStatus
from issuer.api.meta import format_time, parse_time
from issuer.authorities.base import SigningOrder
from issuer.authorities.errors import InProgress, RateLimited, UnavailableHere
from issuer.controllers.census import labels_of
from issuer.controllers.manager import Chore, StoppingError
from issuer.controllers.reporter import reference
from issuer.controllers.topics import StatusDue
from issuer.observe import families
from issuer.observe.logs import get_logger
from issuer.observe.metrics import Measure
from issuer.pki.csr import InvalidRequestError, parse_pem
from issuer.signing.failures import NotAsked, brief
from issuer.signing.plan import Issued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from issuer.api.issuer import Issuer, Rehearsal
    from issuer.api.meta import ObjectKey
    from issuer.controllers.issuercache import CachedIssuer, IssuerCache, IssuerId
    from issuer.controllers.topics import Topics
    from issuer.kube.events import EventRecorder
    from issuer.kube.informer import Change, Informer
    from issuer.observe.metrics import Metrics
    from issuer.signing.engine import FailoverEngine
    from issuer.signing.health import AuthorityHealth
    from issuer.signing.plan import IssuerPlan, NotIssued

log = get_logger(__name__)

LOOK_EVERY: Final = 60.0
"""Seconds between two looks for what is due."""
LISTEN_EVERY: Final = 1.0
"""Seconds after which a rehearsal that somebody asks for begins."""
AFTER_FAILURE: Final = timedelta(hours=1)
"""The longest time before a rehearsal that failed is repeated."""
FIRST_WITHIN: Final = timedelta(minutes=10)
"""In which an authority that has never signed is rehearsed, counted from when its issuer was made."""
LIFETIME: Final = timedelta(days=7)
"""What is asked for: the shortest that Cloudflare offers. A certificate that cannot be revoked ends by itself."""
SPREAD: Final = 0.1
"""Share of `every` over which rehearsals are spread, so that those that began together do not stay together."""
LONGEST_REQUEST: Final = 64
"""Characters of the annotation; more is no time."""
_AT_ONCE: Final = datetime.min.replace(tzinfo=UTC)
ACCEPTED: Final = 2.0
"""Seconds between two looks at an order that an authority has accepted and not signed yet."""
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An authority that may be due.

    Attributes:
        entry: its issuer.
        health: how it is.
        last: its last rehearsal, if there was one.
        created: when its issuer was made.
        requested: what was asked for and not seen to yet; empty if nothing was.
    """

    entry: CachedIssuer
    health: AuthorityHealth
    last: RehearsalStatus | None
    created: datetime
    requested: str = ""


def due_at(candidate: Candidate, every: timedelta) -> datetime:
    """When an authority is to be rehearsed: a pure function. The place in the spread is the same each time."""
    if candidate.requested:
        return _AT_ONCE
    place = _place(candidate.entry.uid, candidate.health.name)
    last = candidate.last
    tried = parse_time(last.time) if last else None
    if last and tried and last.result == FAILED and not has_signed_since(candidate.health, last):
        return tried + min(AFTER_FAILURE, every)
    known = [moment for moment in (tried, candidate.health.last_success) if moment is not None]
    if not known:
        return candidate.created + min(FIRST_WITHIN, every) * place
    return max(known) + every * (1 - SPREAD * place)


def requested(issuer: Issuer, authority: str, last: RehearsalStatus | None) -> str:
    """The rehearsal that somebody has asked for, and that the last one has not seen to; empty if there is none.

    The values are compared and not the times: whoever asks has another clock, and one that is fast would be rehearsed
    for until ours has caught up.
    """
    value = issuer.metadata.annotation(REHEARSE_AT) or ""
    if len(value) > LONGEST_REQUEST or parse_time(value) is None or (last and last.requested_at == value):
        return ""
    names = {name.strip() for name in (issuer.metadata.annotation(REHEARSE_AUTHORITIES) or "").split(",")} - {""}
    return value if not names or authority in names else ""


def has_signed_since(health: AuthorityHealth, last: RehearsalStatus) -> bool:
    """Whether an authority has signed after a rehearsal, for whomever."""
    tried = parse_time(last.time)
    return health.last_success is not None and tried is not None and health.last_success > tried


def is_possible(health: AuthorityHealth) -> bool:
    """Whether a rehearsal would tell anything that is not known, and harm nobody."""
    return health.state in ("Available", "Unknown", "Untested") or (
        health.state == "Degraded" and not health.is_limited
    )


def with_rehearsal(health: AuthorityHealth, last: RehearsalStatus | None) -> AuthorityHealth:
    """An authority that nothing is known against is Degraded after a rehearsal that failed, until it signs."""
    if last is None or last.result != FAILED or health.state not in ("Available", "Unknown"):
        return health
    if has_signed_since(health, last):
        return health
    return replace(health, state="Degraded", message=f"its rehearsal at {last.time} failed: {last.message}")


class RehearsalController:
    """Rehearses; a `Controller` of the manager.

    Args:
        informers: of issuers, by kind.
        enabled: whether anything is rehearsed at all.
    """

    name: Final = "rehearsals"
    rules: Final = ()
    fresh: Final = ()
    depth: Final = 0

    def __init__(
        self,
        *,
        informers: Mapping[str, Informer[Issuer]],
        book: IssuerCache,
        engine: FailoverEngine,
        topics: Topics,
        events: EventRecorder,
        metrics: Metrics,
        guard: Callable[[], None],
        now: Callable[[], datetime],
        enabled: bool = True,
    ) -> None:
        self._informers = informers
        self._book = book
        self._engine = engine
        self._topics = topics
        self._events = events
        self._metrics = metrics
        self._guard = guard
        self._now = now
        self._done: dict[tuple[IssuerId, str], RehearsalStatus] = {}
        self._stopping = asyncio.Event()
        self._one = asyncio.Lock()
        self._was_asked = False
        self.informers = tuple(informers.values())
        for informer in self.informers:
            informer.add_handler(self.observe)
        chores = (
            Chore("rehearsals", self.look, LOOK_EVERY),
            Chore("requested rehearsals", self.listen, LISTEN_EVERY),
        )
        self.chores = chores if enabled else ()

    async def start(self) -> None:
        """What was rehearsed before is in the status of the issuers."""

    async def run(self) -> None:
        """There is no queue: a chore looks for what is due."""
        await self._stopping.wait()

    async def drain(self, grace: float) -> None:  # noqa: ARG002 - a rehearsal that is under way is not waited for
        """Begin nothing new."""
        self._stopping.set()

    async def flush(self) -> bool:
        """Nothing is kept back: a result that is lost is had again."""
        return False

    def last(self, id_: IssuerId, issuer: Issuer, authority: str) -> RehearsalStatus | None:
        """The last rehearsal of an authority, by this process or, as the status tells, by a former one."""
        if (known := self._done.get((id_, authority))) is not None:
            return known
        return next((one.last_rehearsal for one in issuer.status.authorities if one.name == authority), None)

    def measures(self) -> Iterable[Measure]:
        """How the last rehearsals went. One that failed is made up for by a signature."""
        for (id_, authority), status in list(self._done.items()):
            entry = self._book.find(id_)
            healths = self._engine.states(entry.plan) if entry and entry.plan and entry.rehearsal else ()
            health = next((one for one in healths if one.name == authority), None)
            if health is None:
                del self._done[id_, authority]
                continue
            well = status.result == SUCCEEDED or has_signed_since(health, status)
            yield Measure(families.LAST_REHEARSAL, float(well), (*labels_of(id_), authority))

    def observe(self, change: Change[Issuer]) -> None:
        """Somebody may have asked for a rehearsal."""
        before, after = ({} if one is None else one.metadata.annotations or {} for one in (change.old, change.new))
        if after.get(REHEARSE_AT) and after.get(REHEARSE_AT) != before.get(REHEARSE_AT):
            self._was_asked = True

    async def listen(self) -> None:
        """Look at once if somebody has asked; what cannot be rehearsed just now is left to the other looks."""
        if self._was_asked:
            self._was_asked = False
            await self.look()

    async def look(self) -> None:
        """Rehearse what is due, one after the other: what was asked for, then the longest due first."""
        async with self._one:
            await self._look()

    async def _look(self) -> None:
        due = [(due_at(one, timedelta(seconds=rehearsal.every.seconds)), one) for one, rehearsal in self._candidates()]
        for moment, candidate in sorted(due, key=lambda item: item[0]):
            if moment > self._now() or self._stopping.is_set():
                break
            try:
                self._guard()
                await self._rehearse(candidate)
            except StoppingError:
                break

    def _candidates(self) -> Iterator[tuple[Candidate, Rehearsal]]:
        for entry in self._book.entries():
            issuer = self._find(entry.id)
            if issuer is None or entry.plan is None or entry.rehearsal is None:
                continue
            created = issuer.metadata.created or self._now()
            for health in self._engine.states(entry.plan):
                last = self.last(entry.id, issuer, health.name)
                if is_possible(health):
                    wanted = requested(issuer, health.name, last)
                    yield Candidate(entry, health, last, created, wanted), entry.rehearsal

    def _find(self, id_: IssuerId) -> Issuer | None:
        informer = self._informers.get(id_.kind)
        return informer.get(id_.key) if informer else None

    async def _rehearse(self, candidate: Candidate) -> None:
        entry, authority = candidate.entry, candidate.health.name
        # The issuer may have changed since the list was made: what it says now counts.
        current = self._book.find(entry.id)
        if current is None or current.plan is None or current.rehearsal is None:
            return
        seen_to = candidate.requested or (candidate.last.requested_at if candidate.last else "")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            order = make_order(current.id.key, authority, current.rehearsal.dns_names, self._now())
        except InvalidRequestError as error:
            message = f"spec.rehearsal.dnsNames: {error.message}"
            self._tell(current, authority, FAILED, message, 0.0, seen_to)
            return
        patience = next(one.common.timeouts.turn.seconds for one in current.plan.authorities if one.name == authority)
        try:
            outcome = await self._sign(order, current.plan, authority, begun + patience + 2 * ACCEPTED)
        finally:
            # However it ended, nobody receives anything: what was made, or may have been, is to be revoked.
            self._engine.settle(order.uid, None)
        seconds = loop.time() - begun
        if isinstance(outcome, Issued):
            self._tell(current, authority, SUCCEEDED, "", seconds, seen_to)
            return
        failure = next(iter(outcome.failures), None)
        if failure is None or isinstance(failure, NotAsked | RateLimited | UnavailableHere | InProgress):
            log.info("a rehearsal is put off", **entry.id.fields, authority=authority, error=str(failure or "no time"))
            return
        self._tell(current, authority, FAILED, brief(failure), seconds, seen_to)

    async def _sign(self, order: SigningOrder, plan: IssuerPlan, authority: str, deadline: float) -> Issued | NotIssued:
        """Have it signed; one that accepts the order and takes its time has until the end of its turn."""
        loop, only = asyncio.get_running_loop(), frozenset({authority})
        while True:
            outcome = await self._engine.sign(order, plan, deadline=deadline, only=only, single_attempt=True)
            if isinstance(outcome, Issued) or outcome.accepted is None or loop.time() >= deadline:
                return outcome
            self._guard()
            await asyncio.sleep(min(ACCEPTED, outcome.accepted.look_again_in, max(0.0, deadline - loop.time())))

    def _tell(
        self, entry: CachedIssuer, authority: str, result: str, message: str, seconds: float, seen_to: str
    ) -> None:
        issuer = self._find(entry.id)
        if issuer is None:
            return
        before = self.last(entry.id, issuer, authority)
        self._done[entry.id, authority] = RehearsalStatus(
            time=format_time(self._now()),
            result=result,
            duration=human(seconds),
            message=message,
            requested_at=seen_to,
        )
        self._metrics.rehearsed(issuer=str(entry.id.key), authority=authority, result=result)
        about = reference(issuer.metadata, issuer.kind, self._informers[entry.id.kind].resource.api_version)
        if result == FAILED:
            log.warning("rehearsal failed", **entry.id.fields, authority=authority, seconds=seconds, error=message)
            self._events.emit(about, "Warning", "RehearsalFailed", f"{authority} could not sign a rehearsal: {message}")
        else:
            log.info("rehearsal succeeded", **entry.id.fields, authority=authority, seconds=round(seconds, 3))
            if before is None or before.result == FAILED:
                self._events.emit(about, "Normal", "RehearsalSucceeded", f"{authority} signed a rehearsal")
        self._topics.publish(StatusDue(entry.id))


def make_order(issuer: ObjectKey, authority: str, names: Iterable[str], now: datetime) -> SigningOrder:
    """What is asked for: a key of its own, which nobody has a moment later.

    Raises:
        InvalidRequestError: no authority could sign these names.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    except ValueError:
        raise InvalidRequestError("dnsNames", "a name has characters that a certificate cannot hold") from None
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(san, critical=True)
    csr = parse_pem(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    fingerprint = hashlib.sha256(csr.public_key).hexdigest()
    return SigningOrder(
        uid=f"rehearsal-{fingerprint[:32]}",
        namespace=issuer.namespace,
        name=f"rehearsal of {authority} in {issuer.name}",
        created=now,
        csr=csr,
        duration=LIFETIME,
    )


def _place(uid: str, authority: str) -> float:
    """A number from 0 to 1 that is the same for an authority each time, and evenly spread over all of them."""
    digest = hashlib.sha256(f"{uid}/{authority}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32
