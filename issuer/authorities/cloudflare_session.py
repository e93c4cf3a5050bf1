"""The five calls of Cloudflare's Origin CA: sign, find, revoke, check, and the look for a zone's id.

A lost answer is the case this module is built around. The provider has no idempotency key, so asking twice makes two
certificates; whenever an answer is lost after the request went out, the error says so (`ambiguous`), and `find` looks
for the certificate among the records of the zone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import structlog

from issuer.authorities import cloudflare_order
from issuer.authorities.base import Signed
from issuer.authorities.errors import Rejected, Unauthorized, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.authorities.base import CallTimeouts, SigningOrder
    from issuer.authorities.cloudflare_api import Api, Reply
    from issuer.authorities.cloudflare_order import Match

log = structlog.get_logger(__name__)

PAGE_SIZE: Final = 50
"""Records in a page of a list: the most that the provider allows."""

MAX_PAGES: Final = 40
"""Pages that one look reads, so 2000 records, for a thirtieth of the calls that a user has in five minutes."""

MAX_ZONES: Final = 1024
"""Zone ids that are remembered."""

_GONE: Final = frozenset({404, 410})
_ALREADY_REVOKED: Final = re.compile(r"already (?:been )?revoked|is revoked|not found|does not exist", re.IGNORECASE)
_HANDLE: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")


class OriginSession:
    """The authority with its API token at hand."""

    def __init__(
        self, name: str, api: Api, token: str, *, account: str, zone_id: str = "", zones: dict[str, str] | None = None
    ) -> None:
        self._name = name
        self._api = api
        self._token = token
        self._account = account
        self._zone_id = zone_id
        self._zones = {} if zones is None else zones
        """Zone ids by account and domain, kept from session to session by the authority."""

    def __repr__(self) -> str:
        return f"OriginSession({self._account!r})"

    @property
    def account(self) -> str:
        """Names endpoint and token; of the token a digest."""
        return self._account

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
        return Signed(
            chain=certificate.encode("utf-8", "replace"),
            handle=handle if isinstance(handle, str) else "",
            promised=cloudflare_order.promised(order, wanted.validity),
            trace_id=reply.trace_id,
        )

    async def find(self, order: SigningOrder, timeouts: CallTimeouts) -> tuple[Signed, ...]:
        """Certificates already made for the order, newest first; up to `MAX_PAGES` pages of the zone are read.

        The provider documents no order of its records, so with more pages than that they are read from both ends
        inwards: whichever way they are sorted by age, the newest are among them.
        """
        wanted = cloudflare_order.translate(order, self._name)
        query: dict[str, str | int] = {"per_page": PAGE_SIZE}
        if zone := await self._zone(wanted.hostnames[0], timeouts):
            query["zone_id"] = zone
        found: dict[str, Match] = {}
        total: int | None = None
        pages = iter((1,))
        while (page := next(pages, None)) is not None:
            reply = await self._call("GET", "/certificates", timeouts, query={**query, "page": page})
            records = reply.result if isinstance(reply.result, list) else []
            matches = (cloudflare_order.match(record, order, wanted.hostnames) for record in records)
            found.update({match.id: match for match in matches if match is not None})
            if page == 1:
                total = _total_pages(reply)
                pages = _further_pages(total)
                if total is not None and total > MAX_PAGES:
                    log.warning("more certificates in the zone than one look reads", authority=self._name, pages=total)
            if total is None and len(records) < PAGE_SIZE:
                break
        newest_first = sorted(found.values(), key=lambda match: match.not_before, reverse=True)
        lifetime = cloudflare_order.promised(order, wanted.validity)
        return tuple(
            Signed(chain=match.certificate.encode("utf-8", "replace"), handle=match.id, promised=lifetime)
            for match in newest_first
        )

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
        for name in cloudflare_order.zone_candidates(hostname):
            # Two tokens may belong to different accounts, which see different zones.
            remembered = f"{self._account}/{name}"
            if zone := self._zones.get(remembered):
                return zone
            try:
                reply = await self._call("GET", "/zones", timeouts, query={"name": name})
            except (Unauthorized, Rejected):
                # To sign, a token needs no permission to read zones: this proves nothing against it.
                return ""
            for zone_id in _zone_ids(reply, name):
                while len(self._zones) >= MAX_ZONES:
                    del self._zones[next(iter(self._zones))]
                self._zones[remembered] = zone_id
                return zone_id
        return ""

    async def _call(
        self,
        method: str,
        path: str,
        timeouts: CallTimeouts,
        *,
        query: dict[str, str | int] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Reply:
        return await self._api.call(method, path, token=self._token, timeouts=timeouts, query=query, body=body)


def _zone_ids(reply: Reply, name: str) -> Iterator[str]:
    for zone in reply.result if isinstance(reply.result, list) else ():
        if isinstance(zone, dict) and isinstance(zone.get("id"), str) and zone["id"] and zone.get("name") == name:
            yield zone["id"]


def _total_pages(reply: Reply) -> int | None:
    """Pages there are, if the provider says so."""
    total, count = reply.info.get("total_pages"), reply.info.get("total_count")
    if isinstance(total, int):
        return total
    return -(-count // PAGE_SIZE) if isinstance(count, int) else None


def _further_pages(total: int | None) -> Iterator[int]:
    """The pages after the first, as many as one look may read: from both ends inwards, or one after the other."""
    if total is None or total <= MAX_PAGES:
        yield from range(2, (MAX_PAGES if total is None else total) + 1)
        return
    half = MAX_PAGES // 2
    for front in range(1, half + 1):
        if front > 1:
            yield front
        yield total - front + 1
