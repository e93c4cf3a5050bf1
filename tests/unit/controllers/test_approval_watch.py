"""Requests that no approver speaks about are told of once, and name what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from issuer.api.meta import ObjectMeta
from issuer.api.request import CertificateRequest, IssuerRef, RequestSpec
from issuer.api.signingrequest import CertificateSigningRequest, SigningRequestSpec
from issuer.controllers.approval import PATIENCE, ApprovalWatch

if TYPE_CHECKING:
    from issuer.controllers.port import Request

NOW = datetime(2026, 11, 25, 1, 4, 34, tzinfo=UTC)


def request(uid: str = "u1", *, ago: float = 0.0, kind: str = "CDNIssuer", issuer: str = "web") -> CertificateRequest:
    created = (NOW - timedelta(seconds=ago)).isoformat()
    meta = ObjectMeta(name=f"www-{uid}", namespace="shop", uid=uid, creation_timestamp=created)
    return CertificateRequest(meta, RequestSpec(IssuerRef(name=issuer, kind=kind, group="cdn-issuer.io")))


class Told:
    def __init__(self) -> None:
        self.found: list[tuple[str, str, bool]] = []

    def __call__(self, request: Request, message: str, is_first: bool) -> None:
        self.found.append((request.metadata.uid, message, is_first))


def test_a_new_request_gets_time_and_is_looked_at_again_then() -> None:
    told = Told()
    assert ApprovalWatch(told).look(request(ago=10), NOW) == pytest.approx(PATIENCE - 10)
    assert told.found == []


def test_a_clock_behind_that_of_the_api_server_gives_no_more_than_the_patience() -> None:
    assert ApprovalWatch(Told()).look(request(ago=-500), NOW) == PATIENCE


@pytest.mark.parametrize(("kind", "signer"), [("CDNIssuer", "cdnissuers"), ("CDNClusterIssuer", "cdnclusterissuers")])
def test_one_that_waits_is_told_of_once_with_the_right_that_is_missing(kind: str, signer: str) -> None:
    told = Told()
    watch = ApprovalWatch(told)
    assert watch.look(request(ago=PATIENCE, kind=kind), NOW) is None
    assert watch.look(request(ago=PATIENCE, kind=kind), NOW + timedelta(hours=1)) is None
    ((_, message, _),) = told.found
    assert f"approve signers.cert-manager.io {signer}.cdn-issuer.io/*" in message
    assert "ClusterRole cdn-issuer-approver" in message


def test_one_of_kubernetes_waits_for_a_person_and_says_what_to_type() -> None:
    told = Told()
    created = (NOW - timedelta(seconds=PATIENCE)).isoformat()
    meta = ObjectMeta(name="www", uid="u1", creation_timestamp=created)
    spec = SigningRequestSpec(signer_name="cdnissuers.cdn-issuer.io/shop.web")
    assert ApprovalWatch(told).look(CertificateSigningRequest(meta, spec), NOW) is None
    ((_, message, _),) = told.found
    assert message.endswith("kubectl certificate approve www")


def test_the_first_of_each_issuer_is_marked_until_its_issuer_has_none_left() -> None:
    told = Told()
    watch = ApprovalWatch(told)
    for uid, issuer in (("a", "web"), ("b", "web"), ("c", "other")):
        watch.look(request(uid, ago=60, issuer=issuer), NOW)
    assert [(uid, first) for uid, _, first in told.found] == [("a", True), ("b", False), ("c", True)]
    watch.forget("a")
    watch.forget("b")
    watch.look(request("d", ago=60), NOW)
    assert told.found[-1][::2] == ("d", True)
