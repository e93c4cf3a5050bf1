"""The book of issuers: what an authority is told of its place in the list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from issuer.api.issuer import Issuer
from issuer.api.meta import ObjectKey
from issuer.authorities import ca
from issuer.authorities.base import AuthorityContext
from issuer.controllers.issuercache import IssuerCache, IssuerId

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from issuer.api.issuer import AuthoritySpec


class NoSecrets:
    """Nobody reads a Secret while a plan is built."""

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:
        raise AssertionError("a Secret was read")


def no_transport() -> httpx.AsyncBaseTransport:
    raise AssertionError("a transport was made")


def issuer(count: int, **spec: object) -> Issuer:
    authorities = [{"name": f"ca-{each}", "ca": {"secretRef": {"name": "ca", "crl": ""}}} for each in range(count)]
    text = {"metadata": {"name": "main", "namespace": "web", "uid": "1"}, "spec": {"authorities": authorities, **spec}}
    return msgspec.json.decode(msgspec.json.encode(text), type=Issuer)


CONTEXT = AuthorityContext(
    namespace="", secrets=NoSecrets(), transport=no_transport, now=lambda: datetime(2026, 11, 2, tzinfo=UTC)
)
MAIN = IssuerId("CDNIssuer", ObjectKey("web", "main"))


def test_an_issuer_that_is_there_and_cannot_be_read_is_not_one_that_does_not_exist() -> None:
    why: dict[IssuerId, str] = {MAIN: "spec.deadline: Expected `str`"}
    cache = IssuerCache({"CDNIssuer": lambda _: None}, CONTEXT, "cert-manager", why.get)
    entry = cache.find(MAIN)
    assert entry is not None
    assert entry.plan is None
    assert entry.view.problem == "it exists, but cannot be read: spec.deadline: Expected `str`"
    del why[MAIN]
    assert cache.find(MAIN) is None


def test_what_this_version_does_not_know_of_an_issuer_is_named_at_any_depth() -> None:
    cache = IssuerCache({"CDNIssuer": lambda _: issuer(1, novelty={})}, CONTEXT, "cert-manager")
    entry = cache.find(MAIN)
    assert entry is not None
    assert entry.plan is not None
    assert entry.view.ignored == ("spec.novelty", "spec.authorities[name=ca-0].ca.secretRef.crl")


@pytest.mark.parametrize(("count", "followed"), [(1, [False]), (2, [True, False]), (3, [True, True, False])])
def test_each_authority_of_a_list_but_the_last_is_told_that_another_one_follows(
    count: int, followed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    original = ca.build

    def build(spec: AuthoritySpec, context: AuthorityContext) -> ca.CAAuthority:
        told.append(context.followed)
        return original(spec, context)

    monkeypatch.setattr(ca, "build", build)
    book = IssuerCache({"CDNIssuer": lambda _: issuer(count)}, CONTEXT, "cert-manager")
    entry = book.find(MAIN)
    assert entry is not None
    assert entry.plan is not None, entry.view.problem
    assert told == followed
