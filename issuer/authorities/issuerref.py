"""Another issuer of the cluster: any that answers cert-manager's CertificateRequests.

It is asked by a request of its own, the child: the same CSR, duration and usages, in the namespace of the request,
which owns it. So a fallback is built of what is there: two ACME issuers, one behind a CDN's CA, a CA behind Vault.

    nobody has asked yet       the child is made: InProgress, until the watch says that it has ended
    issued                     its certificate and CA, verified as of any authority
    Denied, InvalidRequest     Rejected: an approver's or the issuer's word on the request itself
    Failed                     Unavailable, with its message; it is deleted, so that the next turn makes a new one. No
                               breaker counts it: many issuers refuse a name that way
    not approved               Unavailable after `APPROVAL` seconds: the approver lacks the right for that signer
    the turn is over           it is deleted as it was looked at, or adopted if it was issued a moment ago

The name of a child comes from the UID of the request and the name of the authority, so a restart and another replica
find it. cert-manager's annotations of the request are not copied, so its controllers take the child for nobody's
Certificate; but for the name of the Secret with the private key, which its SelfSigned issuer reads.

Nobody approves a child but the cluster's approver: what a policy forbids in a namespace it forbids here as well. An
issuer of our own group is refused, since two of them could name each other.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta, Struct

from issuer.api import request as api
from issuer.api.condition import TRUE
from issuer.api.duration import human
from issuer.api.fields import refused
from issuer.api.issuer import GROUP, MAX_NAME
from issuer.api.request import IssuerRef
from issuer.api.spec import decode_config
from issuer.authorities.base import Signed
from issuer.authorities.delegation import ChangedError, DelegationError, MissingRightError, RefusedError
from issuer.authorities.errors import InProgress, IssuerUnusable, Rejected, Unauthorized, Unavailable, UnavailableHere

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from issuer.api.issuer import AuthoritySpec
    from issuer.api.meta import ObjectMeta
    from issuer.api.request import CertificateRequest
    from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder
    from issuer.authorities.delegation import Delegation

AUTHORITY_LABEL: Final = f"{GROUP}/authority"
"""On each child: the name of the authority. What has it is a child."""
PARENT_ANNOTATION: Final = f"{GROUP}/request"
"""On each child: kind, namespace and name of the request that it was made for."""
ISSUER_ANNOTATION: Final = f"{GROUP}/issuer"
"""On each child: our issuer."""
APPROVAL: Final = timedelta(seconds=30)
"""In which a child must be approved; cert-manager's own approver takes a moment."""
UNAPPROVED: Final = timedelta(seconds=5)
"""After which it is said that a child is not approved."""
LOOK_AGAIN: Final = 30.0
"""Seconds until a child is looked at again if no watch tells of it before."""
MOST_SPENT: Final = 10_000
"""Children whose certificate was handed out, as far as they are remembered."""
_NAME: Final = re.compile(r"[^a-z0-9.-]+")
_LONGEST_STEM: Final = 200


class Config(Struct, frozen=True):
    """Any other issuer of the cluster, asked by a CertificateRequest. Not one of cdn-issuer.io."""

    name: Annotated[str, Meta(description="Name of the issuer.", min_length=1, max_length=MAX_NAME)]
    kind: Annotated[
        str,
        Meta(
            description="Kind of the issuer. One of a namespaced kind is looked for in the namespace of the request.",
            min_length=1,
            max_length=63,
        ),
    ] = "Issuer"
    group: Annotated[
        str,
        Meta(
            description="API group of the issuer.",
            min_length=1,
            max_length=MAX_NAME,
            extra=refused(GROUP, "an issuer of cdn-issuer.io cannot be an authority of another one"),
        ),
    ] = "cert-manager.io"


def build(spec: AuthoritySpec, context: AuthorityContext) -> IssuerRefAuthority:
    """Make the authority from its specification.

    Raises:
        InvalidSpecError: its configuration is nonsense.
    """
    config = decode_config(spec.config, Config, f"spec.authorities.{spec.name}.issuerRef")
    ref = IssuerRef(config.name, config.kind, config.group)
    return IssuerRefAuthority(spec.name, ref, timedelta(seconds=spec.common.timeouts.turn.seconds), context)


