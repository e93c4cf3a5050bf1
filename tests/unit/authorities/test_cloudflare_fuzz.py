"""Whatever a provider answers, a session returns or raises an `AuthorityError`. Nothing else, ever."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from issuer.authorities.base import Signed
from issuer.authorities.errors import AuthorityError
from tests.unit.authorities.cloudflare_case import TIMEOUTS, TOKEN, authority, find_all, order

ORDER = order("www.example.com")

texts = st.one_of(st.text(max_size=30), st.just(TOKEN), st.just(ORDER.csr.pem.decode()))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), texts
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
codes = st.one_of(st.sampled_from([1000, 1010, 1016, 1100, 1201, 6003, 7003, 9109, 10000, "1010"]), values)
errors = st.lists(
    st.fixed_dictionaries({}, optional={"code": codes, "message": values, "error_chain": values}), max_size=4
)
records = st.fixed_dictionaries(
    {}, optional={"id": values, "certificate": values, "hostnames": values, "name": values, "status": values}
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "success": st.one_of(st.booleans(), values),
        "errors": st.one_of(errors, values),
        "error": st.one_of(errors, values),
        "message": values,
        "messages": values,
        "result": st.one_of(records, st.lists(records, max_size=3), values),
        "result_info": st.fixed_dictionaries({}, optional={"total_pages": values, "total_count": values}),
    },
)
bodies = st.one_of(
    envelopes.map(msgspec.json.encode),
    values.map(msgspec.json.encode),
    st.binary(max_size=200),
    st.lists(texts, max_size=5).map(lambda words: " ".join(words).encode("utf-8", "surrogatepass")),
)
header_values = st.one_of(st.binary(max_size=20), st.sampled_from([b"5", b"gzip", b"identity", TOKEN.encode(), b"t=9"]))
headers = st.dictionaries(
    st.sampled_from(
        [
            b"retry-after",
            b"date",
            b"ratelimit",
            b"content-type",
            b"cf-ray",
            b"content-encoding",
            b"location",
            b"set-cookie",
        ]
    ),
    header_values.filter(lambda value: not set(value) & {0, 10, 13}),
)


async def outcomes(status: int, head: dict[bytes, bytes], body: bytes) -> list[Any]:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=list(head.items()), stream=httpx.ByteStream(body))

    origin = authority(httpx.MockTransport(handler))
    session = await origin.session()
    results: list[Any] = []
    for call in (
        session.sign(ORDER, TIMEOUTS),
        find_all(session, ORDER, TIMEOUTS),
        session.revoke("abc", TIMEOUTS),
        session.check(TIMEOUTS),
    ):
        try:
            results.append(await call)
        except AuthorityError as error:
            results.append(error)
    await origin.aclose()
    return results


@settings(max_examples=400, deadline=None)
@given(
    status=st.one_of(st.sampled_from([200, 400, 401, 403, 404, 429, 500, 522]), st.integers(200, 599)),
    head=headers,
    body=bodies,
)
def test_any_answer_gives_a_certificate_or_an_authority_error(
    status: int, head: dict[bytes, bytes], body: bytes
) -> None:
    signed, found, revoked, checked = asyncio.run(outcomes(status, head, body))
    assert isinstance(signed, (Signed, AuthorityError))
    assert isinstance(found, (tuple, AuthorityError))
    assert revoked is None or isinstance(revoked, AuthorityError)
    assert checked is None or isinstance(checked, AuthorityError)
    for result in (signed, found, revoked, checked):
        if isinstance(result, AuthorityError):
            assert TOKEN not in f"{result} {result!r}"
            # It has to fit into a condition: JSON, so no lone surrogates.
            msgspec.json.encode(str(result))
