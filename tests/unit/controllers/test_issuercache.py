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


def issuer(count: int) -> Issuer:
    authorities = [{"name": f"ca-{each}", "ca": {"secretRef": {"name": "ca"}}} for each in range(count)]
    text = {"metadata": {"name": "main", "namespace": "web", "uid": "1"}, "spec": {"authorities": authorities}}
    return msgspec.json.decode(msgspec.json.encode(text), type=Issuer)


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
    context = AuthorityContext(
        namespace="", secrets=NoSecrets(), transport=no_transport, now=lambda: datetime(2026, 11, 2, tzinfo=UTC)
    )
    book = IssuerCache({"CDNIssuer": lambda _: issuer(count)}, context, "cert-manager")
    entry = book.find(IssuerId("CDNIssuer", ObjectKey("web", "main")))
    assert entry is not None
    assert entry.plan is not None, entry.view.problem
    assert told == followed
