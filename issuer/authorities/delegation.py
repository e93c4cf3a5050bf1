"""What an authority that stands for another issuer of the cluster needs of Kubernetes: a port.

The program puts calls to the API server behind it (`issuer.controllers.delegation`), tests put something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from issuer.api.meta import ObjectMeta
    from issuer.api.request import CertificateRequest, IssuerRef


class DelegationError(Exception):
    """The API server did not do what it was asked, or did not say; the text is for a person."""


class MissingRightError(DelegationError):
    """We lack a right, which the text names."""


class RefusedError(DelegationError):
    """The API server refuses the child: an admission policy, a quota, a field that it does not take."""


class ChangedError(DelegationError):
    """The child is no longer as it was looked at."""


@dataclass(frozen=True, slots=True)
class FoundIssuer:
    """What is known of an issuer that is named in a specification.

    Attributes:
        problem: what keeps it from signing; empty if nothing is known to.
        message: the problem for a person, with what to do about it.
        is_namespaced: there is one of that name in each namespace, or may be.
        doubt: why it may not be ready, for a person; it is asked all the same.
    """

    problem: Literal["", "IssuerNotFound", "IssuerNotReady"] = ""
    message: str = ""
    is_namespaced: bool = False
    doubt: str = ""


class Delegation(Protocol):
    """Asks other issuers of the cluster, by a CertificateRequest for each certificate: the child."""

    async def issuer(self, ref: IssuerRef, namespace: str, *, fresh: bool = False) -> FoundIssuer:
        """How an issuer is, at most some seconds old, or asked for now if `fresh`.

        Args:
            ref: which.
            namespace: where it is, if it is of a namespaced kind; empty: not known, so only the kind is looked for.
            fresh: do not take what was read a moment ago.

        Raises:
            DelegationError: the API server did not say.
        """
        ...

    async def read(self, namespace: str, name: str) -> CertificateRequest | None:
        """A child as it is now; None if there is none.

        Raises:
            DelegationError: the API server did not say.
        """
        ...

    async def create(self, namespace: str, manifest: dict[str, Any]) -> CertificateRequest:
        """Make a child.

        Raises:
            MissingRightError: we may not.
            RefusedError: this one is not taken.
            ChangedError: there is one of that name by now.
            DelegationError: the API server did not say; it may exist.
        """
        ...

    async def delete(self, meta: ObjectMeta) -> None:
        """Delete a child as it was looked at; one that is gone is no error.

        Raises:
            ChangedError: it has changed since.
            DelegationError: it was not deleted.
        """
        ...
