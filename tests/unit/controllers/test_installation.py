"""What is told of CRDs of another version, and of another controller at the same issuers."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from issuer.api.issuer import Issuer
from issuer.controllers.installation import REMEMBERED, InstalledCRDs, OtherControllers
from issuer.kube.errors import UnreachableError
from issuer.kube.informer import Change

FIELDS = frozenset({"spec", "spec.deadline", "spec.trust", "spec.trust.roots", "status"})


class Server:
    """An API server whose CRD has these fields; None: it does not answer."""

    def __init__(self, fields: frozenset[str] | None) -> None:
        self.fields = fields

    async def read(self, path: str) -> bytes:
        assert path == "/openapi/v3/apis/cdn-issuer.io/v1alpha1"
        if self.fields is None:
            raise UnreachableError("away")
        schema: dict[str, Any] = {"properties": {}}
        for field in sorted(self.fields):
            at = schema
            for part in field.split("."):
                at = at.setdefault("properties", {}).setdefault(part, {})
        schema["x-kubernetes-group-version-kind"] = [
            {"group": "cdn-issuer.io", "version": "v1alpha1", "kind": "CDNIssuer"}
        ]
        return msgspec.json.encode({"components": {"schemas": {"one": schema}}})


def look_at(server: Server) -> InstalledCRDs:
    return InstalledCRDs(cast("Any", server), {"CDNIssuer": FIELDS, "CDNClusterIssuer": FIELDS})


async def test_fields_that_the_api_server_would_drop_are_named_until_they_are_there() -> None:
    server = Server(FIELDS - {"spec.trust", "spec.trust.roots", "status"})
    crds = look_at(server)
    await crds.look()
    assert crds.problem is not None
    assert "cdnissuers.cdn-issuer.io is of another version and lacks spec.trust, status;" in crds.problem
    assert "cdn-issuer crds | kubectl apply" in crds.problem
    server.fields = FIELDS
    await crds.look()
    assert crds.problem is None


async def test_a_newer_crd_is_no_problem() -> None:
    crds = look_at(Server(FIELDS | {"spec.rehearsal"}))
    await crds.look()
    assert crds.problem is None


async def test_what_cannot_be_read_is_no_problem_and_forgets_none() -> None:
    server = Server(None)
    crds = look_at(server)
    await crds.look()
    assert crds.problem is None
    server.fields = FIELDS - {"spec.trust", "spec.trust.roots"}
    await crds.look()
    server.fields = None
    await crds.look()
    assert crds.problem is not None


@pytest.mark.parametrize("answer", [b"[]", b"<html>", b'{"components": {"schemas": {"one": []}}}'])
async def test_an_answer_that_is_no_schema_ends_nothing(answer: bytes) -> None:
    class Proxy:
        async def read(self, _path: str) -> bytes:
            return answer

    crds = InstalledCRDs(cast("Any", Proxy()), {"CDNIssuer": FIELDS})
    await crds.look()
    assert crds.problem is None


class Watch:
    """The changes of one issuer, told to who looks for other controllers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.others = OtherControllers("system/one", lambda: self.now)
        self._old: Issuer | None = None

    def writes(self, controller: str, *, uid: str = "1", name: str = "web") -> bool:
        body = {
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "1"},
            "status": {"controller": controller},
        }
        new = msgspec.json.decode(msgspec.json.encode(body), type=Issuer)
        change = Change(self._old, new)
        self._old = new
        return self.others.observe(change)


def test_who_writes_over_our_status_is_told_of_for_a_while() -> None:
    watch = Watch()
    assert not watch.writes("system/one")
    assert watch.writes("other/two")
    problem = watch.others.problem()
    assert problem is not None
    assert "the Lease other/two serves CDNIssuer shop/web too" in problem
    watch.now = REMEMBERED - 1
    assert watch.others.problem() is not None
    watch.now = REMEMBERED + 1
    assert watch.others.problem() is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", "system/one"),
        ("other/two", "system/one"),  # a release that may be no more
        ("other/two", "third/three"),
        ("system/one", "system/one"),
        ("system/one", ""),  # the CRD does not know the field
    ],
)
def test_what_is_no_sign_of_another_at_work(first: str, second: str) -> None:
    watch = Watch()
    watch.writes(first)
    assert not watch.writes(second)
    assert watch.others.problem() is None


def test_an_issuer_that_was_made_anew_has_another_story() -> None:
    watch = Watch()
    watch.writes("system/one")
    assert not watch.writes("other/two", uid="2")
