"""A CA whose key pair is in a Secret; it signs in this process, so it is there when nothing else is.

It is the fallback that cannot time out. What it signs is what cert-manager's own CA issuer would sign, so that one may
take the other's place: the names, the subject and the time to live are those that were asked for, to the letter and to
the second. With these differences: nothing outlives the CA or a certificate above it (the end is moved, and `promised`
says so); a Secret that cannot sign is found when it is read; a name that the CA's name constraints forbid is not
signed, and the certificate of another CA only where `allowCA` says so.

A CA that ends signs until then, but not in silence: its state tells of it while there is time to renew it, and where
another authority follows in the list, that one signs what this one could give less than half of the wanted time.

Nothing is left at a provider after a lost answer, so there is nothing to find and nothing to revoke.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct, field

from issuer.api.issuer import SecretReference
from issuer.api.secret import SecretError, SecretMissingError
from issuer.api.spec import decode_config
from issuer.authorities.base import Signed
from issuer.authorities.errors import Rejected, Unauthorized, Unavailable, Unsupported
from issuer.pki import constraints, keypair, usages
from issuer.pki.certificate import to_pem
from issuer.pki.csr import InvalidRequestError
from issuer.pki.issue import issue
from issuer.pki.keypair import InvalidKeyPairError, KeyPair
from issuer.pki.path import CLOCK_SKEW
from issuer.pki.usages import UnsupportedUsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from issuer.api.issuer import AuthoritySpec
    from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder

LEAST_LEFT: Final = timedelta(minutes=1)
"""A CA with less left signs nothing: it would have ended before anybody uses it."""
ROOT_LEFT: Final = timedelta(hours=1)
"""cert-manager's shortest duration; a root that is in `ca.crt` only, and has less left, is passed over."""
USUAL_DURATION: Final = timedelta(days=90)
"""cert-manager's default, DefaultCertificateDuration in pkg/apis/certmanager/v1/const.go."""


class Config(Struct, frozen=True, rename="camel"):
    """Signs in this process with the key pair of a CA, as cert-manager's CA issuer does."""

    secret_ref: Annotated[
        SecretReference,
        Meta(
            description="Secret with the CA's certificate, optionally followed by those above it, as tls.crt, "
            "and its private key (RSA, ECDSA or Ed25519, PEM without a passphrase) as tls.key. A ca.crt beside them "
            "that issued the top of tls.crt becomes the ca.crt of what is signed, as cert-manager's CA issuer does it."
        ),
    ]
    allow_ca: Annotated[
        bool,
        Meta(
            description="Sign certificates of CAs (spec.isCA of a Certificate), within the path length of this CA. "
            "Whoever may have one signed can sign for any name."
        ),
    ] = field(default=False, name="allowCA")


def build(spec: AuthoritySpec, context: AuthorityContext) -> CAAuthority:
    """Make the authority from its specification.

    Raises:
        InvalidSpecError: its configuration is nonsense.
    """
    config = decode_config(spec.config, Config, f"spec.authorities.{spec.name}.ca")
    return CAAuthority(spec.name, config, context)


