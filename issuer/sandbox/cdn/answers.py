"""The API's answers: from a request to a status and a body. Pure but for the ledger it reads and writes.

The texts are our own; codes and statuses are the documented ones where there are any.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from issuer.pki import lenient, pem
from issuer.sandbox.cdn.faults import SIGN_PATH, Fault, FaultKind
from issuer.sandbox.cdn.ledger import BACKDATED, IssuedCertificate, Ledger, Token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

VALIDITIES: Final = frozenset({7, 30, 90, 365, 730, 1095, 5475})
MAX_HOSTNAMES: Final = 200
PAGE_SIZES: Final = range(5, 51)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class SigningCall(msgspec.Struct, frozen=True):
    """The body of `POST /certificates`."""

    csr: str
    hostnames: tuple[str, ...]
    request_type: str
    requested_validity: int = 5475


class RefusedError(Exception):
    """The API refuses a call."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = refusal(status, (code, message))


def success(result: Any, **info: int) -> Answer:
    """An envelope with a result, and `result_info` if there is any."""
    envelope = {"success": True, "errors": [], "messages": [], "result": result}
    return Answer(200, msgspec.json.encode({**envelope, "result_info": info} if info else envelope))


def refusal(status: int, *errors: tuple[int, str]) -> Answer:
    """An envelope with errors."""
    listed = [{"code": code, "message": message} for code, message in errors]
    return Answer(status, msgspec.json.encode({"success": False, "errors": listed, "messages": [], "result": None}))


def error_field(status: int, reason: str) -> Answer:
    """A refusal as the API has been seen to give some: the reason in `error`, and `errors` empty."""
    return Answer(status, msgspec.json.encode({"success": False, "error": reason, "errors": []}))


def html(status: int) -> Answer:
    """The page that the edge shows instead of the API."""
    page = f"<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>Error {status}</h1></body></html>"
    return Answer(status, page.encode(), "text/html")


def answer(
    ledger: Ledger,
    method: str,
    path: str,
    *,
    query: Mapping[str, str],
    authorization: str,
    body: bytes,
    fault: Fault | None = None,
) -> Answer:
    """Answer one call; `path` is without the base path of the API."""
    try:
        token = _authenticate(ledger, authorization)
        if path == "/user/tokens/verify":
            return _verify(authorization, token)
        _authorize(token, path)
        if path == "/zones":
            return _zones(ledger, query)
        if path == SIGN_PATH or path.startswith(f"{SIGN_PATH}/"):
            return _certificates(ledger, method, path, query, body, fault)
    except RefusedError as refused:
        return refused.answer
    return refusal(404, (7003, f"Could not route to {path}"))


def _authenticate(ledger: Ledger, authorization: str) -> Token:
    scheme, _, value = authorization.partition(" ")
    if scheme != "Bearer" or not value:
        raise RefusedError(400, 6003, "Invalid request headers")
    token = ledger.tokens.get(value)
    if token is None:
        raise RefusedError(403, 9109, "Invalid access token")
    return token


def _verify(authorization: str, token: Token) -> Answer:
    if token.account_owned:
        raise RefusedError(401, 1000, "Invalid API Token")
    return success({"id": hashlib.sha256(authorization.encode()).hexdigest()[:32], "status": token.status})


def _authorize(token: Token, path: str) -> None:
    if token.status != "active" or (path == "/zones" and not token.reads_zones):
        raise RefusedError(403, 10000, "Authentication error")
    if path.startswith(SIGN_PATH) and not token.edits_certificates:
        raise RefusedError(403, 1016, "User is not authorized to perform this action")


def _zones(ledger: Ledger, query: Mapping[str, str]) -> Answer:
    wanted = query.get("name")
    zones = [
        {"id": zone_id, "name": domain, "status": "active"}
        for domain, zone_id in ledger.zones.items()
        if wanted in {None, domain}
    ]
    return success(zones, page=1, per_page=50, count=len(zones), total_count=len(zones), total_pages=1)


