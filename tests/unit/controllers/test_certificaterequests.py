"""What is written on a CertificateRequest, and what a later process reads of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from issuer.api.meta import ObjectMeta
from issuer.api.request import CertificateRequest, signer_of
from issuer.controllers.certificaterequests import CertificateRequests
from issuer.controllers.decision import Fail, Issue, Pend, Verdict
from issuer.signing.plan import Issued

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KIND = CertificateRequests()
REQUEST = CertificateRequest(ObjectMeta(name="www", namespace="shop", uid="u1", resource_version="7"))
PEND = Pend(
    until="retrying until 2026-11-23T13:00:00Z",
    message="edge: down; retrying",
    cause="Unavailable",
    why="edge Unavailable",
    event="AuthorityUnavailable",
    retry_in=1.0,
    expires=NOW,
)
FAIL = Fail(message="not signed: edge: down", event="DeadlineExceeded", cause="Unavailable", why="edge Unavailable")
ISSUE = Issue(
    issued=Issued(
        authority="edge",
        position=0,
        certificate=b"chain",
        ca=b"root",
        fingerprint="f",
        not_after=NOW,
        granted=timedelta(days=7),
        requested=timedelta(days=7),
    ),
    message="signed",
    authority_reason="Signed",
    authority_message="edge signed",
)


def written(verdict: Verdict, request: CertificateRequest = REQUEST) -> CertificateRequest:
    """The request after the write."""
    body: dict[str, Any] = msgspec.json.decode(KIND.patch(request, verdict, NOW))
    assert body["metadata"] == {"resourceVersion": "7"}
    metadata = {"name": "www", "namespace": "shop", "uid": "u1", "resourceVersion": "7"}
    return KIND.decode(msgspec.json.encode({"metadata": metadata, "status": body["status"]}))


@pytest.mark.parametrize("verdict", [PEND, FAIL])
def test_the_cause_of_what_is_not_signed_can_be_read_from_the_object(verdict: Verdict) -> None:
    request = written(verdict)
    assert request.cause == "Unavailable"
    assert request.told == verdict.message
    assert signer_of(request) is None
    assert request.trimmed().cause == "Unavailable"


def test_once_it_is_signed_the_cause_is_gone() -> None:
    request = written(ISSUE, written(PEND))
    assert request.cause == ""
    assert signer_of(request) == "edge"
    assert KIND.certificate(request) == b"chain"


def test_a_verdict_is_recognised_by_what_it_says() -> None:
    assert KIND.carries(written(FAIL), FAIL)
    assert KIND.carries(written(ISSUE), ISSUE)
    assert not KIND.carries(written(ISSUE), FAIL)
    assert not KIND.carries(written(FAIL), ISSUE)