class CAAuthority:
    """One `ca` entry of an issuer."""

    is_remote: Final = False
    remembers: Final = False

    def __init__(self, name: str, config: Config, context: AuthorityContext) -> None:
        self.name: Final = name
        self._secret = config.secret_ref.name
        self._allow_ca = config.allow_ca
        self._context = context
        self._reading = asyncio.Lock()
        self._digest = b""
        self._read: KeyPair | str = ""

    def supports(self, order: SigningOrder) -> None:
        """Check the usages, and whether it may sign for a CA.

        Raises:
            Unsupported: a usage is unknown, or is for CAs only; or the order is for a CA, which is not allowed.
        """
        if order.csr.is_ca and not self._allow_ca:
            raise Unsupported(
                self.name, "it signs no certificates of CAs (spec.isCA) unless ca.allowCA of the authority is true"
            )
        try:
            usages.extensions(order.usages, order.csr.key_type, is_ca=order.csr.is_ca)
        except UnsupportedUsageError as error:
            raise Unsupported(self.name, f"spec.usages: {error}") from error

    async def session(self, *, fresh: bool = False) -> CASession:
        """Read the key pair from the Secret; it is parsed again only when the Secret's content has changed.

        Raises:
            Unauthorized: the Secret is missing, incomplete, garbage, or no key pair of a CA.
            Unavailable: the Kubernetes API did not answer.
        """
        namespace = self._context.namespace
        try:
            data = await self._context.secrets.read(namespace, self._secret, fresh=fresh)
        except SecretMissingError as error:
            raise Unauthorized(self.name, str(error), code="SecretMissing") from error
        except SecretError as error:
            raise Unavailable(self.name, str(error)) from error
        certificate, key = self._part(data, keypair.CERTIFICATE), self._part(data, keypair.KEY)
        pair = await self._pair(certificate, key, data.get(keypair.ROOTS, b""))
        if isinstance(pair, str):
            raise Unauthorized(self.name, f"{self._where}: key {pair}", code="SecretInvalid")
        digest = hashlib.sha256(certificate).hexdigest()[:12]
        return CASession(
            authority=self.name,
            where=self._where,
            account=f"ca:{namespace}/{self._secret}:{digest}",
            pair=pair,
            context=self._context,
        )

    async def aclose(self) -> None:
        """Nothing is open."""

    @property
    def _where(self) -> str:
        return f"Secret {self._context.namespace}/{self._secret}"

    def _part(self, data: Mapping[str, bytes], key: str) -> bytes:
        value = data.get(key, b"")
        if not value.strip():
            problem = f"{self._where}: key {key} is {'empty' if key in data else 'missing'}"
            raise Unauthorized(self.name, problem, code="SecretIncomplete")
        return value

    async def _pair(self, *parts: bytes) -> KeyPair | str:
        """The parsed key pair, or what is wrong with it, remembered for this content of the Secret."""
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
        async with self._reading:
            if digest != self._digest:
                # Off the loop: the primes of an RSA key are checked when it is read.
                self._read = await asyncio.to_thread(_load, *parts)
                self._digest = digest
            return self._read