def _certificates(
    ledger: Ledger, method: str, path: str, query: Mapping[str, str], body: bytes, fault: Fault | None
) -> Answer:
    if path == SIGN_PATH:
        if method == "POST":
            return _sign(ledger, body, fault)
        if method == "GET":
            return _list(ledger, query)
    elif method in {"GET", "DELETE"}:
        record = ledger.certificates.get(path.removeprefix(f"{SIGN_PATH}/"))
        if record is None:
            raise RefusedError(404, 1101, "There is no certificate with this id")
        if method == "GET":
            return success(_shown(record))
        if record.revoked:
            raise RefusedError(400, 1102, "This certificate is already revoked")
        record.revoked = True
        return success({"id": record.id, "revoked_at": ledger.now().isoformat()})
    raise RefusedError(405, 10405, f"Method {method} is not allowed here")


def _list(ledger: Ledger, query: Mapping[str, str]) -> Answer:
    try:
        page, size = int(query.get("page", "1")), int(query.get("per_page", "20"))
    except ValueError:
        raise RefusedError(400, 1103, "page and per_page are numbers") from None
    if page < 1 or size not in PAGE_SIZES:
        raise RefusedError(400, 1103, f"per_page is {PAGE_SIZES[0]} to {PAGE_SIZES[-1]}")
    records = ledger.listed(query.get("zone_id"))
    shown = [_shown(record) for record in records[(page - 1) * size : page * size]]
    pages = -(-len(records) // size)
    return success(shown, page=page, per_page=size, count=len(shown), total_count=len(records), total_pages=pages)


def _sign(ledger: Ledger, body: bytes, fault: Fault | None) -> Answer:
    try:
        call = msgspec.json.decode(body, type=SigningCall)
    except (msgspec.MsgspecError, ValueError):
        raise RefusedError(400, 6007, "Malformed JSON in request body") from None
    key = _public_key(call)
    _check_names(ledger, call.hostnames)
    if call.requested_validity not in VALIDITIES:
        raise RefusedError(400, 1104, f"requested_validity {call.requested_validity} is not allowed")
    kind = fault.kind if fault else None
    record = ledger.sign(
        call.csr,
        key,
        certified_key=ledger.ca.stranger if kind is FaultKind.FOREIGN else None,
        hostnames=call.hostnames,
        certified_names=["wrong-name.example.org"] if kind is FaultKind.WRONG_NAMES else None,
        request_type=call.request_type,
        days=call.requested_validity,
        age=timedelta(days=call.requested_validity + 1) if kind is FaultKind.EXPIRED else BACKDATED,
    )
    shown = _shown(record)
    if kind is FaultKind.TRUNCATED:
        shown["certificate"] = record.certificate[: len(record.certificate) // 2]
    return success(shown)


def _public_key(call: SigningCall) -> CertificatePublicKeyTypes:
    try:
        key = _csr(call.csr.encode()).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RefusedError(400, 1105, "The CSR cannot be read") from None
    expected = {"origin-rsa": rsa.RSAPublicKey, "origin-ecc": ec.EllipticCurvePublicKey}.get(call.request_type)
    if expected is None or not isinstance(key, expected):
        raise RefusedError(400, 1106, f"request_type {call.request_type!r} does not suit the key of the CSR")
    assert isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))
    return key


def _csr(text: bytes) -> x509.CertificateSigningRequest:
    """A CSR, be it DER to the letter or not: the provider's own parser is Go's."""
    try:
        return x509.load_pem_x509_csr(text)
    except (ValueError, x509.InvalidVersion):
        (block,) = pem.blocks(text)
        return x509.load_der_x509_csr(lenient.rewrite(block.der, ValueError).der)


def _check_names(ledger: Ledger, hostnames: Sequence[str]) -> None:
    if not 1 <= len(hostnames) <= MAX_HOSTNAMES:
        raise RefusedError(400, 1107, f"1 to {MAX_HOSTNAMES} hostnames are needed")
    for hostname in hostnames:
        base = hostname.removeprefix("*.")
        if "*" in base or "." not in base or not hostname.isascii() or ledger.zone_of(hostname) is None:
            raise RefusedError(
                400, 1010, f"Failed to validate requested hostname {hostname}: it is in no zone of this account"
            )


def _shown(record: IssuedCertificate) -> dict[str, Any]:
    return {
        "id": record.id,
        "csr": record.csr,
        "certificate": record.certificate,
        "hostnames": record.hostnames,
        # The notation in which users have seen it, and which no RFC 3339 parser reads.
        "expires_on": record.not_after.strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
        "request_type": record.request_type,
        "requested_validity": record.requested_validity,
    }