class IssuerRefAuthority:
    """One `issuerRef` entry of an issuer.

    Args:
        turn: how long a child has from when it was made.
    """

    is_remote: Final = True
    remembers: Final = False

    def __init__(self, name: str, ref: IssuerRef, turn: timedelta, context: AuthorityContext) -> None:
        self.name: Final = name
        self._ref = ref
        self._turn = turn
        self._context = context
        self._spent: OrderedDict[str, None] = OrderedDict()

    def supports(self, order: SigningOrder) -> None:
        """Nothing is known beforehand of what another issuer signs."""

    async def session(self, *, fresh: bool = False) -> IssuerRefSession:
        """See whether the issuer is there and ready.

        Raises:
            IssuerUnusable: it is not, or asking other issuers is switched off.
            Unavailable: the Kubernetes API did not answer.
        """
        context, ref = self._context, self._ref
        delegation = context.delegation
        if delegation is None:
            message = f"{told(ref)} cannot be asked: authorities of kind issuerRef are switched off (--no-issuer-refs)"
            raise IssuerUnusable(self.name, message, state="IssuerNotFound")
        namespace = "" if context.serves_all else context.namespace
        try:
            found = await delegation.issuer(ref, namespace, fresh=fresh)
        except DelegationError as error:
            raise Unavailable(self.name, str(error)) from None
        if found.problem:
            raise IssuerUnusable(self.name, found.message, state=found.problem)
        where = f"{namespace}/" if found.is_namespaced else ""
        return IssuerRefSession(
            authority=self.name,
            account=f"issuerRef:{ref.group}/{ref.kind}/{where}{ref.name}",
            ref=ref,
            turn=self._turn,
            differs=found.is_namespaced and context.serves_all,
            delegation=delegation,
            context=context,
            spent=self._spent,
            doubt=found.doubt,
        )

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRefSession:
    """The authority, with an issuer that was ready a moment ago.

    Attributes:
        authority: its name in the issuer.
        account: the issuer that is asked.
        ref: the same.
        turn: how long a child has.
        differs: each namespace has an issuer of its own by that name.
        delegation: asks it.
        context: for the clock.
        spent: UIDs of children whose certificate was handed out. One that is met again was not good.
        doubt: why the issuer may not be ready after all; empty if nothing is known against it.
    """

    authority: str
    account: str
    ref: IssuerRef
    turn: timedelta
    differs: bool
    delegation: Delegation = field(repr=False)
    context: AuthorityContext = field(repr=False)
    spent: OrderedDict[str, None] = field(repr=False)
    doubt: str = ""

    @property
    def roots(self) -> bytes:
        """Not known before it has signed."""
        return b""

    async def sign(self, order: SigningOrder, timeouts: CallTimeouts) -> Signed:  # noqa: ARG002 - no call to a provider
        """Make the child, or see what has come of it.

        Raises:
            InProgress: it has not ended.
            Rejected: an approver denied it, or the issuer marked it as invalid.
            UnavailableHere: the namespace has no such issuer that is ready, or the child is not taken there.
            Unauthorized: we may make no CertificateRequests.
            Unavailable: it failed, was not approved or did not end in its turn; or the API server did not answer.
        """
        namespace = order.namespace or self.context.namespace
        try:
            if self.differs:
                await self._require(namespace)
            child = await self.delegation.read(namespace, child_name(order, self.authority))
            if child is None:
                child = await self._create(order, namespace)
            elif not is_of(child, order, self.ref):
                raise self._unavailable(child, "is not the one that was made for this request; delete it")
            return await self._judge(child)
        except MissingRightError as error:
            raise Unauthorized(self.authority, str(error), code="MissingRight") from None
        except RefusedError as error:
            raise UnavailableHere(self.authority, f"a CertificateRequest for {told(self.ref)}: {error}") from None
        except DelegationError as error:
            # It is the API server that did not answer, and not the issuer.
            raise Unavailable(
                self.authority, str(error), again=not isinstance(error, ChangedError), counts=False
            ) from None

    async def find(
        self,
        order: SigningOrder,  # noqa: ARG002
        timeouts: CallTimeouts,  # noqa: ARG002
        *,
        since: float,  # noqa: ARG002
    ) -> AsyncGenerator[Signed, None]:
        """Nothing: `sign` itself finds the child again."""
        nothing: tuple[Signed, ...] = ()
        for signed in nothing:
            yield signed

    async def revoke(self, handle: str, timeouts: CallTimeouts) -> None:
        """cert-manager has no way to revoke what an issuer has signed."""

    async def check(self, timeouts: CallTimeouts) -> None:  # noqa: ARG002 - no call to a provider
        """Whether it is ready was seen when the session was opened.

        Raises:
            Unavailable: it has not said so yet. It is asked all the same, and looked at again soon.
        """
        if self.doubt:
            raise Unavailable(self.authority, self.doubt)

    async def _require(self, namespace: str) -> None:
        """Raises UnavailableHere: the issuer of this namespace is not there, or not ready."""
        found = await self.delegation.issuer(self.ref, namespace)
        if found.problem:
            raise UnavailableHere(self.authority, found.message)

    async def _create(self, order: SigningOrder, namespace: str) -> CertificateRequest:
        manifest = child_of(order, self.authority, self.ref, namespace, self.context.issuer)
        try:
            return await self.delegation.create(namespace, manifest)
        except ChangedError:
            child = await self.delegation.read(namespace, child_name(order, self.authority))
            if child is None:
                raise
            return child

    async def _judge(self, child: CertificateRequest) -> Signed:
        ready = child.ready
        if child.is_denied or (ready is not None and ready.reason == api.REASON_DENIED):
            raise Rejected(self.authority, f"{_named(child)} was denied: {child.denial or child.told}")
        if child.is_invalid:
            raise Rejected(self.authority, f"{_named(child)} was marked as invalid: {child.invalidity or child.told}")
        if ready is not None and ready.status == TRUE:
            return await self._signed(child)
        if child.has_failed:
            await self.delegation.delete(child.metadata)
            # It has answered: it may be down behind that, or not like this request. Neither is told, so other requests
            # are not kept from it.
            raise self._unavailable(child, f"failed: {child.told}", counts=False)
        age = self.context.now() - (child.metadata.created or self.context.now())
        said = f"waits: {child.told}" if child.told else "waits; the issuer has not said anything"
        if not child.is_approved and age >= UNAPPROVED:
            said = f"is not approved; its approver needs the right to approve for the signer {signer(self.ref)}"
        if age >= self.turn:
            return await self._give_up(child, f"has not ended within {human(self.turn.total_seconds())}; it {said}")
        if age >= APPROVAL and not child.is_approved:
            return await self._give_up(child, said)
        is_late = not child.is_approved and age >= UNAPPROVED
        until = self.turn if child.is_approved else min(self.turn, APPROVAL if is_late else UNAPPROVED)
        raise InProgress(
            self.authority,
            f"{_named(child)} {said}",
            since=child.metadata.created or self.context.now(),
            look_again_in=max(0.1, min(LOOK_AGAIN, (until - age).total_seconds())),
            code="NotApproved" if is_late else None,
        )

    async def _give_up(self, child: CertificateRequest, why: str) -> Signed:
        """Delete the child, unless it was issued a moment ago."""
        meta = child.metadata
        try:
            await self.delegation.delete(meta)
        except ChangedError:
            latest = await self.delegation.read(meta.namespace, meta.name)
            if latest is not None and latest.ready is not None and latest.ready.status == TRUE:
                return await self._signed(latest)
        raise self._unavailable(child, why)

    async def _signed(self, child: CertificateRequest) -> Signed:
        """What it has received. If this is asked for again, what was handed out before was refused."""
        uid = child.metadata.uid
        chain, ca = _decoded(child.status.certificate), _decoded(child.status.ca)
        if uid in self.spent or not chain:
            await self.delegation.delete(child.metadata)
            raise self._unavailable(child, "has a certificate that is no good; another one is made in the next turn")
        self.spent[uid] = None
        if len(self.spent) > MOST_SPENT:
            self.spent.popitem(last=False)
        return Signed(chain=chain, ca=ca, promised=timedelta(0))

    def _unavailable(self, child: CertificateRequest, what: str, *, counts: bool = True) -> Unavailable:
        return Unavailable(self.authority, f"{_named(child)} {what}", again=False, counts=counts)