@dataclass(frozen=True, slots=True, kw_only=True)
class CASession:
    """The authority with its key pair at hand.

    Attributes:
        authority: its name in the issuer.
        where: the Secret, for messages.
        account: the Secret and a digest of its certificate.
        pair: the key pair.
        context: for the clock.
    """

    authority: str
    where: str
    account: str
    pair: KeyPair
    context: AuthorityContext = dataclasses.field(repr=False)

    @property
    def roots(self) -> bytes:
        """What its Secret tells to trust."""
        return to_pem((self._pair(self.context.now()).anchor,))

    async def sign(self, order: SigningOrder, timeouts: CallTimeouts) -> Signed:  # noqa: ARG002 - nothing is waited for
        """Sign the order, off the event loop when the key is RSA.

        Raises:
            Unavailable: the CA, or one above it, has expired or is not valid yet.
            Unsupported: a usage is unknown, or is for CAs only; the CA's name constraints forbid a name, or a path
                length another CA; or less than half of the duration could be granted, and another authority follows.
            Rejected: the CSR holds something that cannot be put into a certificate.
        """
        if self.pair.is_slow:
            return await asyncio.to_thread(self._sign, order)
        return self._sign(order)

    async def find(
        self,
        order: SigningOrder,  # noqa: ARG002
        timeouts: CallTimeouts,  # noqa: ARG002
        *,
        since: float,  # noqa: ARG002
    ) -> AsyncGenerator[Signed, None]:
        """Nothing: what was signed is nowhere but in the answer."""
        nothing: tuple[Signed, ...] = ()
        for signed in nothing:
            yield signed

    async def revoke(self, handle: str, timeouts: CallTimeouts) -> None:
        """Nothing to revoke at: there is no record of what was signed."""

    async def check(self, timeouts: CallTimeouts) -> None:  # noqa: ARG002 - nothing is waited for
        """Whether it could sign now, and for long enough; the key pair itself was checked when it was read.

        Raises:
            Unavailable: as `sign`, or the CA ends so soon that it should be renewed.
        """
        now = self.context.now()
        pair = self._pair(now)
        self._end(pair, now, USUAL_DURATION)
        first, left = pair.first_to_end, pair.ends - now
        if left < _renewal_time(first.not_valid_after_utc - first.not_valid_before_utc):
            raise Unavailable(
                self.authority,
                f"{self.where}: {_ending(pair)} (in {_rounded(left)}), before a usual certificate "
                f"({USUAL_DURATION.days}d) would; renew it",
            )

    def _sign(self, order: SigningOrder) -> Signed:
        now = self.context.now().replace(microsecond=0)
        pair = self._pair(now)
        # Not dated back: cert-manager's CA issuer does not, and notAfter - notBefore is the duration.
        begin = max(now, pair.begins)
        end = self._end(pair, now, order.duration)
        if self.context.followed and end - now < order.duration / 2:
            raise Unsupported(
                self.authority,
                f"{self.where}: {_ending(pair)}, before half of the {_rounded(order.duration)} that are asked for; "
                "renew it",
                for_now=True,
            )
        if problem := constraints.violation(order.csr, pair.chain):
            raise Unsupported(self.authority, f"{self.where}: {problem}")
        if order.csr.is_ca and (problem := pair.obstacle_below()):
            raise Unsupported(self.authority, f"{self.where}: {problem}")
        try:
            leaf = issue(
                pair,
                order.csr,
                usages.extensions(order.usages, order.csr.key_type, is_ca=order.csr.is_ca),
                not_before=begin,
                not_after=end,
            )
        except UnsupportedUsageError as error:
            raise Unsupported(self.authority, f"spec.usages: {error}") from error
        except InvalidRequestError as error:
            raise Rejected(self.authority, str(error)) from error
        return Signed(
            chain=to_pem((leaf, *pair.intermediates)),
            ca=to_pem((pair.anchor,)),
            promised=end - now,
        )

    def _pair(self, now: datetime) -> KeyPair:
        return self.pair.at(now, now + ROOT_LEFT)

    def _end(self, pair: KeyPair, now: datetime, duration: timedelta) -> datetime:
        """When a certificate signed now must end."""
        begins, ends = pair.begins, pair.ends
        if begins > now + CLOCK_SKEW:
            raise Unavailable(self.authority, f"{self.where}: the CA is not valid before {begins:%Y-%m-%dT%H:%M:%SZ}")
        if ends - now < min(LEAST_LEFT, duration):
            raise Unavailable(self.authority, f"{self.where}: {_ending(pair, expired=ends <= now)}; renew it")
        return min(max(now, begins) + duration, ends)


def _renewal_time(lifetime: timedelta) -> timedelta:
    """How long before its end a CA should be renewed: when it can no longer sign for the usual duration.

    But not before a third of its life is left, which is when cert-manager renews it by default.
    """
    return min(USUAL_DURATION, lifetime / 3)


def _ending(pair: KeyPair, *, expired: bool = False) -> str:
    """Which certificate ends first, and when."""
    first, verb = pair.first_to_end, "expired" if expired else "ends"
    above = "" if first is pair.certificate else f" {first.subject.rfc4514_string()[:100]!r} above the CA's own"
    return f"the CA certificate{above} {verb} at {first.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"


def _rounded(time: timedelta) -> str:
    """A time for a person, to the day or to the hour, so that the text does not change with every look."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600)):
        if count := int(time.total_seconds() // seconds):
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than an hour"


def _load(certificate: bytes, key: bytes, roots: bytes) -> KeyPair | str:
    """The key pair, or what is wrong. The error itself is not kept: its traceback would keep the key in memory."""
    try:
        return keypair.load(certificate, key, roots)
    except InvalidKeyPairError as error:
        return str(error)
