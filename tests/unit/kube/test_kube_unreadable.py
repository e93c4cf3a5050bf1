"""Objects that do not fit their struct, because another version wrote them: they exist, and harm no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from issuer.api.issuer import Issuer
from issuer.api.meta import ObjectKey
from issuer.api.request import CertificateRequest
from issuer.kube.decoding import ObjectDecoder, Unreadable
from issuer.kube.errors import GoneError
from tests.unit.kube.informer_case import Script, Silence, event, informer_of, page, running, thing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.kube.log_case import Lines


pytestmark = pytest.mark.looptime

BAD = ObjectKey("ns", "bad")


def bad(version: int, **fields: Any) -> dict[str, Any]:
    return thing("bad", version, size="not a number", **fields)


async def test_one_object_that_breaks_its_schema_harms_no_other(lines: Lines) -> None:
    bad = thing("bad", 2, size="not a number")
    source = Script(
        [page(thing("a", 1), thing("bad", 1), thing("c", 3)), page(thing("a", 1), bad, thing("c", 3))],
        [GoneError(410, "Expired", "x"), [event("MODIFIED", bad), event("ADDED", thing("d", 9)), Silence]],
    )
    async with running(informer_of(source)) as changes:
        await asyncio.sleep(5)
        assert changes == [("added", "a@a"), ("added", "bad@bad"), ("added", "c@c"), ("added", "d@d")]
    assert any(line["event"] == "an object exists but cannot be read" for line in lines)


async def test_an_unreadable_object_is_known_and_logged_once(lines: Lines) -> None:
    source = Script(
        [page(bad(1), thing("b", 1))], [GoneError(410, "Expired", "x"), [event("MODIFIED", bad(2)), 1.0, Silence]]
    )
    informer = informer_of(source)
    async with running(informer) as changes:
        await asyncio.sleep(5)
        assert source.verbs() == ["list", "watch", "list", "watch"]
        assert changes == [("added", "b@b")]
        found = informer.unreadable(BAD)
        assert found is not None
        assert (found.metadata.uid, "`$.spec.size`" in found.reason) == ("uid-bad", True)
        assert informer.unreadable(ObjectKey("ns", "b")) is None
        assert informer.unreadable(ObjectKey("ns", "nowhere")) is None
    (told,) = [line for line in lines if "cannot be read" in line["event"]]
    assert (told["namespace"], told["name"], told["resource"]) == ("ns", "bad", "things.example.org")
    assert (told["log_level"], "`$.spec.size`" in told["error"]) == ("warning", True)


@pytest.mark.parametrize(
    "news", [event("MODIFIED", thing("bad", 2)), event("DELETED", bad(2))], ids=["readable", "deleted"]
)
async def test_an_object_that_is_readable_again_or_gone_is_unreadable_no_more(news: bytes) -> None:
    informer = informer_of(Script([page(bad(1))], [[1.0, news, Silence]]))
    async with running(informer):
        await asyncio.sleep(0.5)
        assert informer.unreadable(BAD) is not None
        await asyncio.sleep(1)
        assert informer.unreadable(BAD) is None


async def test_an_unreadable_object_that_a_new_list_does_not_hold_is_gone() -> None:
    informer = informer_of(Script([page(bad(1)), page()], [GoneError(410, "Expired", "x"), [Silence]]))
    async with running(informer):
        await asyncio.sleep(5)
        assert informer.unreadable(BAD) is None


async def test_an_unreadable_namesake_ends_the_object_that_had_its_name() -> None:
    source = Script([page(thing("bad", 1))], [[event("ADDED", bad(2, uid="uid-other")), Silence]])
    informer = informer_of(source)
    async with running(informer) as changes:
        await asyncio.sleep(5)
        assert changes == [("added", "bad@bad"), ("deleted", "bad@bad")]
        assert informer.get(BAD) is None
        assert informer.unreadable(BAD) is not None


REQUEST: dict[str, Any] = {
    "metadata": {"name": "one", "namespace": "web", "uid": "u", "resourceVersion": "1"},
    "spec": {"issuerRef": {"name": "edge", "kind": "CDNIssuer", "group": "cdn-issuer.io"}, "request": "Q1NS"},
    "status": {"conditions": [{"type": "Approved", "status": "True"}]},
}


@pytest.mark.parametrize(
    "changed",
    [
        {"spec": REQUEST["spec"] | {"profile": {"name": "short"}, "isCA": None, "usages": None, "duration": None}},
        {"status": REQUEST["status"] | {"attempts": [1], "certificate": None, "failureTime": None}},
        {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": None, "severity": 3}]}},
        {"metadata": REQUEST["metadata"] | {"annotations": None, "ownerReferences": None, "selfLink": 7}},
        {"apiVersion": None, "warnings": ["x"]},
    ],
)
def test_a_request_with_nulls_and_fields_of_another_version_is_read(changed: dict[str, Any]) -> None:
    found = read(CertificateRequest, REQUEST | changed)
    assert isinstance(found, CertificateRequest)
    assert found.is_approved
    assert found.spec.request == "Q1NS"


def test_a_request_of_odd_types_keeps_its_name_and_the_reason() -> None:
    found = read(CertificateRequest, REQUEST | {"spec": {"usages": "server auth"}})
    assert isinstance(found, Unreadable)
    assert found.metadata.key == ObjectKey("web", "one")
    assert "`$.spec.usages`" in found.reason


@pytest.mark.parametrize("part", [None, 3, "x", [], {"authorities": 3}, {"conditions": [{}]}])
def test_an_issuer_is_read_whatever_it_holds(part: object) -> None:
    metadata = {"name": "edge", "namespace": "web"}
    for fields in ({"spec": part}, {"status": part}, {"spec": part, "status": part}):
        assert isinstance(read(Issuer, {"metadata": metadata, **fields}), Issuer)


def read(type_: type[Any], manifest: Mapping[str, Any]) -> object:
    return ObjectDecoder(type_).one(msgspec.Raw(msgspec.json.encode(manifest)))
