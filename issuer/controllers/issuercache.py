"""The book of issuers: for each CDNIssuer and CDNClusterIssuer the plan that the failover engine follows.

A plan is built from the object in the cache when it is first asked for, and again when the object's generation or UID
changes. A request that is being signed meanwhile keeps the plan it began with. Building needs no call, so a request
never waits for an issuer to be looked at first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509

from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, Cleanup, Failback, Issuer, Limits, Recovery
from issuer.api.meta import ObjectKey
from issuer.api.secret import SecretError, SecretMissingError
from issuer.api.spec import InvalidSpecError, parse, unknown_fields
from issuer.authorities import registry
from issuer.authorities.errors import Unauthorized, Unavailable
from issuer.controllers.decision import KINDS, IssuerView
from issuer.pki.certificate import InvalidCertificateError, load_bundle
from issuer.signing.observer import AccountUser
from issuer.signing.plan import IssuerPlan, PlannedAuthority

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from issuer.api.issuer import AuthoritySpec, Rehearsal, SecretKeyReference
    from issuer.api.request import IssuerRef
    from issuer.authorities.base import AuthorityContext

Roots = Callable[[], Awaitable[tuple[x509.Certificate, ...]]]

UNLIMITED: Final = Limits(requests_per_second=10_000, burst=10_000, in_flight=1_000)
MOST_DEADLINES: Final = 20_000
"""Issuers whose last deadline is remembered."""


@dataclass(frozen=True, slots=True)
class IssuerId:
    """Which issuer: its kind, and where it is."""

    kind: str
    key: ObjectKey

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"

    @property
    def fields(self) -> dict[str, str]:
        """For a log line; without a namespace where it has none."""
        return AccountUser("", self.kind, str(self.key)).fields

    @classmethod
    def of(cls, kind: str, key: str) -> IssuerId:
        """As the engine names it: `key` is what `str` says of an `ObjectKey`."""
        namespace, _, name = key.rpartition("/")
        return cls(kind, ObjectKey(namespace, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedIssuer:
    """One issuer in the book; without a plan if its specification is nonsense."""

    id: IssuerId
    uid: str
    generation: int
    view: IssuerView
    plan: IssuerPlan | None
    rehearsal: Rehearsal | None = None
    recovery: Recovery = Recovery()  # noqa: RUF009 - frozen
    failback: Failback = Failback()  # noqa: RUF009 - frozen
    cleanup: Cleanup = Cleanup()  # noqa: RUF009 - frozen
    kinds: frozenset[str] = frozenset()
    """Of its authorities."""


class IssuerCache:
    """Plans by issuer, kept until the object changes.

    Args:
        lookup: finds the object of a kind in the cache.
        context: what authorities are given; its namespace is replaced by the issuer's own.
        cluster_namespace: where the Secrets of a CDNClusterIssuer are.
        unreadable: why an issuer that exists cannot be read; None if it can, or does not exist.
    """

    def __init__(
        self,
        lookup: Mapping[str, Callable[[ObjectKey], Issuer | None]],
        context: AuthorityContext,
        cluster_namespace: str,
        unreadable: Callable[[IssuerId], str | None] = lambda _: None,
    ) -> None:
        self._lookup = lookup
        self._unreadable = unreadable
        self._context = context
        self._cluster_namespace = cluster_namespace
        self._entries: dict[IssuerId, CachedIssuer] = {}
        self._deadlines: OrderedDict[IssuerId, float] = OrderedDict()
        """The last that could be read of each issuer, also of those that are gone or nonsense now."""

    def find(self, id_: IssuerId) -> CachedIssuer | None:
        """The entry of an issuer, or None if it does not exist."""
        found = self._lookup[id_.kind](id_.key) if id_.kind in self._lookup else None
        if found is None:
            return self._misread(id_)
        known = self._entries.get(id_)
        if known and (known.uid, known.generation) == (found.metadata.uid, found.metadata.generation):
            return known
        entry = self._entries[id_] = self._build(id_, found)
        return entry

    def deadline(self, id_: IssuerId) -> float | None:
        """The deadline, in seconds, that an issuer had when it could last be read; None if it never could."""
        return self._deadlines.get(id_)

    def serves(self, ref: IssuerRef) -> bool:
        """Whether a reference is this installation's to answer: an issuer that it serves, or no kind that we have.

        A kind of ours that is not served here (`--no-cluster-issuers`) is another installation's.
        """
        return ref.group == GROUP and (ref.kind in self._lookup or ref.kind not in KINDS)

    def drop(self, id_: IssuerId) -> CachedIssuer | None:
        """Take out the entry of an issuer that is gone, if it was ever asked for."""
        return self._entries.pop(id_, None)

    def entries(self) -> Iterable[CachedIssuer]:
        """All entries that were asked for and still exist."""
        return tuple(self._entries.values())

    def _misread(self, id_: IssuerId) -> CachedIssuer | None:
        """An issuer that is there and cannot be read, which is not the same as one that is not there."""
        why = self._unreadable(id_)
        if why is None:
            return None
        view = IssuerView(title=str(id_), problem=f"it exists, but cannot be read: {why}")
        return CachedIssuer(id=id_, uid="", generation=-1, view=view, plan=None)

    def _build(self, id_: IssuerId, issuer: Issuer) -> CachedIssuer:
        context = replace(
            self._context,
            namespace=issuer.metadata.namespace or self._cluster_namespace,
            issuer=str(id_),
            serves_all=not issuer.metadata.namespace,
        )
        plan, view = None, IssuerView(title=str(id_))
        rehearsal, recovery, failback, cleanup = None, Recovery(), Failback(), Cleanup()
        kinds: frozenset[str] = frozenset()
        try:
            spec = parse(issuer.spec, registry.KINDS)
            plan = IssuerPlan(
                key=id_.key,
                kind=id_.kind,
                authorities=tuple(
                    _planned(authority, replace(context, followed=position < len(spec.authorities)))
                    for position, authority in enumerate(spec.authorities, start=1)
                ),
                failover_on=frozenset(spec.failover.on),
                trusts_all=spec.trust == "All",
                deadline=spec.deadline.seconds,
            )
        except InvalidSpecError as error:
            view = replace(view, problem=str(error))
        else:
            rehearsal = spec.rehearsal
            recovery, failback, cleanup = spec.recovery, spec.failback, spec.cleanup
            kinds = frozenset(authority.kind for authority in spec.authorities)
            self._deadlines[id_] = spec.deadline.seconds
            self._deadlines.move_to_end(id_)
            if len(self._deadlines) > MOST_DEADLINES:
                self._deadlines.popitem(last=False)
            names = tuple(authority.name for authority in spec.authorities)
            ignored = (*spec.ignored, *(path for one in spec.authorities for path in _unknown_config(one)))
            view = replace(
                view,
                deadline=spec.deadline.seconds,
                authorities=names,
                ignored=ignored,
                without_effect=spec.without_effect,
            )
        meta = issuer.metadata
        return CachedIssuer(
            id=id_,
            uid=meta.uid,
            generation=meta.generation,
            view=view,
            plan=plan,
            rehearsal=rehearsal,
            recovery=recovery,
            failback=failback,
            cleanup=cleanup,
            kinds=kinds,
        )


def issuer_id(ref: IssuerRef, namespace: str) -> IssuerId:
    """Which issuer a reference in a namespace means."""
    return IssuerId(ref.kind, ObjectKey("" if ref.kind == CLUSTER_ISSUER_KIND else namespace, ref.name))


def _unknown_config(spec: AuthoritySpec) -> tuple[str, ...]:
    config = msgspec.json.decode(spec.config)
    return unknown_fields(config, registry.KINDS[spec.kind].Config, f"spec.authorities[name={spec.name}].{spec.kind}")


def _planned(spec: AuthoritySpec, context: AuthorityContext) -> PlannedAuthority:
    authority = registry.build(spec, context)
    common = spec.common if authority.is_remote else msgspec.structs.replace(spec.common, limits=UNLIMITED)
    return PlannedAuthority(authority=authority, common=common, roots=_roots(spec, context))


def _roots(spec: AuthoritySpec, context: AuthorityContext) -> Roots:
    """Where the roots of an authority come from: its specification, a Secret, or nowhere.

    Raises:
        InvalidSpecError: caBundle holds no certificates.
    """
    if reference := spec.common.ca_bundle_secret_ref:
        return _roots_of_secret(spec.name, reference, context)
    inline: tuple[x509.Certificate, ...] = ()
    if spec.common.ca_bundle:
        try:
            inline = load_bundle(spec.common.ca_bundle)
        except InvalidCertificateError as error:
            raise InvalidSpecError(f"spec.authorities[name={spec.name}].caBundle: {error}") from None

    async def configured() -> tuple[x509.Certificate, ...]:
        return inline

    return configured


def _roots_of_secret(authority: str, reference: SecretKeyReference, context: AuthorityContext) -> Roots:
    where = f"key {reference.key} of Secret {context.namespace}/{reference.name}"

    async def read() -> tuple[x509.Certificate, ...]:
        try:
            data = await context.secrets.read(context.namespace, reference.name)
            return load_bundle(data[reference.key])
        except SecretMissingError as error:
            raise Unauthorized(authority, f"caBundleSecretRef: {error}", code="SecretMissing") from error
        except SecretError as error:
            raise Unavailable(authority, f"caBundleSecretRef: {error}") from None
        except KeyError:
            raise Unauthorized(
                authority, f"caBundleSecretRef: {where} does not exist", code="SecretIncomplete"
            ) from None
        except InvalidCertificateError as error:
            raise Unauthorized(authority, f"caBundleSecretRef: {where}: {error}", code="SecretInvalid") from None

    return read
