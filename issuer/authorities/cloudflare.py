"""Cloudflare's Origin CA as an authority: its configuration and its credential.

Both come from people, so this module is about saying early and clearly what is wrong with them: an endpoint that would
send the token in the clear, a Secret with the wrong key in it, a kind of credential that Cloudflare no longer takes.
The calls themselves are in `cloudflare_session`, the wire in `cloudflare_api`, what an answer says in
`cloudflare_answer`, what a refusal means in `cloudflare_errors`, what is asked for in `cloudflare_order`, the roots in
`cloudflare_roots`.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from issuer.api.issuer import SecretKeyReference
from issuer.api.secret import SecretError, SecretMissingError
from issuer.api.spec import InvalidSpecError, decode_config
from issuer.authorities import cloudflare_order, cloudflare_roots
from issuer.authorities.cloudflare_api import Api
from issuer.authorities.cloudflare_roots import EndNotice, KnownRoots
from issuer.authorities.cloudflare_session import Memory, OriginSession
from issuer.authorities.errors import Unauthorized, Unavailable

if TYPE_CHECKING:
    from issuer.api.issuer import AuthoritySpec
    from issuer.authorities.base import AuthorityContext, SigningOrder

DEFAULT_ENDPOINT: Final = "https://api.cloudflare.com/client/v4"
"""Cloudflare's own."""
SERVICE_KEY_PREFIX: Final = "v1.0-"

_WEB_TOKEN: Final = re.compile(r"eyJ[-\w]+\.[-\w]+\.[-\w]*")
"""A JSON web token (RFC 7519), as ServiceAccounts have. Who makes an issuer chooses the endpoint it would go to."""
_SERVICE_KEY: Final = (
    "it is an Origin CA service key, which Cloudflare takes no longer (since 30 September 2026). Create an API "
    "token with the permission Zone / SSL and Certificates / Edit and put it there instead"
)


class Config(msgspec.Struct, frozen=True, rename="camel"):
    """Signs with Cloudflare's Origin CA. Only Cloudflare's edge trusts what it signs."""

    api_token_secret_ref: Annotated[
        SecretKeyReference,
        Meta(
            description="The API token, with the permission Zone / SSL and Certificates / Edit for the zones of all "
            "hostnames (and Zone / Zone / Read where zoneID is empty). An Origin CA service key (v1.0-...) is not "
            "accepted: Cloudflare takes none since 30 September 2026."
        ),
    ]
    endpoint: Annotated[
        str,
        Meta(
            description="Base URL of the API, without credentials and query.",
            pattern=r"^https?://[!-~]+$",
            max_length=2048,
        ),
    ] = DEFAULT_ENDPOINT
    zone_id: Annotated[
        str,
        Meta(
            description="Id of the zone in which a certificate is looked for after a lost answer; found by hostname "
            "when empty.",
            pattern=r"^([0-9a-fA-F]{32})?$",
            max_length=32,
        ),
    ] = msgspec.field(default="", name="zoneID")


def build(spec: AuthoritySpec, context: AuthorityContext) -> Cloudflare:
    """Make the authority from its specification.

    Raises:
        InvalidSpecError: its configuration is nonsense.
    """
    path = f"spec.authorities[{spec.name}].cloudflare"
    config = decode_config(spec.config, Config, path)
    _check_endpoint(config.endpoint, f"{path}.endpoint", allow_insecure=context.allow_insecure_endpoints)
    return Cloudflare(spec.name, config, context, known_roots=_known_roots(spec, config, context))


