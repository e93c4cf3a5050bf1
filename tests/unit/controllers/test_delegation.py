"""Asking the API server for other issuers: what it says of them, and which of its refusals means what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from issuer.api.meta import ObjectMeta
from issuer.api.request import IssuerRef
from issuer.authorities.delegation import ChangedError, DelegationError, MissingRightError, RefusedError
from issuer.authorities.errors import NotSentError
from issuer.controllers import delegation
from issuer.controllers.delegation import ClusterDelegation
from issuer.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    LeaseLostError,
    NotFoundError,
    ServerError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from issuer.kube.resource import Resource

LE = IssuerRef("le", "Issuer", "cert-manager.io")
WIDE = IssuerRef("le", "ClusterIssuer", "cert-manager.io")
STEP = IssuerRef("step", "ClusterIssuer", "step.example.com")
CHILD = ObjectMeta(name="child", namespace="shop", uid="u", resource_version="7")
APIS = {
    "groups": [
        {"name": "apps", "preferredVersion": {"version": "v1"}},
        {"name": "metrics.k8s.io", "preferredVersion": {"version": "v1"}},
        {"name": "cert-manager.io", "preferredVersion": {"groupVersion": "cert-manager.io/v1", "version": "v1"}},
        {"name": "cdn-issuer.io", "preferredVersion": {"version": "v1alpha1"}},
        {"name": "step.example.com", "preferredVersion": {"version": "v1"}},
    ]
}
KINDS = {
    "resources": [
        {"name": "issuers", "kind": "Issuer", "namespaced": True},
        {"name": "issuers/status", "kind": "Issuer", "namespaced": True},
        {"name": "clusterissuers", "kind": "ClusterIssuer", "namespaced": False},
        {"name": "certificates", "kind": "Certificate", "namespaced": True},
    ]
}


@dataclass
class Server:
    """An API server with cert-manager's group."""

    issuers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    time: float = 0.0

    def __post_init__(self) -> None:
        self.port = ClusterDelegation(cast("Any", self), lambda: self.time)

    async def read(self, path: str) -> bytes:
        self._call(f"read {path}")
        return msgspec.json.encode(APIS if path == "/apis" else KINDS)

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        await asyncio.sleep(0)
        self._call(f"get {resource.plural} {namespace}/{name}")
        found = self.issuers.get((namespace if resource.namespaced else "", name))
        if found is None:
            raise NotFoundError(404, "NotFound", "not found", name=name)
        return msgspec.json.encode({"metadata": {"name": name}, **found})

    async def list(self, resource: Resource, namespace: str = "", *, query: Mapping[str, str] | None = None) -> bytes:
        self._call(f"list {resource.plural} {namespace}")
        assert query is not None
        names = [name for where, name in self.issuers if not resource.namespaced or where == namespace]
        return msgspec.json.encode({"items": [{"metadata": {"name": name}} for name in names]})

    async def create(self, _resource: Resource, namespace: str, body: bytes) -> bytes:
        self._call(f"create {namespace}")
        return body

    async def delete(self, _resource: Resource, namespace: str, name: str, *, body: bytes = b"") -> bytes:
        self._call(f"delete {namespace}/{name} {body.decode()}")
        return b"{}"

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if (error := self.errors.get(what.split(maxsplit=1)[0])) is not None:
            raise error


def ready(status: str, message: str = "") -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": "Told", "message": message}
    return {"status": {"conditions": [condition]}}


NOTHING_SAID: list[dict[str, Any]] = [{}, {"status": {"conditions": "nonsense"}}]


@pytest.mark.parametrize("told", [ready("True"), ready("Unknown")])
async def test_one_that_says_nothing_against_itself_is_taken_for_ready(told: dict[str, Any]) -> None:
    server = Server({("shop", "le"): told})
    found = await server.port.issuer(LE, "shop")
    assert (found.problem, found.is_namespaced) == ("", True)


@pytest.mark.parametrize("told", NOTHING_SAID)
async def test_one_of_cert_managers_that_says_nothing_was_made_just_now_and_is_asked_with_a_doubt(
    told: dict[str, Any],
) -> None:
    found = await Server({("shop", "le"): told}).port.issuer(LE, "shop")
    assert (found.problem, found.message) == ("", "")
    assert found.doubt == "Issuer.cert-manager.io le in namespace shop has not said yet that it is ready"


@pytest.mark.parametrize("told", NOTHING_SAID)
async def test_others_need_not_say_anything(told: dict[str, Any]) -> None:
    found = await Server({("", "step"): told}).port.issuer(STEP, "shop")
    assert (found.problem, found.doubt) == ("", "")


async def test_one_that_is_not_ready_says_why() -> None:
    server = Server({("", "le"): ready("False", "the account was refused")})
    found = await server.port.issuer(WIDE, "shop")
    assert (found.problem, found.is_namespaced) == ("IssuerNotReady", False)
    assert found.message == "ClusterIssuer.cert-manager.io le is not ready: the account was refused"


