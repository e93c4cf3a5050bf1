"""Writing a verdict: what a failure says about whether the write has been done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from issuer.api.meta import ObjectMeta
from issuer.api.request import CertificateRequest
from issuer.controllers.certificaterequests import CertificateRequests
from issuer.controllers.decision import Fail
from issuer.controllers.delivery import StatusWriter, perhaps_applied
from issuer.kube.errors import (
    ConflictError,
    KubeError,
    NotFoundError,
    ServerError,
    ThrottledError,
    UnreachableError,
)

if TYPE_CHECKING:
    from issuer.kube.client import KubeClient

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
REQUEST = CertificateRequest(ObjectMeta(name="one", namespace="shop", uid="u1", resource_version="7"))
VERDICT = Fail(message="no", event="Failed", cause="Rejected")
CONFLICT = ConflictError(409, "Conflict", "it has changed")
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
