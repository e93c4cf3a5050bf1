"""What an authority is to the rest of the program.

An `Authority` is one entry of an issuer's list: configuration, no connection state that outlives it. A `Session` is
the authority with its credential resolved; the failover engine asks for one before each go, so that a rotated Secret
is picked up, and keeps breaker, limiter and in-flight limit per `Session.account`: issuers that use the same endpoint
with the same credential share them.

A session method raises `AuthorityError`s and nothing else. It sets no total timeout of its own: the engine wraps every
call in one and cancels it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from datetime import datetime, timedelta

    import httpx

    from issuer.api.meta import TypeMeta
    from issuer.api.secret import SecretReader
    from issuer.authorities.delegation import Delegation
    from issuer.pki.csr import SigningRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningOrder:
    """What an authority is asked to sign.

    Attributes:
        uid: of the certificate request, the key of everything that is remembered about it.
        namespace: of the certificate request.
        name: of the certificate request.
        created: when the request was created; a certificate older than that is not its result.
        csr: the parsed and checked CSR.
        duration: how long the certificate should live.
        usages: cert-manager's names of the key usages (`digital signature`, `server auth`, ...); empty: its default.
        parent: what kind of object it is that asks, under that name and UID; None: there is none (a rehearsal).
        key_secret: name of the Secret with the private key, where the request tells it; it is not read here.
    """

    uid: str
    namespace: str
    name: str
    created: datetime
    csr: SigningRequest
    duration: timedelta
    usages: tuple[str, ...] = ()
    parent: TypeMeta | None = None
    key_secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What an authority answered; nobody has verified it yet.

    Attributes:
        chain: PEM, leaf first, then intermediates; roots may be in it, they are taken out later.
        ca: PEM of the roots that the authority itself knows; empty where only the user can know them.
        handle: the provider's id of the certificate, for `revoke`; empty where there is no such record.
        promised: how long the authority set out to let it live. A certificate that lives shorter than this (or than
            what was asked for, whichever is less) is refused.
        trace_id: of the answer, as in `AuthorityError`.
    """

    chain: bytes
    ca: bytes = b""
    handle: str = ""
    promised: timedelta
    trace_id: str | None = field(default=None, compare=False)


async def unlimited() -> None:
    """No limit: a token is always there."""


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """How long a call may take, and how often its session may go to the wire for it.

    Attributes:
        connect: seconds, already clamped to what is left of the turn and of the deadline.
        read: the same.
        token: awaited before each HTTP call; takes a token of the account's limit. The first one of a call is paid for
            already, so an operation that is one HTTP call never waits here.
    """

    connect: float
    read: float
    token: Callable[[], Awaitable[None]] = unlimited


class Session(Protocol):
    """An authority with its credential at hand."""

    @property
    def account(self) -> str:
        """Names endpoint and credential, the same for all issuers that share both; a digest at most, no secret."""
        ...

    @property
    def roots(self) -> bytes:
        """PEM of the roots that the authority knows itself, whatever it signs; empty where only the user can know."""
        ...

    async def sign(self, order: SigningOrder, timeouts: CallTimeouts) -> Signed:
        """Ask for one certificate, once.

        Raises:
            InProgress: it is accepted and takes its time; nothing is held meanwhile, and it is asked again.
        """
        ...

    def find(self, order: SigningOrder, timeouts: CallTimeouts, *, since: float) -> AsyncGenerator[Signed, None]:
        """Certificates already made for the order (same key, same names, not older than it), each as it is found.

        Who has found what it looked for stops iterating; whoever gets to the end has seen all there are.

        Args:
            order: whose.
            timeouts: of each call.
            since: loop time; what was learnt before does not count, what another look has learnt since then does.
        """
        ...

    async def revoke(self, handle: str, timeouts: CallTimeouts) -> None:
        """Revoke a certificate that was certainly not delivered. One that is already gone is no error."""
        ...

    async def check(self, timeouts: CallTimeouts) -> None:
        """A cheap authenticated call: returns if the credential is good. Proves nothing about signing."""
        ...


class Authority(Protocol):
    """One entry of `spec.authorities`."""

    @property
    def name(self) -> str:
        """Its name in the issuer."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether a call leaves this process; `limits` spare whoever is called, so they apply to those only."""
        ...

    @property
    def remembers(self) -> bool:
        """Whether a lost answer leaves a certificate at the provider that `find` can look for."""
        ...

    def supports(self, order: SigningOrder) -> None:
        """Check all that is known without a call.

        Raises:
            Unsupported: it can never sign this.
        """
        ...

    async def session(self, *, fresh: bool = False) -> Session:
        """Resolve the credential; from the Secret itself if `fresh`, else at most 30 seconds old.

        Raises:
            Unauthorized: the Secret is missing, incomplete or nonsense.
            Unavailable: the Kubernetes API did not answer.
        """
        ...

    async def aclose(self) -> None:
        """Give up connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityContext:
    """What an authority gets from the program it runs in.

    Attributes:
        namespace: where its Secrets are read.
        secrets: reads them.
        transport: makes an HTTP transport that verifies TLS; each authority closes its own.
        now: the wall clock, UTC.
        allow_insecure_endpoints: `http` endpoints are allowed (tests, the sandbox).
        shared: what authorities of one kind share among issuers, under a key that is their module's.
        followed: there is a later authority in the issuer's list.
        issuer: how messages name the issuer, `CDNIssuer default/edge`.
        serves_all: the issuer serves requests of every namespace (a CDNClusterIssuer).
        delegation: asks other issuers of the cluster; None: that is switched off, or there is no cluster.
    """

    namespace: str
    secrets: SecretReader
    transport: Callable[[], httpx.AsyncBaseTransport]
    now: Callable[[], datetime]
    allow_insecure_endpoints: bool = False
    shared: dict[str, Any] = field(default_factory=dict)
    followed: bool = False
    issuer: str = ""
    serves_all: bool = False
    delegation: Delegation | None = None
