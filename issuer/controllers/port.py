"""What the controllers need of a request for a certificate, whatever Kubernetes calls it.

There are two kinds: cert-manager's CertificateRequest (`certificaterequests.py`) and Kubernetes' own
CertificateSigningRequest (`certificatesigningrequests.py`). Each is a struct with the properties of `Request` and a
`RequestKind` that says where it is and how a verdict is written to it. One of them is namespaced and the other is not,
so a key tells which it is of. Whoever decides, signs, delivers and reports sees no more than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from issuer.api.meta import ObjectMeta, TypeMeta
    from issuer.api.request import IssuerRef
    from issuer.controllers.decision import Verdict
    from issuer.kube.rbac import Rule
    from issuer.kube.resource import Resource


class Request(Protocol):
    """One request for one certificate; immutable. Every state that outlives a call is keyed by `metadata.uid`."""

    @property
    def metadata(self) -> ObjectMeta:
        """Who it is."""
        ...

    @property
    def issuer_ref(self) -> IssuerRef:
        """The issuer that is asked to sign."""
        ...

    @property
    def issuer_namespace(self) -> str:
        """Where that issuer is, if it is in a namespace."""
        ...

    @property
    def issuer_remedy(self) -> str:
        """What its author can do if that is the wrong one."""
        ...

    @property
    def encoded_csr(self) -> str:
        """The CSR as the API server holds it: base64 of PEM."""
        ...

    @property
    def wants_ca(self) -> bool:
        """Whether the certificate is to be one of a CA."""
        ...

    @property
    def duration(self) -> str | None:
        """How long it should live, as Go writes it; None: the default of its kind."""
        ...

    @property
    def duration_field(self) -> str:
        """What of it says so."""
        ...

    @property
    def usages(self) -> tuple[str, ...]:
        """cert-manager's names of the key usages; empty: its default."""
        ...

    @property
    def type_meta(self) -> TypeMeta:
        """What kind of object it is."""
        ...

    @property
    def key_secret(self) -> str | None:
        """Name of the Secret that holds its private key, where it tells it."""
        ...

    @property
    def authorities(self) -> str | None:
        """Names, separated by commas, of the authorities that may sign it; None: all of them."""
        ...

    @property
    def is_approved(self) -> bool:
        """Whether an approver has approved it."""
        ...

    @property
    def approval_remedy(self) -> str:
        """What it takes to have it approved."""
        ...

    @property
    def approved_at(self) -> datetime | None:
        """When; None if it is not approved."""
        ...

    @property
    def is_denied(self) -> bool:
        """Whether an approver has denied it."""
        ...

    @property
    def denial(self) -> str:
        """What the approver said; may be empty."""
        ...

    @property
    def is_invalid(self) -> bool:
        """Whether somebody else has marked it as invalid."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether it has reached its end; then nothing is written to it again."""
        ...

    @property
    def told(self) -> str:
        """What its status says of its state; empty if nobody has said anything."""
        ...

    @property
    def told_why(self) -> str:
        """What its status says that each authority came to, see `Pend.why`; empty if nothing was said of that."""
        ...


class RequestKind(Protocol):
    """A kind of requests: where they are, and how they are read and written."""

    @property
    def kind(self) -> str:
        """What its objects are called."""
        ...

    @property
    def resource(self) -> Resource:
        """Where they are."""
        ...

    @property
    def is_judged(self) -> bool:
        """Whether the API server reads the certificate itself: one that it does not take it never will."""
        ...

    @property
    def rules(self) -> Sequence[Rule]:
        """The rights that it takes to serve them."""
        ...

    def decode(self, raw: bytes) -> Request:
        """Read one.

        Raises:
            msgspec.MsgspecError: it is none.
        """
        ...

    def patch(self, request: Request, verdict: Verdict, now: datetime) -> bytes:
        """The merge patch of `/status` that writes a verdict to the version of the request that was decided on."""
        ...

    def certificate(self, request: Request) -> bytes | None:
        """The chain, PEM, that it has received."""
        ...

    def carries(self, request: Request, verdict: Verdict) -> bool:
        """Whether a finished request shows this very verdict: our own write, whose answer got lost."""
        ...
