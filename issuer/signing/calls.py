"""One call to an authority: bounded in time, observed, and never anything but a result or an `AuthorityError`.

An authority's module may have a fault of its own that no answer of a provider should reach, but some day one does. It
must not cost the request its failover, so a foreign exception counts as the authority being broken, and is logged
with its trace.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from issuer.api.duration import human
from issuer.authorities.errors import AuthorityError, NotSentError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime, timedelta

    from cryptography import x509

    from issuer.pki.csr import SigningRequest
    from issuer.pki.verify import Verified
    from issuer.signing.observer import Observer
    from issuer.signing.plan import PlannedAuthority
    from issuer.signing.seats import Seat

T = TypeVar("T")
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


class CutOff(Unavailable):
    """Our own timeout ended the call.

    Attributes:
        after: seconds it was given.
    """

    def __init__(self, authority: str, message: str, *, ambiguous: bool, after: float) -> None:
        super().__init__(authority, message, ambiguous=ambiguous)
        self.after = after

    @property
    def cause(self) -> str:
        """For everybody else it is an authority that did not answer."""
        return Unavailable.__name__


class WrongCertificate(Unavailable):
    """It signed something that is not what was asked for."""

    @property
    def cause(self) -> str:
        """For everybody else it is an authority that is broken."""
        return Unavailable.__name__


async def guarded(planned: PlannedAuthority, make: Callable[[], Awaitable[T]], until: float) -> T:
    """Await what `make` returns, no longer than to the loop time `until`.

    Raises:
        AuthorityError: whatever goes wrong; `CutOff` if the time is up.
        Exception: what the guard raises, where it is asked on the wire (`NotSentError`).
    """
    begun = asyncio.get_running_loop().time()
    after = max(0.0, until - begun)
    try:
        async with asyncio.timeout_at(until):
            return await make()
    except AuthorityError:
        raise
    except NotSentError as error:
        raise error.reason from None
    except TimeoutError:
        message = f"no answer within {human(after)}"
        raise CutOff(planned.name, message, ambiguous=planned.authority.remembers, after=after) from None
    except Exception as error:
        log.exception("an authority failed in a way it should not", authority=planned.name)
        message = f"internal error: {type(error).__name__}"
        raise Unavailable(planned.name, message, ambiguous=planned.authority.remembers) from error


async def observed(observer: Observer, seat: Seat, call: str, make: Callable[[], Awaitable[T]], until: float) -> T:
    """`guarded`, and the observer hears how it went.

    Raises:
        AuthorityError: whatever goes wrong.
    """
    loop = asyncio.get_running_loop()
    begun, result = loop.time(), "Cancelled"
    try:
        answer = await guarded(seat.planned, make, until)
        result = "ok"
    except AuthorityError as error:
        result = WrongCertificate.__name__ if isinstance(error, WrongCertificate) else error.cause
        raise
    else:
        return answer
    finally:
        observer.attempt(seat.issuer, seat.planned.name, call, result, loop.time() - begun)
