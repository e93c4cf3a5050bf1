"""Turning the mock's knobs while it runs: `/admin/...`, JSON in and out, no authentication. For a sandbox on loopback.

GET    /admin/faults            what is switched on
PUT    /admin/faults            one fault or a list of them, in place of all others
POST   /admin/faults            one fault, beside the others
DELETE /admin/faults            none
GET    /admin/state             calls, hits of faults, certificates without their PEM
GET    /admin/roots             the roots, PEM
PUT    /admin/tokens            {"token": "...", "status": "active" | "disabled" | "expired" | "deleted"}
PUT    /admin/zones             {"domain": "example.com"}
PUT    /admin/latency           {"seconds": 0.05}
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from issuer.sandbox.cdn.answers import Answer
from issuer.sandbox.cdn.faults import Fault, FaultKind
from issuer.sandbox.cdn.ledger import Token

if TYPE_CHECKING:
    from issuer.sandbox.cdn.server import MockCDN


class TokenSetting(msgspec.Struct, forbid_unknown_fields=True):
    """What becomes of a token; one that is not known yet is made."""

    token: str
    status: Literal["active", "disabled", "expired", "deleted"] = "active"


class ZoneSetting(msgspec.Struct, forbid_unknown_fields=True):
    """A zone to add."""

    domain: str


class LatencySetting(msgspec.Struct, forbid_unknown_fields=True):
    """How long every answer takes."""

    seconds: float


def answer(cdn: MockCDN, method: str, path: str, body: bytes) -> Answer:
    """Answer a call to the admin endpoint; `path` is what comes after `/admin`."""
    try:
        return _route(cdn, method, path, body)
    except (msgspec.MsgspecError, ValueError) as error:
        kinds = f"; the kinds of fault are {', '.join(FaultKind)}" if ".kind`" in str(error) else ""
        return _json(400, {"error": f"{error}{kinds}"})


def _route(cdn: MockCDN, method: str, path: str, body: bytes) -> Answer:
    match method, path:
        case "GET", "/faults":
            pass
        case "PUT", "/faults":
            faults = msgspec.json.decode(body, type=Fault | list[Fault])
            cdn.faults.replace(faults if isinstance(faults, list) else [faults])
        case "POST", "/faults":
            cdn.faults.add(msgspec.json.decode(body, type=Fault))
        case "DELETE", "/faults":
            cdn.faults.clear()
        case "GET", "/state":
            return _json(200, _state(cdn))
        case "GET", "/roots":
            return Answer(200, cdn.roots_pem.encode(), "application/x-pem-file")
        case "PUT", "/tokens":
            _set_token(cdn, msgspec.json.decode(body, type=TokenSetting))
            return _json(200, {})
        case "PUT", "/zones":
            return _json(200, {"id": cdn.ledger.add_zone(msgspec.json.decode(body, type=ZoneSetting).domain)})
        case "PUT", "/latency":
            cdn.latency = msgspec.json.decode(body, type=LatencySetting).seconds
            return _json(200, {})
        case _:
            return _json(404, {"error": f"no {method} {path} here; see issuer/sandbox/cdn/admin.py"})
    return _json(200, cdn.faults.active)


def _state(cdn: MockCDN) -> dict[str, Any]:
    return {
        "calls": cdn.calls,
        "hits": {kind.value: hits for kind, hits in cdn.faults.hits.items()},
        "duplicates": cdn.ledger.duplicates(),
        "certificates": [
            {
                "id": record.id,
                "hostnames": record.hostnames,
                "serial": f"{record.serial:x}",
                "key": hashlib.sha256(record.public_key).hexdigest(),
                "revoked": record.revoked,
            }
            for record in cdn.certificates.values()
        ],
    }


def _set_token(cdn: MockCDN, setting: TokenSetting) -> None:
    if setting.status == "deleted":
        cdn.tokens.pop(setting.token, None)
    else:
        cdn.tokens.setdefault(setting.token, Token()).status = setting.status


def _json(status: int, value: Any) -> Answer:
    return Answer(status, msgspec.json.encode(value))
