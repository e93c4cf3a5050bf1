"""Requests of two kinds in one cache: a key tells of which it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from issuer.api.meta import ObjectKey
from issuer.api.request import CertificateRequest
from issuer.api.signingrequest import CertificateSigningRequest
from issuer.controllers.caches import RequestCaches
from issuer.controllers.certificaterequests import RESOURCE
from issuer.controllers.certificatesigningrequests import RESOURCE as SIGNING_REQUESTS
from issuer.controllers.triggers import UNFINISHED, issuers_waited_for, lane_of
from issuer.kube.informer import Informer
from tests.unit.controllers.test_triggers import Listed

if TYPE_CHECKING:
    from issuer.controllers.port import Request
    from issuer.kube.informer import Change
    from issuer.kube.reflector import Source

pytestmark = pytest.mark.looptime


def requests() -> tuple[dict[str, Any], dict[str, Any]]:
    """One of each kind, of the same name, for the same issuer."""
    metadata = {"name": "one", "uid": "u1", "resourceVersion": "7"}
    ref = {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}
    mine = {"metadata": {**metadata, "namespace": "shop"}, "spec": {"issuerRef": ref}}
    theirs = {"metadata": {**metadata, "uid": "u2"}, "spec": {"signerName": "cdnissuers.cdn-issuer.io/shop.web"}}
    return mine, theirs


async def test_both_kinds_are_found_and_share_the_lane_of_their_issuer() -> None:
    mine, theirs = requests()
    informers: tuple[Informer[Any], ...] = (
        Informer(cast("Source", Listed(mine)), RESOURCE, item=CertificateRequest),
        Informer(cast("Source", Listed(theirs)), SIGNING_REQUESTS, item=CertificateSigningRequest),
    )
    caches, heard = RequestCaches(*informers), []

    def hear(change: Change[Request]) -> None:
        heard.append(change.key)

    caches.add_index(UNFINISHED, issuers_waited_for)
    caches.add_handler(hear)
    tasks = [asyncio.create_task(informer.run()) for informer in informers]
    try:
        for informer in informers:
            await informer.synced.wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    first, second = caches.get(ObjectKey("shop", "one")), caches.get(ObjectKey("", "one"))
    assert isinstance(first, CertificateRequest)
    assert isinstance(second, CertificateSigningRequest)
    assert sorted(heard) == [ObjectKey("", "one"), ObjectKey("shop", "one")]
    (issuer,) = caches.index_values(UNFINISHED)
    assert [request.metadata.uid for request in caches.by_index(UNFINISHED, issuer)] == ["u1", "u2"]
    assert lane_of(first) == lane_of(second) == "CDNIssuer shop/web"


def test_without_the_second_kind_there_is_none_of_it() -> None:
    informer = Informer(cast("Source", Listed()), RESOURCE, item=CertificateRequest)
    assert RequestCaches(informer).get(ObjectKey("", "one")) is None
