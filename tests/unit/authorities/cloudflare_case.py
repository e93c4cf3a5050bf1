"""Builders for the tests of the Cloudflare authority."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
import respx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.api.issuer import AuthorityCommon, AuthoritySpec
from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder
from issuer.authorities.cloudflare import Cloudflare, build
from issuer.authorities.cloudflare_api import Api
from issuer.authorities.errors import AuthorityError
from issuer.pki import csr as csrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from issuer.authorities.base import Session, Signed
    from issuer.authorities.cloudflare_api import Reply
    from issuer.authorities.cloudflare_session import OriginSession
    from issuer.pki.csr import SigningRequest

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
TOKEN = "s3cr3t-token-of-the-account"
ENDPOINT = "https://api.cdn.test/client/v4"
TIMEOUTS = CallTimeouts(connect=1.0, read=1.0)
ZONE = "0123456789abcdef0123456789abcdef"

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@cache
def ecdsa_key(name: str = "") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def csr(
    *hostnames: str, key: Key | None = None, common_name: str = "", others: tuple[x509.GeneralName, ...] = ()
) -> SigningRequest:
    """A parsed CSR for these hostnames."""
    key = key or ecdsa_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    names = [*(x509.DNSName(name) for name in hostnames), *others]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    pem = builder.sign(key, digest).public_bytes(Encoding.PEM)
    return csrs.parse(base64.b64encode(pem).decode())


def order(
    *hostnames: str,
    request: SigningRequest | None = None,
    duration: timedelta = timedelta(days=20),
    created: datetime = NOW,
) -> SigningOrder:
    """An order for these hostnames, or for this CSR."""
    request = request or csr(*(hostnames or ("www.example.com",)))
    return SigningOrder(uid="uid-1", namespace="team", name="web-1", created=created, csr=request, duration=duration)


class Secrets:
    """A SecretReader over a dictionary; counts fresh reads."""

    def __init__(self, data: Mapping[str, bytes] | Exception) -> None:
        self.data = data
        self.fresh_reads = 0

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:
        self.fresh_reads += fresh
        if isinstance(self.data, Exception):
            raise self.data
        return self.data


def spec(**config: Any) -> AuthoritySpec:
    """The entry of an issuer, with this configuration beside the reference to the Secret."""
    settings = {"apiTokenSecretRef": {"name": "cloudflare", "key": "token"}, "endpoint": ENDPOINT, **config}
    return AuthoritySpec(
        common=AuthorityCommon(name="edge"), kind="cloudflare", config=msgspec.Raw(msgspec.json.encode(settings))
    )


def authority(
    transport: httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport],
    *,
    secrets: Secrets | None = None,
    insecure: bool = False,
    now: Callable[[], datetime] = lambda: NOW,
    **config: Any,
) -> Cloudflare:
    """An authority on this transport."""
    return build(spec(**config), context(transport, secrets=secrets, insecure=insecure, now=now))


def context(
    transport: httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None = None,
    *,
    secrets: Secrets | None = None,
    insecure: bool = False,
    now: Callable[[], datetime] = lambda: NOW,
) -> AuthorityContext:
    """What an authority is given; without a transport, one that answers nothing."""
    wire = transport or httpx.MockTransport(router().async_handler)
    return AuthorityContext(
        namespace="team",
        secrets=secrets or Secrets({"token": TOKEN.encode()}),
        transport=(lambda: wire) if isinstance(wire, httpx.AsyncBaseTransport) else wire,
        now=now,
        allow_insecure_endpoints=insecure,
    )


async def session(router: respx.Router, **config: Any) -> OriginSession:
    """A session whose calls go to the router."""
    return await authority(httpx.MockTransport(router.async_handler), **config).session()


def router(endpoint: str = ENDPOINT) -> respx.Router:
    """Answers for the API at an endpoint."""
    return respx.Router(base_url=endpoint.rstrip("/"), assert_all_called=False)


def transport(routes: respx.Router) -> httpx.AsyncBaseTransport:
    """Leads to a router."""
    return httpx.MockTransport(routes.async_handler)


def success(result: Any, **info: Any) -> httpx.Response:
    """An envelope with a result."""
    envelope = {"success": True, "errors": [], "messages": [], "result": result}
    return httpx.Response(200, json={**envelope, "result_info": info} if info else envelope)


def refusal(status: int, *errors: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """An envelope with errors, each a pair of code and message, or anything else as it is."""
    listed = [{"code": error[0], "message": error[1]} if isinstance(error, tuple) else error for error in errors]
    return httpx.Response(
        status, json={"success": False, "errors": listed, "messages": [], "result": None}, headers=headers
    )


async def find_all(
    session: Session, order: SigningOrder, timeouts: CallTimeouts, *, since: float | None = None
) -> tuple[Signed, ...]:
    """All that a look finds that takes nothing from an earlier one, unless it is told since when it may."""
    begun = asyncio.get_running_loop().time() if since is None else since
    return tuple([signed async for signed in session.find(order, timeouts, since=begun)])


async def call(answer: httpx.Response | Exception, method: str = "POST", **arguments: Any) -> Reply:
    """A call that is answered so, or fails so on the wire."""
    routes = router()
    route = routes.route()
    if isinstance(answer, Exception):
        route.mock(side_effect=answer)
    else:
        route.mock(return_value=answer)
    api = Api("edge", ENDPOINT, httpx.MockTransport(routes.async_handler), lambda: NOW)
    try:
        return await api.call(method, "/certificates", token=TOKEN, timeouts=TIMEOUTS, **arguments)
    finally:
        await api.aclose()


async def failure(answer: httpx.Response | Exception, method: str = "POST") -> AuthorityError:
    """What a call comes to that is answered so, or fails so on the wire."""
    with pytest.raises(AuthorityError) as caught:
        await call(answer, method)
    return caught.value
