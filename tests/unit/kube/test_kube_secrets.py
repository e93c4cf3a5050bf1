"""Secrets: kept for half a minute, read once for many, and never quoted."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

import pytest

from issuer.api.secret import SecretError, SecretMissingError
from issuer.kube.errors import ForbiddenError, InvalidError, NotFoundError, ServerError, UnreachableError
from issuer.kube.secrets import SecretCache

if TYPE_CHECKING:
    from issuer.kube.resource import Resource

pytestmark = pytest.mark.looptime


class Server:
    def __init__(self) -> None:
        self.calls = 0
        self.answer: bytes | Exception = secret(token=b"one")
        self.takes = 0.0

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        assert (str(resource), namespace, name) == ("secrets", "ns", "name")
        self.calls += 1
        await asyncio.sleep(self.takes)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def secret(**data: bytes) -> bytes:
    return json.dumps({"data": {key: base64.b64encode(value).decode() for key, value in data.items()}}).encode()


def cache_of(server: Server) -> SecretCache:
    return SecretCache(server, monotonic=asyncio.get_running_loop().time)


async def test_a_secret_is_decoded_and_kept_for_thirty_seconds() -> None:
    server = Server()
    cache = cache_of(server)
    assert await cache.read("ns", "name") == {"token": b"one"}
    server.answer = secret(token=b"two")
    await asyncio.sleep(29)
    assert await cache.read("ns", "name") == {"token": b"one"}
    await asyncio.sleep(2)
    assert await cache.read("ns", "name") == {"token": b"two"}
    assert server.calls == 2


async def test_fresh_reads_the_secret_itself_and_everybody_gets_the_new_one() -> None:
    server = Server()
    cache = cache_of(server)
    await cache.read("ns", "name")
    server.answer = secret(token=b"two")
    assert await cache.read("ns", "name", fresh=True) == {"token": b"two"}
    assert await cache.read("ns", "name") == {"token": b"two"}


async def test_readers_at_the_same_time_share_one_call_even_if_one_gives_up() -> None:
    server = Server()
    server.takes = 5
    cache = cache_of(server)
    readers = [asyncio.create_task(cache.read("ns", "name", fresh=i % 2 == 0)) for i in range(10)]
    await asyncio.sleep(1)
    readers[0].cancel()
    got = await asyncio.gather(*readers, return_exceptions=True)
    assert isinstance(got[0], asyncio.CancelledError)
    assert got[1:] == [{"token": b"one"}] * 9
    assert server.calls == 1


async def test_what_was_read_cannot_be_changed() -> None:
    got = await cache_of(Server()).read("ns", "name")
    with pytest.raises(TypeError):
        got["token"] = b"x"  # type: ignore[index]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFoundError(404, "NotFound", "no"), "Secret ns/name does not exist: create it in namespace ns"),
        (
            ForbiddenError(403, "Forbidden", "no"),
            "Secret ns/name may not be read: allow the controller's ServiceAccount the verb get on",
        ),
    ],
)
async def test_a_missing_secret_says_what_to_do(error: Exception, expected: str) -> None:
    server = Server()
    server.answer = error
    with pytest.raises(SecretMissingError) as caught:
        await cache_of(server).read("ns", "name")
    assert str(caught.value).startswith(expected)


async def test_absence_is_kept_for_a_second_at_most() -> None:
    server = Server()
    server.answer = NotFoundError(404, "NotFound", "no")
    cache = cache_of(server)
    for _ in range(3):
        with pytest.raises(SecretMissingError):
            await cache.read("ns", "name")
    assert server.calls == 1
    server.answer = secret(token=b"one")
    await asyncio.sleep(1.01)
    assert await cache.read("ns", "name") == {"token": b"one"}


async def test_absence_is_not_kept_for_a_fresh_read() -> None:
    server = Server()
    server.answer = NotFoundError(404, "NotFound", "no")
    cache = cache_of(server)
    with pytest.raises(SecretMissingError):
        await cache.read("ns", "name")
    server.answer = secret(token=b"one")
    assert await cache.read("ns", "name", fresh=True) == {"token": b"one"}


@pytest.mark.parametrize(
    "error", [UnreachableError("timeout"), ServerError(503, "", "x"), InvalidError(400, "BadRequest", "no name")]
)
async def test_an_api_in_trouble_is_not_a_missing_secret_and_is_asked_again(error: Exception) -> None:
    server = Server()
    server.answer = error
    cache = cache_of(server)
    with pytest.raises(SecretError) as caught:
        await cache.read("ns", "name")
    assert not isinstance(caught.value, SecretMissingError)
    server.answer = secret(token=b"one")
    assert await cache.read("ns", "name") == {"token": b"one"}


@pytest.mark.parametrize("value", ["top-secret!", "c2VjcmV0\n", "gehe\u00fcim", "abc"])
async def test_what_is_not_base64_is_named_by_its_key_and_not_shown(value: str) -> None:
    server = Server()
    server.answer = json.dumps({"data": {"token": value}}).encode()
    with pytest.raises(SecretError, match="'token'") as caught:
        await cache_of(server).read("ns", "name")
    assert value not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("body", [b"{}", b'{"data": null}'])
async def test_a_secret_without_data_is_empty(body: bytes) -> None:
    server = Server()
    server.answer = body
    assert await cache_of(server).read("ns", "name") == {}


async def test_an_old_secret_is_forgotten_when_another_is_read() -> None:
    server = Server()
    cache = cache_of(server)
    await cache.read("ns", "name")
    await asyncio.sleep(31)
    cache._kept(("ns", "other"))
    assert not cache._entries
