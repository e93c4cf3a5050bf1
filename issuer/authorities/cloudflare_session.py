"""The five calls of Cloudflare's Origin CA: sign, find, revoke, check, and the look for a zone's id.

A lost answer is the case this module is built around. The provider has no idempotency key, so asking twice makes two
certificates; whenever an answer is lost after the request went out, the error says so (`ambiguous`), and `find` looks
for the certificate among the records of the zone.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from issuer.authorities import cloudflare_order
from issuer.authorities.base import Signed
from issuer.authorities.cloudflare_listing import Listings
from issuer.authorities.cloudflare_zones import Zones
from issuer.authorities.errors import Rejected, Unauthorized, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterator

    from issuer.authorities.base import CallTimeouts, SigningOrder
    from issuer.authorities.cloudflare_api import Api, Reply
    from issuer.authorities.cloudflare_roots import KnownRoots

_GONE: Final = frozenset({404, 410})
_ALREADY_REVOKED: Final = re.compile(r"already (?:been )?revoked|is revoked|not found|does not exist", re.IGNORECASE)
_HANDLE: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Memory:
    """What sessions learn of zones, for those that come after them."""

    zones: Zones = field(default_factory=Zones)
    listings: Listings = field(default_factory=Listings)


class OriginSession:
    """The authority with its API token at hand."""

    def __init__(
        self,
        name: str,
        api: Api,
        token: str,
        *,
        account: str,
        zone_id: str = "",
        memory: Memory | None = None,
        known_roots: KnownRoots | None = None,
    ) -> None:
        self._name = name
        self._api = api
        self._token = token
        self._account = account
        self._zone_id = zone_id
        memory = Memory() if memory is None else memory
        self._zones = memory.zones
        self._listings = memory.listings
        self._known_roots = known_roots

    def __repr__(self) -> str:
        return f"OriginSession({self._account!r})"

    @property
    def account(self) -> str:
        """Names endpoint and token; of the token a digest."""
        return self._account

    @property
    def roots(self) -> bytes:
        """Those that ship with the program, at Cloudflare's own endpoint; elsewhere the issuer says which they are."""
        return self._known_roots.pem if self._known_roots else b""

    async def sign(self, order: SigningOrder, timeouts: CallTimeouts) -> Signed:
        """Ask for one certificate, once.

        Raises:
            AuthorityError: as the provider's answer, or its lack, is classified; `Unsupported` before any call.
        """
        wanted = cloudflare_order.translate(order, self._name)
        reply = await self._call(
            "POST",
            "/certificates",
            timeouts,
            body={
                "csr": order.csr.pem.decode("ascii"),
                "hostnames": wanted.hostnames,
                "request_type": wanted.request_type,
                "requested_validity": wanted.validity,
            },
        )
        result = reply.result if isinstance(reply.result, dict) else {}
        certificate, handle = result.get("certificate"), result.get("id")
        if not isinstance(certificate, str) or not certificate.strip():
            raise Unavailable(
                self._name,
                "the API says it signed, but its answer holds no certificate",
                ambiguous=True,
                status=reply.status,
                trace_id=reply.trace_id,
            )
        chain = certificate.encode("utf-8", "replace")
        return Signed(
            chain=chain,
            ca=self._ca(chain, order),
            handle=handle if isinstance(handle, str) else "",
            promised=cloudflare_order.promised(order, wanted.validity),
            trace_id=reply.trace_id,
        )

    async def find(self, order: SigningOrder, timeouts: CallTimeouts, *, since: float) -> AsyncGenerator[Signed, None]:
        """Certificates already made for the order, each as it is found in the pages of its zone.

        Raises:
            AuthorityError: as the provider's answer, or its lack, is classified.
        """
        wanted = cloudflare_order.translate(order, self._name)
        zone = await self._zone(wanted.hostnames[0], timeouts)
        query: dict[str, str | int] = {"zone_id": zone} if zone else {}

        async def read(page: int, size: int) -> Reply:
            return await self._call("GET", "/certificates", timeouts, query={"per_page": size, **query, "page": page})

        lifetime = cloudflare_order.promised(order, wanted.validity)
        seen: set[str] = set()
        async with aclosing(self._listings.of(self._account, zone).records(since, read)) as records:
            async for record in records:
                match = cloudflare_order.match(record, order, wanted.hostnames)
                if match is not None and match.id not in seen:
                    seen.add(match.id)
                    chain = match.certificate.encode("utf-8", "replace")
                    yield Signed(chain=chain, ca=self._ca(chain, order), handle=match.id, promised=lifetime)

    async def revoke(self, handle: str, timeouts: CallTimeouts) -> None:
        """Revoke a certificate; one that the provider does not know or has revoked before is no error."""
        if not _HANDLE.fullmatch(handle):
            raise Rejected(self._name, "there is no certificate id to revoke")
        try:
            await self._call("DELETE", f"/certificates/{handle}", timeouts)
        except Rejected as error:
            if error.status not in _GONE and not _ALREADY_REVOKED.search(error.message):
                raise
        except Unavailable as error:
            # Not found without an envelope of the API, or with its code for an unknown route.
            if error.status not in _GONE:
                raise

    async def check(self, timeouts: CallTimeouts) -> None:
        """Ask whether the token is alive, without signing.

        A token that belongs to an account is unknown to `/user/tokens/verify` and good all the same, so a refusal there
        counts only if listing certificates is refused, too.

        Raises:
            Unauthorized: it is disabled, expired, or refused.
        """
        try:
            reply = await self._call("GET", "/user/tokens/verify", timeouts)
        except (Unauthorized, Rejected) as refused:
            await self._check_by_listing(refused, timeouts)
            return
        result = reply.result if isinstance(reply.result, dict) else {}
        status = result.get("status")
        if isinstance(status, str) and status in {"disabled", "expired"}:
            raise Unauthorized(
                self._name,
                f"the API token is {status}; create another one and put it into the Secret",
                status=reply.status,
                trace_id=reply.trace_id,
            )

    def _ca(self, chain: bytes, order: SigningOrder) -> bytes:
        return self._known_roots.met_by(chain, order.csr) if self._known_roots else b""

    async def _check_by_listing(self, refused: Unauthorized | Rejected, timeouts: CallTimeouts) -> None:
        query: dict[str, str | int] = {"page": 1, "per_page": 5}
        if self._zone_id:
            query["zone_id"] = self._zone_id
        try:
            await self._call("GET", "/certificates", timeouts, query=query)
        except Unauthorized as error:
            raise error from refused
        except Rejected:
            # It objects to the question, so it has accepted who asks.
            return

    async def _zone(self, hostname: str, timeouts: CallTimeouts) -> str:
        """The id of the hostname's zone; empty if the token may not read zones or there is none of that name."""
        if self._zone_id:
            return self._zone_id
        candidates = cloudflare_order.zone_candidates(hostname)
        known = [self._zones.get(self._account, name) for name in candidates]
        if zone := next(filter(None, known), ""):
            return zone
        for name in [name for name, zone in zip(candidates, known, strict=True) if zone is None]:
            try:
                reply = await self._call("GET", "/zones", timeouts, query={"name": name})
            except (Unauthorized, Rejected):
                # To sign, a token needs no permission to read zones: this proves nothing against it.
                for unknown in candidates:
                    self._zones.put(self._account, unknown, "")
                return ""
            zone = next(_zone_ids(reply, name), "")
            self._zones.put(self._account, name, zone)
            if zone:
                return zone
        return ""

    def _call(
        self,
        method: str,
        path: str,
        timeouts: CallTimeouts,
        *,
        query: dict[str, str | int] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Awaitable[Reply]:
        return self._api.call(method, path, token=self._token, timeouts=timeouts, query=query, body=body)


def _zone_ids(reply: Reply, name: str) -> Iterator[str]:
    for zone in reply.result if isinstance(reply.result, list) else ():
        if isinstance(zone, dict) and isinstance(zone.get("id"), str) and zone["id"] and zone.get("name") == name:
            yield zone["id"]
