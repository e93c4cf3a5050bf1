"""One call to an authority: bounded in time, observed, and never anything but a result or an `AuthorityError`.

An authority's module may have a fault of its own that no answer of a provider should reach, but some day one does. It
must not cost the request its failover, so a foreign exception counts as the authority being broken, and is logged
with its trace.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import structlog

from issuer.authorities.errors import AuthorityError, NotSentError, Unauthorized
from issuer.signing.failures import CutOff, InternalError, WrongCertificate, unreadable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime, timedelta

    from cryptography import x509

    from issuer.authorities.base import Session
    from issuer.pki.csr import SigningRequest
    from issuer.pki.verify import Verified
    from issuer.signing.account import Account
    from issuer.signing.observer import Observer
    from issuer.signing.plan import PlannedAuthority
    from issuer.signing.registry import AccountRegistry, AuthorityState

log = structlog.get_logger(__name__)


class Verify(Protocol):
    """`issuer.pki.verify.verify`, or what a test puts in its place."""

    def __call__(
        self,
        answer_chain: bytes,
        answer_ca: bytes,
        csr: SigningRequest,
        *,
        roots: Sequence[x509.Certificate],
        at_least: timedelta,
        now: datetime,
    ) -> Verified:
        """Check an answer; raises `WrongCertificateError`."""
        ...


async def open_session(
    registry: AccountRegistry, authority: AuthorityState, until: float, *, fresh: bool = False
) -> tuple[Session, Account]:
    """Read the credential, from the Secret itself if `fresh`, and find the account that it belongs to.

    Raises:
        AuthorityError: it cannot be read, as `SecretNotFound` or `Misconfigured` if that is the Secret's fault; it is
            shown as the authority's state until it can.
    """
    try:
        async with bounded(authority.planned, until):
            session = await authority.planned.authority.session(fresh=fresh)
    except Unauthorized as error:
        authority.error = unreadable(error)
        raise authority.error from None
    except AuthorityError as error:
        authority.error = error
        raise
    return session, registry.take(authority, session.account)


async def read_roots(
    registry: AccountRegistry, authority: AuthorityState, until: float
) -> tuple[x509.Certificate, ...]:
    """Read the roots that the issuer configures; after that nothing more has to be read from the cluster.

    Raises:
        AuthorityError: as `open_session`.
    """
    try:
        async with bounded(authority.planned, until):
            roots = await authority.planned.roots()
    except Unauthorized as error:
        authority.error = unreadable(error)
        raise authority.error from None
    except AuthorityError as error:
        authority.error = error
        raise
    registry.readable(authority)
    return roots


@asynccontextmanager
async def bounded(planned: PlannedAuthority, until: float) -> AsyncIterator[None]:
    """A block that lasts no longer than to the loop time `until`.

    Raises:
        AuthorityError: whatever goes wrong; `CutOff` if the time is up.
        Exception: what the guard raises, where it is asked on the wire (`NotSentError`).
    """
    after = max(0.0, until - asyncio.get_running_loop().time())
    try:
        async with asyncio.timeout_at(until):
            yield
    except AuthorityError:
        raise
    except NotSentError as error:
        raise error.reason from None
    except TimeoutError:
        raise CutOff(planned.name, ambiguous=planned.authority.remembers, after=after) from None
    except Exception as error:
        log.exception("an authority failed in a way it should not", authority=planned.name)
        raise InternalError(planned.name, error, ambiguous=planned.authority.remembers) from error


@asynccontextmanager
async def observed(observer: Observer, authority: AuthorityState, call: str, until: float) -> AsyncIterator[None]:
    """A block that calls an authority: as `bounded`, and the observer hears how it went.

    Raises:
        AuthorityError: whatever goes wrong.
        Exception: as `bounded`.
    """
    loop = asyncio.get_running_loop()
    begun, result = loop.time(), "Cancelled"
    try:
        async with bounded(authority.planned, until):
            yield
        result = "ok"
    except AuthorityError as error:
        result = WrongCertificate.__name__ if isinstance(error, WrongCertificate) else error.cause
        raise
    finally:
        observer.attempt(authority.issuer, authority.name, call, result, loop.time() - begun)
