"""What is asked of an authority for a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from issuer.authorities.base import SigningOrder

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from issuer.controllers.port import Request
    from issuer.pki.csr import SigningRequest


def make_order(request: Request, csr: SigningRequest, duration: timedelta, created: datetime) -> SigningOrder:
    """The order for a request; `created`: what counts as its creation if the object tells none."""
    meta = request.metadata
    return SigningOrder(
        uid=meta.uid,
        namespace=meta.namespace,
        name=meta.name,
        created=meta.created or created,
        csr=csr,
        duration=duration,
        usages=request.usages,
        parent=request.type_meta,
        key_secret=request.key_secret,
    )
