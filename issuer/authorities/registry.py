"""The kinds of authority there are. A new kind is one module and one line here (docs/authorities.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from issuer.authorities import ca, cloudflare, issuerref

if TYPE_CHECKING:
    import msgspec

    from issuer.api.issuer import AuthoritySpec
    from issuer.authorities.base import Authority, AuthorityContext


class Kind(Protocol):
    """What the module of a kind offers."""

    @property
    def Config(self) -> type[msgspec.Struct]:  # noqa: N802 - it is a class
        """The configuration, with descriptions and bounds; it becomes part of the CRD."""
        ...

    @property
    def build(self) -> Builder:
        """Makes the authority."""
        ...


class Builder(Protocol):
    """Makes an authority from its specification."""

    def __call__(self, spec: AuthoritySpec, context: AuthorityContext) -> Authority:
        """Make it.

        Raises:
            InvalidSpecError: its configuration is nonsense.
        """
        ...


KINDS: Final[dict[str, Kind]] = {
    "cloudflare": cloudflare,
    "ca": ca,
    "issuerRef": issuerref,
}


def configs() -> dict[str, type[msgspec.Struct]]:
    """The configuration of each kind, for the CRDs."""
    return {name: kind.Config for name, kind in KINDS.items()}


def build(spec: AuthoritySpec, context: AuthorityContext) -> Authority:
    """Make the authority that one entry of an issuer's list describes.

    Raises:
        InvalidSpecError: its configuration is nonsense.
    """
    return KINDS[spec.kind].build(spec, context)
