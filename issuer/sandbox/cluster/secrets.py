"""What the API server makes of a Secret before it is stored: `stringData` goes into `data`, the type has a default."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from issuer.sandbox.cluster.kinds import Manifest


def completed(secret: Manifest) -> Manifest:
    """A Secret as it is stored; values of `stringData` stand over those of `data`."""
    plain = secret.get("stringData") or {}
    data = dict(secret.get("data") or {})
    data |= {name: b64encode(str(text).encode()).decode() for name, text in plain.items()}
    rest = {name: value for name, value in secret.items() if name not in ("stringData", "data")}
    return {**rest, **({"data": data} if data else {}), "type": secret.get("type") or "Opaque"}