class Cloudflare:
    """One `cloudflare` entry of an issuer."""

    is_remote: Final = True
    remembers: Final = True

    def __init__(
        self, name: str, config: Config, context: AuthorityContext, *, known_roots: KnownRoots | None = None
    ) -> None:
        self._name = name
        self._config = config
        self._context = context
        self._api = Api(name, config.endpoint, context.transport(), context.now)
        self._memory: Memory = context.shared.setdefault(__name__, Memory())
        self._known_roots = known_roots
        self._end_notice: EndNotice = context.shared.setdefault(cloudflare_roots.__name__, EndNotice())

    @property
    def name(self) -> str:
        """Its name in the issuer."""
        return self._name

    def supports(self, order: SigningOrder) -> None:
        """Check names, key and duration against the documented limits.

        Raises:
            Unsupported: the Origin CA can never sign this.
        """
        cloudflare_order.translate(order, self._name)

    async def session(self, *, fresh: bool = False) -> OriginSession:
        """Resolve the API token; from the Secret itself if `fresh`.

        Raises:
            Unauthorized: the Secret is missing, incomplete, or holds something that is no API token.
            Unavailable: the Kubernetes API did not answer.
        """
        reference, namespace = self._config.api_token_secret_ref, self._context.namespace
        try:
            data = await self._context.secrets.read(namespace, reference.name, fresh=fresh)
        except SecretMissingError as error:
            raise Unauthorized(self._name, str(error)) from error
        except SecretError as error:
            raise Unavailable(self._name, str(error)) from error
        where = f"Secret {namespace}/{reference.name}"
        if reference.key not in data:
            raise Unauthorized(self._name, f"{where} has no key {reference.key!r}")
        problem, token = _token(data[reference.key])
        if problem:
            raise Unauthorized(self._name, f"{where}, key {reference.key!r}: {problem}")
        if self._known_roots:
            self._end_notice.look(self._known_roots)
        return OriginSession(
            self._name,
            self._api,
            token,
            account=_account(self._config.endpoint, token),
            zone_id=self._config.zone_id,
            memory=self._memory,
            known_roots=self._known_roots,
        )

    async def aclose(self) -> None:
        """Give up connections."""
        await self._api.aclose()


def _check_endpoint(endpoint: str, path: str, *, allow_insecure: bool) -> None:
    try:
        url = urlsplit(endpoint)
        host, _ = url.hostname, url.port
    except ValueError:
        raise InvalidSpecError(f"{path}: not a URL: {endpoint[:200]!r}") from None
    if not host or url.scheme not in {"http", "https"} or not endpoint.isascii():
        raise InvalidSpecError(f"{path}: not a URL such as https://api.cloudflare.com/client/v4: {endpoint[:200]!r}")
    if url.username is not None or url.password is not None:
        # Not quoted: there may be a password in it.
        raise InvalidSpecError(f"{path}: credentials do not belong into the URL; use apiTokenSecretRef")
    if url.query or url.fragment or endpoint.endswith(("?", "#")):
        raise InvalidSpecError(f"{path}: a query or fragment does not belong into the URL")
    if url.scheme == "http" and not allow_insecure:
        raise InvalidSpecError(f"{path}: https is needed, or the flag --allow-insecure-endpoints")


def _known_roots(spec: AuthoritySpec, config: Config, context: AuthorityContext) -> KnownRoots | None:
    """The roots that ship with the program, where they are those of the endpoint and nobody configures others."""
    if config.endpoint.rstrip("/") != DEFAULT_ENDPOINT or spec.common.ca_bundle or spec.common.ca_bundle_secret_ref:
        return None
    return KnownRoots(cloudflare_roots.shipped(), context.now)


def _account(endpoint: str, token: str) -> str:
    url = urlsplit(endpoint)
    digest = hashlib.sha256(token.encode()).hexdigest()[:12]
    return f"cloudflare:{url.netloc.lower()}{url.path.rstrip('/')}:{digest}"


def _token(value: bytes) -> tuple[str, str]:
    """What is wrong with the content of the Secret (empty if nothing), and the token."""
    # A Secret made with `echo` or an editor ends with a newline.
    stripped = value.strip()
    if not stripped:
        return "it is empty", ""
    if any(byte <= 0x20 or byte >= 0x7F for byte in stripped):  # noqa: PLR2004 - visible ASCII, RFC 9110 section 5.5
        return "an API token is one word of visible ASCII characters, and there is something else inside it", ""
    token = stripped.decode("ascii")
    if token.startswith(SERVICE_KEY_PREFIX):
        return _SERVICE_KEY, ""
    if _WEB_TOKEN.fullmatch(token):
        return "it is a JSON web token, as ServiceAccounts have, and no API token of Cloudflare's; it is not sent", ""
    return "", token
