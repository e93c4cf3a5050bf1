"""The schema of cert-manager's CertificateRequest, written down from what its API documents.

It takes what the CRD of cert-manager 1.18 and later takes, and refuses what that refuses: wrong types and formats,
unknown usages, conditions without type or status. The other kinds of cert-manager have no schema here.
"""

from __future__ import annotations

from typing import Any, Final

from issuer.sandbox.cluster.builtin import FLAG, TEXT, TIME

Schema = dict[str, Any]

BYTES: Final[Schema] = {"type": "string", "format": "byte"}
USAGES: Final = (
    *("signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment"),
    *("cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing"),
    *("email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing"),
    *("microsoft sgc", "netscape sgc"),
)

CERTIFICATE_REQUEST: Final[Schema] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["issuerRef", "request"],
            "properties": {
                "duration": TEXT,
                "extra": {"type": "object", "additionalProperties": {"type": "array", "items": TEXT}},
                "groups": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "atomic"},
                "isCA": FLAG,
                "issuerRef": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"group": TEXT, "kind": TEXT, "name": TEXT},
                },
                "request": BYTES,
                "uid": TEXT,
                "usages": {"type": "array", "items": {"type": "string", "enum": list(USAGES)}},
                "username": TEXT,
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "ca": BYTES,
                "certificate": BYTES,
                "conditions": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                    "items": {
                        "type": "object",
                        "required": ["status", "type"],
                        "properties": {
                            "lastTransitionTime": TIME,
                            "message": TEXT,
                            "reason": TEXT,
                            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                            "type": TEXT,
                        },
                    },
                },
                "failureTime": TIME,
            },
        },
    },
}
