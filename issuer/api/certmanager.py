"""What the schema of cert-manager's Certificate tells of the version that is installed.

Whoever may talk to the API server may read its schemas. A default is not among what they say by field, since
cert-manager sets none of these there: it stands in the description (`pkg/apis/certmanager/v1/types_certificate.go`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OPENAPI: Final = "/openapi/v3/apis/cert-manager.io/v1"
"""Where the API server has the schemas of cert-manager's kinds."""
KIND: Final = "Certificate"
SINCE_1_9: Final = "literalSubject"
"""A field of a Certificate's specification that cert-manager has since 1.9."""


@dataclass(frozen=True, slots=True)
class CertManager:
    """What the schema of cert-manager's Certificate tells of its version.

    Attributes:
        too_old: it is older than 1.9.
        keeps_one: one request is kept for each Certificate unless it says more (from 1.18 on).
        keeps_keys: a key is used again with each renewal unless the Certificate says otherwise (before 1.18).
    """

    too_old: bool = False
    keeps_one: bool = False
    keeps_keys: bool = False


def cert_manager(document: Mapping[str, Any] | None) -> CertManager | None:
    """What the document says that the API server has at `OPENAPI`; None if it knows no Certificate."""
    for schema in _within(document, "components", "schemas").values():
        kinds = schema.get("x-kubernetes-group-version-kind") if isinstance(schema, dict) else None
        if isinstance(kinds, list) and any(isinstance(one, dict) and one.get("kind") == KIND for one in kinds):
            spec = _within(schema, "properties", "spec", "properties")
            return CertManager(
                too_old="secretName" in spec and SINCE_1_9 not in spec,
                keeps_one="Default value is `1`" in _told(spec, "revisionHistoryLimit"),
                keeps_keys="Default is 'Never'" in _told(spec, "privateKey", "properties", "rotationPolicy"),
            )
    return None


def _told(spec: Mapping[str, Any], *path: str) -> str:
    """The description of a field in one line; older versions have other quotation marks."""
    text = " ".join(str(_within(spec, *path).get("description", "")).split())
    return text.replace("`Never`", "'Never'")


def _within(value: Any, *path: str) -> Mapping[str, Any]:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
