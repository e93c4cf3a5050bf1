"""The configuration and the credential: what a person can get wrong, and what is said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from issuer.api.secret import SecretError, SecretMissingError
from issuer.api.spec import InvalidSpecError
from issuer.authorities.cloudflare import Cloudflare, Config
from issuer.authorities.errors import Unauthorized, Unavailable, Unsupported
from tests.unit.authorities.cloudflare_case import ENDPOINT, TOKEN, Secrets, authority, csr, order

if TYPE_CHECKING:
    from issuer.authorities.base import Authority, Session


def handler(request: httpx.Request) -> httpx.Response:
    raise AssertionError("no call is expected")


def made(*, insecure: bool = False, secrets: Secrets | None = None, **config: Any) -> Cloudflare:
    return authority(httpx.MockTransport(handler), secrets=secrets, insecure=insecure, **config)


def test_the_defaults_are_the_real_api_and_no_zone() -> None:
    config = Config(api_token_secret_ref=made()._config.api_token_secret_ref)
    assert (config.endpoint, config.zone_id) == ("https://api.cloudflare.com/client/v4", "")


def test_the_fields_are_written_as_kubernetes_writes_them() -> None:
    assert Config.__struct_encode_fields__ == ("apiTokenSecretRef", "endpoint", "zoneID")


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ("http://api.cloudflare.com/client/v4", "https is needed"),
        ("not a url", "Expected `str` matching"),
        ("ftp://api.cloudflare.com", "Expected `str` matching"),
        ("https://", "Expected `str` matching"),
        ("https:///client/v4", "not a URL"),
        ("https://[::1/client", "not a URL"),
        ("https://host:port/client", "not a URL"),
        ("https://bücher.example/", "Expected `str` matching"),
        ("https://user:hunter2@api.cloudflare.com/", "credentials do not belong"),
        ("https://user@api.cloudflare.com/", "credentials do not belong"),
        ("https://api.cloudflare.com/?a=b", "a query or fragment"),
        ("https://api.cloudflare.com/#top", "a query or fragment"),
        ("https://api.cloudflare.com/?", "a query or fragment"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_refused_with_its_field(endpoint: str, problem: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        made(endpoint=endpoint)
    assert "spec.authorities[edge].cloudflare.endpoint: " in str(caught.value)
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_http_is_allowed_where_insecure_endpoints_are() -> None:
    assert made(endpoint="http://127.0.0.1:8080/client/v4", insecure=True).name == "edge"


@pytest.mark.parametrize("config", [{"zoneID": "not-an-id"}, {"apiTokenSecretRef": {"name": "x"}}])
def test_other_nonsense_is_refused_with_its_field(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.authorities\[edge\]\.cloudflare"):
        made(**config)


async def test_a_token_may_end_with_white_space() -> None:
    session = await made(secrets=Secrets({"token": f" {TOKEN}\r\n".encode()})).session()
    assert session.account == (await made().session()).account


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b" \n\t", "it is empty"),
        (b"two words", "one word"),
        (b"line\nline", "one word"),
        (b"nul\x00", "one word"),
        ("tökən".encode(), "one word"),
        (b"\xff\xfe", "one word"),
        (b"v1.0-0123456789abcdef", "Origin CA service key"),
        (b"v1.0-0123456789abcdef\n", "Create an API token"),
        (b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIwMTIzNDU2Nzg5YWJjZGVmIn0.c2lnbmF0dXJl", "it is not sent"),
    ],
)
async def test_what_is_no_api_token_is_unauthorized_and_not_quoted(content: bytes, problem: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        await made(secrets=Secrets({"token": content})).session()
    assert problem in caught.value.message
    assert "Secret team/cloudflare, key 'token'" in caught.value.message
    for part in ("0123456789abcdef", "words", "tök", "eyJ"):
        assert part not in str(caught.value)


async def test_a_secret_without_the_key_is_unauthorized() -> None:
    with pytest.raises(Unauthorized, match="Secret team/cloudflare has no key 'token'"):
        await made(secrets=Secrets({"other": b"x"})).session()


async def test_a_missing_secret_is_unauthorized_and_a_silent_api_server_unavailable() -> None:
    with pytest.raises(Unauthorized, match="does not exist"):
        await made(secrets=Secrets(SecretMissingError("team", "cloudflare", "does not exist"))).session()
    with pytest.raises(Unavailable, match="could not be read"):
        await made(secrets=Secrets(SecretError("team", "cloudflare", "could not be read"))).session()


async def test_a_fresh_session_reads_the_secret_itself() -> None:
    secrets = Secrets({"token": TOKEN.encode()})
    origin = made(secrets=secrets)
    await origin.session()
    assert secrets.fresh_reads == 0
    await origin.session(fresh=True)
    assert secrets.fresh_reads == 1


async def test_an_account_is_an_endpoint_and_a_token_and_shows_neither_secret() -> None:
    account = (await made().session()).account
    assert account.startswith("cloudflare:api.cdn.test/client/v4:")
    assert TOKEN not in account
    assert account == (await made(endpoint=ENDPOINT + "/", zoneID="0" * 32).session()).account
    assert account != (await made(endpoint="https://api.cdn.test/v5").session()).account
    assert account != (await made(secrets=Secrets({"token": b"another"})).session()).account


async def test_a_session_does_not_show_its_token() -> None:
    assert TOKEN not in repr(await made().session())


def test_supports_says_no_without_a_call() -> None:
    origin = made()
    origin.supports(order())
    with pytest.raises(Unsupported):
        origin.supports(order(request=csr(common_name="Web Server")))


async def test_it_is_an_authority_with_a_session() -> None:
    origin: Authority = made()
    session: Session = await origin.session()
    assert origin.remembers
    assert session.account
    await origin.aclose()
