"""A verdict meets a request that is gone, has ended, has changed, or has become another one."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from issuer.api.request import CertificateRequest
from issuer.controllers.certificaterequests import CertificateRequests
from issuer.controllers.decision import Fail, Issue
from issuer.controllers.delivery import Delivery, StatusWriter, perhaps_applied
from issuer.kube.errors import ConflictError, InvalidError, KubeError, NotFoundError, ServerError, UnreachableError
from issuer.signing.plan import Issued

if TYPE_CHECKING:
    from issuer.kube.client import KubeClient

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ISSUE = Issue(
    issued=Issued(
        authority="edge",
        position=0,
        certificate=b"our certificate",
        ca=b"",
        fingerprint="ours",
        not_after=NOW + timedelta(days=7),
        granted=timedelta(days=7),
        requested=timedelta(days=7),
    ),
    message="signed",
    authority_reason="Signed",
    authority_message="by edge",
)
CONFLICT = ConflictError(409, "Conflict", "it has changed")
GONE = NotFoundError(404, "NotFound", "no such request", name="one")
NAMELESS = NotFoundError(404, "NotFound", "404 page not found")


def manifest(
    *conditions: tuple[str, str], uid: str = "u1", version: str = "7", certificate: bytes = b""
) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "one", "uid": uid, "resourceVersion": version},
        "spec": {"issuerRef": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}},
        "status": {
            "conditions": [
                {"type": type_, "status": "True", "reason": reason, "message": ""}
                for type_, reason in (("Approved", ""), *conditions)
            ],
            **({"certificate": b64encode(certificate).decode()} if certificate else {}),
        },
    }


class Api:
    """Answers to patches and to reads, one after the other; None: the patch is taken."""

    def __init__(self, patches: list[KubeError | None], reads: list[dict[str, Any] | KubeError]) -> None:
        self._patches = patches
        self._reads = reads
        self.versions: list[str] = []

    async def patch(self, resource: Any, namespace: str, name: str, body: bytes, *, subresource: str) -> bytes:
        self.versions.append(json.loads(body)["metadata"]["resourceVersion"])
        if (error := self._patches.pop(0)) is not None:
            raise error
        return b"{}"

    async def get(self, resource: Any, namespace: str, name: str) -> bytes:
        found = self._reads.pop(0)
        if isinstance(found, KubeError):
            raise found
        return json.dumps(found).encode()


def writer(api: Api) -> StatusWriter:
    return StatusWriter(cast("KubeClient", api), [CertificateRequests()], lambda: NOW)


REQUEST = msgspec.convert(manifest(), CertificateRequest)


@pytest.mark.parametrize(
    ("error", "latest", "delivery"),
    [
        (CONFLICT, manifest(("Ready", "Issued"), certificate=b"our certificate"), Delivery.WRITTEN),
        (CONFLICT, manifest(("Ready", "Issued"), certificate=b"another one"), Delivery.ENDED),
        (CONFLICT, manifest(("Ready", "Issued"), uid="u2"), Delivery.GONE),
        (CONFLICT, manifest(uid="u2"), Delivery.GONE),
        (CONFLICT, manifest(("Denied", "")), Delivery.CHANGED),
        (CONFLICT, GONE, Delivery.GONE),
        (GONE, GONE, Delivery.GONE),
        (GONE, manifest(uid="u2"), Delivery.GONE),
    ],
    ids=["ours", "another's", "namesake that ended", "namesake", "denied", "gone since", "gone", "replaced"],
)
async def test_what_became_of_the_request_is_read_before_anything_is_written_again(
    error: KubeError, latest: dict[str, Any] | KubeError, delivery: Delivery
) -> None:
    api = Api([error], [latest])
    told = await writer(api).write(REQUEST, ISSUE)
    assert told.delivery is delivery
    assert (told.latest is not None) is (delivery is Delivery.CHANGED)
    assert api.versions == ["7"], "nothing is written twice"


async def test_a_failure_of_ours_whose_answer_was_lost_is_recognised_by_its_message() -> None:
    latest = manifest(("Ready", "Failed"))
    latest["status"]["conditions"][-1] |= {"status": "False", "message": "no"}
    for message, delivery in (("no", Delivery.WRITTEN), ("another reason", Delivery.ENDED)):
        told = await writer(Api([CONFLICT], [latest])).write(REQUEST, Fail(message=message, event="x", cause="x"))
        assert told.delivery is delivery


@pytest.mark.parametrize("error", [CONFLICT, GONE], ids=["conflict", "one 404"])
async def test_a_request_that_is_still_as_it_was_decided_on_is_written_in_its_new_version(error: KubeError) -> None:
    api = Api([error, None], [manifest(version="8")])
    told = await writer(api).write(REQUEST, ISSUE)
    assert (told.delivery, told.fingerprint) == (Delivery.WRITTEN, "ours")
    assert api.versions == ["7", "8"]


async def test_a_404_that_does_not_name_the_request_says_nothing() -> None:
    with pytest.raises(UnreachableError):
        await writer(Api([GONE], [NAMELESS])).write(REQUEST, ISSUE)
    with pytest.raises(UnreachableError):
        await writer(Api([], [NAMELESS])).delivered(REQUEST.metadata.key, "u1")


async def test_conflicts_without_end_are_left_to_the_backoff() -> None:
    api = Api([CONFLICT] * 9, [manifest()] * 9)
    with pytest.raises(ConflictError):
        await writer(api).write(REQUEST, ISSUE)
    assert len(api.versions) == 5


@pytest.mark.parametrize(
    ("error", "perhaps"),
    [
        (ServerError(500, "InternalError", "x"), True),
        (UnreachableError("no answer", sent=True), True),
        (UnreachableError("no connection", sent=False), False),
        (InvalidError(422, "Invalid", "x"), False),
    ],
)
def test_a_write_that_may_have_arrived_is_told_from_one_that_did_not(error: KubeError, perhaps: bool) -> None:
    assert perhaps_applied(error) is perhaps
