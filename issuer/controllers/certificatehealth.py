"""What is wrong with Certificates that name one of our issuers: counted, and told once on each as an event.

What is wrong `api.risks` judges, as for `doctor`. Here Certificates are watched, and all of them are looked at when any
has changed, and once a minute, since time alone makes some of it.

    known of a Certificate    its own specification and status, trimmed; the chain of its newest certificate, from the
                              census; the kinds of authorities of its issuer; cert-manager's defaults, from its schema
    told                      what is wrong with a UID at a generation, and of a certificate or its chain at a revision.
                              The Event is named after these, so a process that comes after this one makes no second

It is the least of what this program does, and takes nothing from the rest. The cache is its own, on the replica that
leads: who may not list Certificates has a line in the log, and all else goes on. Events go out some at a time, since
those of requests wait in the same queue. A Certificate that cannot be read or judged costs only itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from sys import intern
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from issuer.api import certificate as api
from issuer.api import certmanager, condition
from issuer.api.condition import Condition
from issuer.api.issuer import GROUP, PLURALS
from issuer.api.meta import ObjectMeta, parse_time
from issuer.api.request import IssuerRef
from issuer.api.risks import CODES, SPEC_CODES, ending_chain, kept_key, running_out, short_history
from issuer.controllers.certificaterequests import RESOURCE as REQUESTS
from issuer.controllers.issuercache import issuer_id
from issuer.controllers.reporter import reference
from issuer.kube.errors import KubeError
from issuer.kube.informer import Informer
from issuer.kube.rbac import Rule
from issuer.kube.resource import Resource
from issuer.observe import families
from issuer.observe.logs import get_logger
from issuer.observe.metrics import Measure
from issuer.observe.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from issuer.api.certmanager import CertManager
    from issuer.api.risks import Risk, RiskCode
    from issuer.controllers.certificates import CertificateCensus
    from issuer.controllers.issuercache import IssuerCache
    from issuer.kube.client import KubeClient
    from issuer.kube.events import EventRecorder
    from issuer.kube.informer import Change

log = get_logger(__name__)

CERTIFICATES: Final = Resource(REQUESTS.group, REQUESTS.version, api.PLURAL)
EVERY: Final = 60.0
"""Seconds between two looks while nothing changes."""
PAUSE: Final = 5.0
"""Seconds between two looks, however much changes."""
MOST_EVENTS: Final = 50
"""Events of one look; the others come with the next."""
SLICE: Final = 200
"""Certificates that are judged before others have their turn: about a millisecond."""
VERSION_EVERY: Final = 900.0
"""Seconds between two looks at the schema of cert-manager."""


class PrivateKey(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How the key is made."""

    rotation_policy: str = ""


class CertificateSpec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What is wanted."""

    secret_name: str = ""
    issuer_ref: IssuerRef = IssuerRef()
    revision_history_limit: int | None = None
    private_key: PrivateKey = PrivateKey()


class CertificateStatus(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What has come of it."""

    conditions: tuple[Condition, ...] = ()
    not_after: str | None = None
    renewal_time: str | None = None
    last_failure_time: str | None = None
    failed_issuance_attempts: int = 0
    revision: int = 0


class WatchedCertificate(msgspec.Struct, frozen=True, gc=False):
    """One Certificate, as far as it is judged."""

    metadata: ObjectMeta
    spec: CertificateSpec = CertificateSpec()
    status: CertificateStatus = CertificateStatus()

    @property
    def is_renewing(self) -> bool:
        """Whether cert-manager has it issued, or waits after a failure."""
        failed = self.status.last_failure_time is not None and self.status.failed_issuance_attempts > 0
        return failed or condition.is_true(self.status.conditions, api.ISSUING)

    def trimmed(self) -> WatchedCertificate:
        """The same as it is kept in memory, by the ten thousand."""
        meta, spec, status = self.metadata, self.spec, self.status
        ref = spec.issuer_ref
        policy = spec.private_key.rotation_policy
        issuing = condition.is_true(status.conditions, api.ISSUING)
        return WatchedCertificate(
            ObjectMeta(meta.name, intern(meta.namespace), meta.uid, meta.resource_version, meta.generation),
            CertificateSpec(
                spec.secret_name,
                IssuerRef(intern(ref.name), intern(ref.kind), intern(ref.group)),
                spec.revision_history_limit,
                NEVER if policy == NEVER.rotation_policy else UNSET if not policy else OTHER,
            ),
            CertificateStatus(
                ISSUING if issuing else (),
                status.not_after,
                status.renewal_time,
                status.last_failure_time,
                status.failed_issuance_attempts,
                status.revision,
            ),
        )