async def test_one_that_is_missing_is_named_with_those_that_are_there() -> None:
    server = Server({("shop", f"i{number}"): {} for number in range(12)})
    found = await server.port.issuer(LE, "shop")
    assert found.problem == "IssuerNotFound"
    assert found.message.startswith("Issuer.cert-manager.io le does not exist in namespace shop; there are i0, i1, i10")
    assert found.message.endswith("and 2 more")


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        (
            IssuerRef("le", "Isuer", "cert-manager.io"),
            "has no kind Isuer that is installed; its issuers are ClusterIssuer",
        ),
        (IssuerRef("le", "Certificate/x", "cert-manager.io"), "has no kind Certificate/x"),
        (
            IssuerRef("le", "Issuer", "cert-manger.io"),
            "no API group cert-manger.io is installed; there are cdn-issuer.io, cert-manager.io",
        ),
    ],
)
async def test_a_kind_that_is_not_there_is_named_with_what_there_is(ref: IssuerRef, says: str) -> None:
    found = await Server().port.issuer(ref, "shop")
    assert found.problem == "IssuerNotFound"
    assert says in found.message


async def test_without_a_namespace_only_the_kind_is_looked_for() -> None:
    server = Server()
    found = await server.port.issuer(LE, "")
    assert (found.problem, found.is_namespaced) == ("", True)
    assert not any(call.startswith("get") for call in server.calls)


async def test_one_that_may_not_be_read_is_taken_for_ready() -> None:
    forbidden = ForbiddenError(403, "Forbidden", 'User "x" cannot get resource "issuers"')
    found = await Server(errors={"get": forbidden}).port.issuer(LE, "shop")
    assert (found.problem, found.is_namespaced) == ("", True)


async def test_a_name_that_no_object_can_have_is_no_issuer() -> None:
    found = await Server(errors={"get": InvalidError(400, "BadRequest", "no")}).port.issuer(LE, "shop")
    assert found.problem == "IssuerNotFound"


async def test_where_the_names_may_not_be_listed_it_says_what_to_do() -> None:
    found = await Server(errors={"list": ForbiddenError(403, "Forbidden", "no")}).port.issuer(LE, "shop")
    assert found.message.endswith("create it, or fix issuerRef")


async def test_many_who_ask_at_once_cost_one_look() -> None:
    server = Server({("shop", "le"): ready("True")})
    await asyncio.gather(*(server.port.issuer(LE, "shop") for _ in range(500)))
    assert sum(call.startswith("get") for call in server.calls) == 1
    await server.port.issuer(LE, "shop", fresh=True)
    server.time += delegation.KNOWN
    await server.port.issuer(LE, "shop")
    assert sum(call.startswith("get") for call in server.calls) == 3
    assert sum(call == "read /apis" for call in server.calls) == 1, "which kinds there are is known for longer"


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation, "MOST", 3)
    server = Server()
    for number in range(5):
        await server.port.issuer(LE, f"n{number}")
    before = len(server.calls)
    await server.port.issuer(LE, "n4")
    assert len(server.calls) == before
    await server.port.issuer(LE, "n0")
    assert len(server.calls) > before


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ForbiddenError(403, "Forbidden", 'User "x" cannot create resource "certificaterequests"'), MissingRightError),
        (ForbiddenError(403, "Forbidden", 'admission webhook "policy" denied the request: no'), RefusedError),
        (ForbiddenError(403, "Forbidden", "exceeded quota: requests"), RefusedError),
        (InvalidError(422, "Invalid", "ValidatingAdmissionPolicy 'x' denied request"), RefusedError),
        (AlreadyExistsError(409, "AlreadyExists", "exists"), ChangedError),
        (ServerError(500, "InternalError", "broken"), DelegationError),
        (UnreachableError("no answer"), DelegationError),
        (NotFoundError(404, "NotFound", "no such namespace"), DelegationError),
        (LeaseLostError("lost"), NotSentError),
    ],
)
async def test_what_a_refusal_of_the_creation_means(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        await Server(errors={"create": error}).port.create("shop", {})
    assert type(raised.value) is kind or kind is DelegationError


async def test_a_child_is_read_or_is_not_there() -> None:
    server = Server()
    assert await server.port.read("shop", "child") is None
    server.errors["get"] = NotFoundError(404, "NotFound", "no such resource")
    with pytest.raises(DelegationError, match="does not name"):
        await server.port.read("shop", "child")


async def test_a_child_is_deleted_as_it_was_looked_at() -> None:
    server = Server()
    await server.port.delete(CHILD)
    assert '"uid":"u"' in server.calls[0]
    assert '"resourceVersion":"7"' in server.calls[0]
    server.errors["delete"] = NotFoundError(404, "NotFound", "gone", name="child")
    await server.port.delete(CHILD)
    server.errors["delete"] = ConflictError(409, "Conflict", "changed")
    with pytest.raises(ChangedError):
        await server.port.delete(CHILD)


async def test_an_answer_that_nobody_can_read_is_no_answer() -> None:
    server = Server()

    async def read(path: str) -> bytes:
        return b'{"groups": 3}' if path else b""

    server.read = read  # type: ignore[method-assign]
    with pytest.raises(DelegationError, match="cannot be read"):
        await server.port.issuer(LE, "shop")
