"""Whose roots `status.ca` holds: of who signed, or with `spec.trust: All` of every authority of the issuer.

cert-manager writes `status.ca` to the Secret's `ca.crt`, and only when it issues. Clients that trust that file alone
refuse what another authority signs after a failover, and again what the first one signs once it is back. With the roots
of all authorities in it, both are trusted already. The signer's come first, as some read the first one only.

The certificate is there when this is asked, so nothing here may fail, or take long: an authority whose roots cannot be
read just now goes in with those that were read last.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from issuer.authorities.errors import AuthorityError
from issuer.pki.certificate import InvalidCertificateError, load_chain, to_pem
from issuer.signing.calls import bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from issuer.signing.context import EngineContext
    from issuer.signing.registry import AuthorityState

PATIENCE: Final = 2.0
"""Seconds for reading what is in Secrets; most of it is kept."""

log = structlog.get_logger(__name__)


async def roots_of_all(
    engine: EngineContext, signer: AuthorityState, signers: bytes, authorities: Sequence[AuthorityState]
) -> bytes:
    """The roots that the certificate meets, PEM, then the signer's others, then those of the others; each once.

    One that is Draining counts, since its certificates are still in use; one that is Disabled does not.
    """
    authorities = [one for one in authorities if one.planned.common.state != "Disabled"]
    until = engine.clock() + PATIENCE
    # What the guard raises while this process stops must not cost the certificate either.
    await asyncio.gather(*(_read(authority, until) for authority in authorities), return_exceptions=True)
    met = load_chain(signers) if signers.strip() else ()
    others = (root for authority in authorities if authority is not signer for root in authority.roots)
    return to_pem(dict.fromkeys((*met, *signer.roots, *others)))


async def _read(authority: AuthorityState, until: float) -> None:
    """Take note of an authority's roots: those that the issuer configures, else those that it knows itself."""
    planned = authority.planned
    try:
        async with bounded(planned, until):
            roots: Sequence[x509.Certificate] = await planned.roots()
            if not roots:
                known = (await planned.authority.session()).roots
                roots = load_chain(known) if known.strip() else ()
    except (AuthorityError, InvalidCertificateError) as error:
        log.info("its roots cannot be read", **authority.user.fields, error=str(error))
    else:
        authority.roots = tuple(roots)