NEVER: Final = PrivateKey("Never")
OTHER: Final = PrivateKey("Always")
UNSET: Final = PrivateKey()
ISSUING: Final = (Condition(api.ISSUING, condition.TRUE),)


class Mark(NamedTuple):
    """What was told of a Certificate."""

    code: RiskCode
    generation: int
    revision: int
    """Of its certificate; 0 where that is no matter."""

    def is_of(self, certificate: WatchedCertificate) -> bool:
        """Whether it is about the Certificate as it is now."""
        revision = certificate.status.revision
        return self.generation == certificate.metadata.generation and self.revision in (0, revision)


class CertificateHealthController:
    """Looks after Certificates; a `Controller` of the manager.

    Args:
        client: for the API server.
        namespaces: where to look; one empty string means the whole cluster.
        book: of issuers.
        census: of the certificates that requests have received.
        now: the time, UTC.
    """

    name: Final = "certificatehealth"
    rules: Final = (Rule((CERTIFICATES.group,), (CERTIFICATES.plural,), ("list", "watch")),)
    informers: Final = ()
    fresh: Final = ()
    chores: Final = ()
    depth: Final = 0

    def __init__(
        self,
        *,
        client: KubeClient,
        namespaces: Sequence[str],
        book: IssuerCache,
        census: CertificateCensus,
        events: EventRecorder,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._book = book
        self._census = census
        self._events = events
        self._now = now
        self._version: CertManager | None = None
        self._version_due = float("-inf")
        self._told: dict[str, tuple[Mark, ...]] = {}
        self._counted: Counter[RiskCode] | None = None
        self._repeats = Repeats(_loop_time)
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._certificates = Informer(
            client,
            CERTIFICATES,
            item=WatchedCertificate,
            namespaces=namespaces,
            field_selector=f"spec.issuerRef.group={GROUP}",
            filter=self._is_ours,
            transform=WatchedCertificate.trimmed,
        )
        self._certificates.add_handler(self._changed)

    async def start(self) -> None:
        """It begins with `run`."""

    async def run(self) -> None:
        """Watch, look and tell until drained."""
        stopping = asyncio.create_task(self._stopping.wait())
        watching, looking = asyncio.create_task(self._certificates.run()), asyncio.create_task(self._look_on())
        try:
            await asyncio.wait({stopping, watching, looking}, return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, looking):
                if task.done():
                    task.result()
        finally:
            for each in (stopping, watching, looking):
                each.cancel()
            await asyncio.gather(stopping, watching, looking, return_exceptions=True)

    async def drain(self, grace: float) -> None:  # noqa: ARG002 - there is nothing to wait for
        """Tell nothing more."""
        self._stopping.set()

    async def flush(self) -> bool:
        """Nothing is kept back."""
        return False

    def measures(self) -> Iterator[Measure]:
        """What the last look has found, and how long the watch has been silent."""
        if self._counted is not None:
            for code in CODES:
                yield Measure(families.CERTIFICATE_FINDINGS, self._counted[code], (code,))
        contact = self._certificates.last_contact
        if contact > float("-inf"):
            yield Measure(families.WATCH_SILENCE, _loop_time() - contact, (str(CERTIFICATES),))

    async def look(self) -> None:
        """Judge all Certificates, count what is wrong, and tell what was not told."""
        now, allowed = self._now(), MOST_EVENTS
        counted: Counter[RiskCode] = Counter()
        told: dict[str, tuple[Mark, ...]] = {}
        for number, certificate in enumerate(self._certificates.items(), 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            marks = tuple(mark for mark in self._told.get(certificate.metadata.uid, ()) if mark.is_of(certificate))
            for risk in self._judged(certificate, now):
                counted[risk.code] += 1
                mark = _mark(risk, certificate)
                if mark in marks:
                    continue
                if not allowed:
                    self._news.set()
                    continue
                allowed -= 1
                marks = (*marks, mark)
                self._tell(certificate, risk, mark)
            if marks:
                told[certificate.metadata.uid] = marks
        self._told, self._counted = told, counted

    def _is_ours(self, certificate: WatchedCertificate) -> bool:
        ref = certificate.spec.issuer_ref
        return ref.kind in PLURALS and self._book.serves(ref)

    def _changed(self, _change: Change[WatchedCertificate]) -> None:
        self._news.set()

    async def _look_on(self) -> None:
        await self._certificates.synced.wait()
        while True:
            self._news.clear()
            try:
                await self._read_version()
                await self.look()
            except Exception as error:
                log.exception("health of Certificates not looked at", error=type(error).__name__)
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._news.wait()

    async def _read_version(self) -> None:
        """Find out cert-manager's defaults. While that cannot be read, what was read before holds."""
        if _loop_time() < self._version_due:
            return
        try:
            document = msgspec.json.decode(await self._client.read(certmanager.OPENAPI))
        except (KubeError, msgspec.DecodeError) as error:
            log.debug("the schemas of cert-manager cannot be read", error=str(error))
            return
        self._version = certmanager.cert_manager(document) or self._version
        self._version_due = _loop_time() + VERSION_EVERY

    def _judged(self, certificate: WatchedCertificate, now: datetime) -> list[Risk[RiskCode]]:
        """What is wrong with one; nothing where it cannot be judged, which the log tells now and then."""
        key = certificate.metadata.key
        try:
            return [risk for risk in self._risks(certificate, now) if risk is not None]
        except Exception as error:
            left_out = self._repeats.due(key)
            if left_out is not None:
                kind = type(error).__name__
                log.exception("Certificate not judged", **key._asdict(), error=kind, left_out=left_out or None)
            return []

    def _risks(self, certificate: WatchedCertificate, now: datetime) -> Iterator[Risk[RiskCode] | None]:
        meta, spec, status = certificate.metadata, certificate.spec, certificate.status
        entry = self._book.find(issuer_id(spec.issuer_ref, meta.namespace))
        with_cloudflare = entry is not None and "cloudflare" in entry.kinds
        ends, due = parse_time(status.not_after), parse_time(status.renewal_time)
        yield running_out(ends, due, now, is_renewing=certificate.is_renewing, secret=spec.secret_name)
        held = self._census.held_of(meta.key)
        if held is not None:
            yield ending_chain(held.expires, held.above, now)
        yield short_history(spec.revision_history_limit, self._version, with_cloudflare=with_cloudflare)
        yield kept_key(spec.private_key.rotation_policy, self._version)

    def _tell(self, certificate: WatchedCertificate, risk: Risk[RiskCode], mark: Mark) -> None:
        about = reference(certificate.metadata, api.KIND, CERTIFICATES.api_version)
        message = f"{risk.sentence[:1].upper()}{risk.sentence[1:]}; {risk.remedy}"
        named = hashlib.sha256(f"{certificate.metadata.uid} {mark}".encode()).hexdigest()[:16]
        self._events.emit(
            about, "Normal" if risk.code == "KeyNotRotated" else "Warning", risk.code, message, once=named
        )


def _mark(risk: Risk[RiskCode], certificate: WatchedCertificate) -> Mark:
    revision = 0 if risk.code in SPEC_CODES else certificate.status.revision
    return Mark(risk.code, certificate.metadata.generation, revision)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