def child_name(order: SigningOrder, authority: str) -> str:
    """The name of the child: for a reader the request's, and what tells it from all others."""
    digest = hashlib.sha256(f"{order.uid}/{authority}".encode()).hexdigest()[:16]
    stem = _NAME.sub("-", order.name.lower())[:_LONGEST_STEM].strip(".-")
    return f"{stem}-{digest}" if stem else digest


def child_of(order: SigningOrder, authority: str, ref: IssuerRef, namespace: str, issuer: str) -> dict[str, Any]:
    """The manifest of a child."""
    metadata: dict[str, Any] = {
        "name": child_name(order, authority),
        "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": "cdn-issuer", AUTHORITY_LABEL: authority},
        "annotations": {ISSUER_ANNOTATION: issuer},
    }
    if order.parent is not None:
        api_version, kind = order.parent
        owner = {"apiVersion": api_version, "kind": kind, "name": order.name, "uid": order.uid}
        metadata["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": False}]
        metadata["annotations"][PARENT_ANNOTATION] = f"{kind} {order.namespace}/{order.name}"
    if order.key_secret:
        metadata["annotations"][api.KEY_SECRET_ANNOTATION] = order.key_secret
    spec: dict[str, Any] = {
        "issuerRef": {"group": ref.group, "kind": ref.kind, "name": ref.name},
        "request": b64encode(order.csr.pem).decode(),
        "duration": f"{round(order.duration.total_seconds())}s",
        "isCA": order.csr.is_ca,
    }
    if order.usages:
        spec["usages"] = list(order.usages)
    return {"apiVersion": f"{api.GROUP}/{api.VERSION}", "kind": api.KIND, "metadata": metadata, "spec": spec}


def is_of(child: CertificateRequest, order: SigningOrder, ref: IssuerRef) -> bool:
    """Whether a request is the child of an order: anybody may make one of that name."""
    owners = {owner.uid for owner in child.metadata.owner_references}
    has_owner = order.uid in owners if order.parent is not None else not owners
    return has_owner and child.issuer_ref == ref and _decoded(child.encoded_csr) == order.csr.pem


def signer(ref: IssuerRef) -> str:
    """The name for which an approver needs the right to approve: resource and group of the issuer's kind."""
    return f"{ref.kind.lower()}s.{ref.group}/*"


def told(ref: IssuerRef) -> str:
    """An issuer, for a person."""
    return f"{ref.kind}.{ref.group} {ref.name}"


def _named(child: CertificateRequest) -> str:
    meta: ObjectMeta = child.metadata
    return f"CertificateRequest {meta.namespace}/{meta.name} of {told(child.issuer_ref)}"


def _decoded(text: str | None) -> bytes:
    try:
        return b64decode(text) if text else b""
    except ValueError:
        return b""
