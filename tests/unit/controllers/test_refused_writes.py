"""Writing a verdict: what a failure says about whether the write has been done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from issuer.api.meta import ObjectMeta
from issuer.api.request import CertificateRequest
from issuer.api.signingrequest import CertificateSigningRequest
from issuer.controllers.certificaterequests import CertificateRequests
from issuer.controllers.certificatesigningrequests import CertificateSigningRequests
from issuer.controllers.decision import Fail
from issuer.controllers.delivery import StatusWriter, perhaps_applied
from issuer.kube.errors import (
    ConflictError,
    InvalidError,
    KubeError,
    NotFoundError,
    ServerError,
    ThrottledError,
    UnreachableError,
)
from tests.unit.controllers.test_delivery import ISSUE

if TYPE_CHECKING:
    from issuer.controllers.decision import Verdict
    from issuer.controllers.port import Request, RequestKind
    from issuer.kube.client import KubeClient

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
REQUEST = CertificateRequest(ObjectMeta(name="one", namespace="shop", uid="u1", resource_version="7"))
VERDICT = Fail(message="no", event="Failed", cause="Rejected")
CONFLICT = ConflictError(409, "Conflict", "it has changed")
SIGNING_REQUEST = CertificateSigningRequest(ObjectMeta(name="one", uid="u1", resource_version="7"))
UNREADABLE = InvalidError(422, "Invalid", "status.certificate: not Go's")
AWAY = ServerError(500, "InternalError", "etcd is away")


class Failing:
    """A client whose calls fail."""

    def __init__(self, patch: KubeError, get: KubeError) -> None:
        self._patch, self._get = patch, get

    async def patch(self, *_: Any, **__: Any) -> bytes:
        raise self._patch

    async def get(self, *_: Any, **__: Any) -> bytes:
        raise self._get


@pytest.mark.parametrize(
    ("kind", "request_", "verdict", "error", "ends"),
    [
        (CertificateSigningRequests(), SIGNING_REQUEST, ISSUE, UNREADABLE, True),
        (CertificateSigningRequests(), SIGNING_REQUEST, ISSUE, AWAY, False),
        (CertificateSigningRequests(), SIGNING_REQUEST, ISSUE, CONFLICT, False),
        (CertificateSigningRequests(), SIGNING_REQUEST, VERDICT, UNREADABLE, False),
        (CertificateRequests(), REQUEST, ISSUE, UNREADABLE, False),
    ],
)
def test_a_certificate_that_the_api_server_cannot_read_is_not_written_again(
    kind: RequestKind, request_: Request, verdict: Verdict, error: KubeError, ends: bool
) -> None:
    writer = StatusWriter(cast("KubeClient", Failing(error, error)), [kind], lambda: NOW)
    found = writer.refused(request_, verdict, error)
    assert (found is not None) is ends
    if found is not None:
        assert found.message.startswith("the API server does not take the certificate of authority edge: ")
        assert "not Go" in found.message


@pytest.mark.parametrize(
    ("patch", "get", "perhaps"),
    [
        (AWAY, AWAY, True),
        (UnreachableError("no answer in time"), AWAY, True),
        (CONFLICT, AWAY, False),
        (CONFLICT, UnreachableError("no answer in time"), False),
        (CONFLICT, NotFoundError(404, "", "no such page"), False),
        (NotFoundError(404, "NotFound", "not found", name="one"), AWAY, False),
    ],
)
async def test_a_write_that_was_refused_has_not_been_done_although_the_request_cannot_be_read_then(
    patch: KubeError, get: KubeError, perhaps: bool
) -> None:
    writer = StatusWriter(cast("KubeClient", Failing(patch, get)), [CertificateRequests()], lambda: NOW)
    with pytest.raises(KubeError) as caught:
        await writer.write(REQUEST, VERDICT)
    assert perhaps_applied(caught.value) is perhaps


async def test_how_long_a_throttled_read_is_to_wait_is_not_lost() -> None:
    throttled = ThrottledError(429, "TooManyRequests", "slowly", retry_after=7.0)
    writer = StatusWriter(cast("KubeClient", Failing(CONFLICT, throttled)), [CertificateRequests()], lambda: NOW)
    with pytest.raises(ThrottledError) as caught:
        await writer.write(REQUEST, VERDICT)
    assert caught.value.retry_after == 7.0
