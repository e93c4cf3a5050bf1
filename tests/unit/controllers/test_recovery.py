"""Starting issuances again: what is asked of the API server, in which order, and what holds it back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from issuer.api.issuer import Recovery
from issuer.api.meta import ObjectKey
from issuer.controllers import recovery
from issuer.controllers.issuance import Issuances
from issuer.controllers.recovery import RecoveryController
from issuer.controllers.topics import AccountRecovered, IssuerChanged, Topics
from issuer.kube.errors import ConflictError, ForbiddenError, LeaseLostError, NotFoundError, UnreachableError
from issuer.kube.informer import Change
from issuer.observe.metrics import Metrics
from tests.unit.controllers.test_renewal import CERTIFICATE, LATER, WEB, anew, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from issuer.api.certificate import Certificate
    from issuer.api.request import CertificateRequest
    from issuer.kube.resource import Resource


@dataclass
class World:
    """An API server with one Certificate and one request, an issuer, and the controller between them."""

    certificate: Certificate | None = CERTIFICATE
    request: CertificateRequest | None = field(default_factory=request)
    recovery: Recovery = field(default_factory=Recovery)
    states: dict[str, str] = field(default_factory=lambda: {"edge": "Open", "backup": "Untested"})
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topics, self.metrics = Topics(), Metrics()
        events = cast("Any", SimpleNamespace(emit=lambda _about, _type, why, what: self.events.append((why, what))))
        self.controller = RecoveryController(
            issuances=Issuances(cast("Any", self), events, lambda: LATER),
            requests=cast("Any", SimpleNamespace(add_handler=lambda _: None)),
            book=cast("Any", SimpleNamespace(find=self.find)),
            engine=cast("Any", SimpleNamespace(states=self.health, users=lambda _: {("CDNIssuer", "shop/web")})),
            topics=self.topics,
            metrics=self.metrics,
            now=lambda: LATER,
        )

    def find(self, _issuer: object) -> object:
        return SimpleNamespace(plan=object(), recovery=self.recovery)

    def health(self, _plan: object) -> list[object]:
        return [SimpleNamespace(name=name, state=state) for name, state in self.states.items()]

    async def get(self, resource: Resource, _namespace: str, name: str) -> bytes:
        self._called("get", resource)
        found = self.certificate if resource.plural == "certificates" else self.request
        if found is None:
            raise NotFoundError(404, "NotFound", "not found", name=name)
        return msgspec.json.encode(found)

    async def patch(self, resource: Resource, _namespace: str, _name: str, body: bytes, *, subresource: str) -> bytes:
        self._called("patch", resource, subresource)
        self.bodies.append(msgspec.json.decode(body))
        return b"{}"

    def _called(self, verb: str, resource: Resource, subresource: str = "") -> None:
        call = " ".join(filter(None, (verb, resource.plural, subresource)))
        self.calls.append(call)
        if self.errors.get(call):
            raise self.errors[call].pop(0)

    @contextlib.asynccontextmanager
    async def running(self, *failed: CertificateRequest) -> AsyncIterator[asyncio.Task[None]]:
        """The controller at work, with these requests in its cache."""
        for one in failed or (request(),):
            self.controller.observe(Change(None, one))
        await self.controller.start()
        task = asyncio.create_task(self.controller.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_started(self) -> None:
        async with asyncio.timeout(5):
            while not self.bodies:  # noqa: ASYNC110 - the fakes announce nothing
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LATER", 0.05)
    monkeypatch.setattr(recovery, "TICK", 0.05)


LOOK = ["get certificates"]
START = ["get certificates", "get certificaterequests", "patch certificates status"]


async def test_the_certificate_is_judged_then_the_request_then_written_to_the_version_that_was_judged() -> None:
    world = World(certificate=replace(CERTIFICATE, metadata=replace(CERTIFICATE.metadata, resource_version="77")))
    async with world.running():
        await world.until_started()
        await asyncio.sleep(0.2)
    assert world.calls == LOOK + START
    (body,) = world.bodies
    assert body["metadata"] == {"resourceVersion": "77"}
    ready, issuing = body["status"]["conditions"]
    assert ready == {"type": "Ready", "status": "True"}
    message = issuing.pop("message")
    assert issuing == {
        "type": "Issuing",
        "status": "True",
        "reason": "RenewedAfterOutage",
        "lastTransitionTime": "2026-11-27T12:10:00Z",
        "observedGeneration": 2,
    }
    assert world.events == [("RenewedAfterOutage", message)]
    assert b'certificates_renewed_after_outage_total{issuer="web"' in world.metrics.render()[0]


@pytest.mark.parametrize("now", [None, request(uid="another"), request(cause="Rejected"), anew("site")])
async def test_nothing_is_started_where_the_failed_request_is_not_there_any_more(
    now: CertificateRequest | None,
) -> None:
    world = World(request=now)
    async with world.running():
        await asyncio.sleep(0.2)
    assert (world.calls, world.controller.depth) == (LOOK + START[:2], 0)


async def test_nothing_is_started_for_a_certificate_that_is_not_there_any_more() -> None:
    world = World(certificate=None)
    async with world.running():
        await asyncio.sleep(0.2)
    assert (world.calls, world.controller.depth) == (LOOK * 2, 0)


@pytest.mark.parametrize(
    ("states", "only"), [({"edge": "Open"}, ""), ({"edge": "Open", "backup": "Available"}, "edge"), ({}, "")]
)
async def test_nothing_is_asked_while_no_authority_that_may_sign_can(states: dict[str, str], only: str) -> None:
    world = World(states=states)
    async with world.running(request(only=only)):
        await asyncio.sleep(0.2)
        assert world.calls == []
        world.states = {"edge": "Available"}
        world.topics.publish(AccountRecovered("edge#1"))
        await world.until_started()


async def test_nothing_is_asked_for_an_issuer_that_does_without() -> None:
    world = World(recovery=Recovery(renew_after_outage=False))
    async with world.running():
        await asyncio.sleep(0.2)
        assert world.calls == []
        world.recovery = Recovery()
        world.topics.publish(IssuerChanged(WEB))
        await world.until_started()


async def test_what_the_api_server_does_not_say_is_asked_again_and_told_once_a_minute() -> None:
    gone = NotFoundError(404, "NotFound", "404 page not found")
    refused = ForbiddenError(403, "Forbidden", 'cannot get resource "certificates"')
    world = World(errors={"get certificates": [refused, gone, UnreachableError("down")]})
    with capture_logs() as lines:
        async with world.running():
            await world.until_started()
    told = [line["error"] for line in lines if line["event"] == "certificate not renewed"]
    assert told == [str(refused)]
    assert world.controller.depth == 0


async def test_one_that_changes_under_the_write_is_judged_anew() -> None:
    world = World(errors={"patch certificates status": [ConflictError(409, "Conflict", "changed")]})
    async with world.running():
        await world.until_started()
    assert world.calls == LOOK + START + START


@pytest.mark.parametrize("call", START)
async def test_who_leads_no_more_ends(call: str) -> None:
    world = World(errors={call: [LeaseLostError("gone")]})
    async with world.running() as task:
        with pytest.raises(LeaseLostError):
            await asyncio.wait_for(task, 5)


async def test_a_defect_with_one_is_logged_and_costs_the_others_nothing() -> None:
    world = World(errors={"get certificates": [RuntimeError("a defect")]})
    with capture_logs() as lines:
        async with world.running():
            await world.until_started()
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["recovery failed"]


async def test_a_stop_begins_nothing_more() -> None:
    world = World()
    await world.controller.drain(1)
    async with world.running() as task:
        await asyncio.wait_for(task, 5)
    assert world.calls == []
    assert not await world.controller.flush()


async def test_how_many_wait_is_told_by_the_one_that_leads() -> None:
    world = World(states={})
    for name in ("a", "b"):
        world.controller.observe(Change(None, request(name)))
    assert list(world.controller.measures()) == []
    await world.controller.start()
    (measure,) = world.controller.measures()
    assert (measure.value, measure.labels) == (2, ("CDNIssuer", "shop", "web"))
    world.controller.observe(Change(request("a"), None))
    assert world.controller.depth == 1


async def test_those_that_expire_first_come_first() -> None:
    world = World(recovery=Recovery(per_minute=600))
    ends = {"a": 3, "b": 1, "c": 2}
    asked: list[str] = []

    async def get(resource: Resource, _namespace: str, name: str) -> bytes:
        if resource.plural != "certificates":
            return msgspec.json.encode(request(name.removesuffix("-3")))
        asked.append(name)
        expires = (LATER + timedelta(days=ends[name])).isoformat()
        meta = replace(CERTIFICATE.metadata, name=name, uid=f"uid-of-{name}")
        return msgspec.json.encode(
            replace(CERTIFICATE, metadata=meta, status=replace(CERTIFICATE.status, not_after=expires))
        )

    world.get = get  # type: ignore[method-assign]
    async with world.running(*(request(name) for name in ends)):
        await world.until_started()
        old = anew("z")
        signed = request("z", uid="z-next", ready=("True", "Issued"), cause="")
        world.controller.observe(Change(old, signed))
        async with asyncio.timeout(5):
            while len(world.bodies) < len(ends):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert asked[3:] == ["b", "c", "a"]
    assert world.controller._backlog.lines() == []
    assert ObjectKey("shop", "a") not in world.controller._backlog._where
