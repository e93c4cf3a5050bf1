"""Issuing again by another authority: which Certificates are due, what is looked at before, and how fast it goes."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from issuer.api.certificate import Certificate, CertificateSpec, CertificateStatus
from issuer.api.condition import Condition
from issuer.api.issuer import Failback
from issuer.api.meta import ObjectKey, ObjectMeta, OwnerReference, format_time
from issuer.api.request import (
    AUTHORITIES_ANNOTATION,
    AUTHORITY_CONDITION,
    REVISION_ANNOTATION,
    CertificateRequest,
    IssuerRef,
    RequestSpec,
    RequestStatus,
)
from issuer.authorities.errors import Unsupported
from issuer.controllers import failback
from issuer.controllers.certificates import Carrier, Held
from issuer.controllers.failback import FailbackController
from issuer.controllers.issuance import Issuances
from issuer.controllers.issuercache import IssuerId
from issuer.controllers.moves import Why
from issuer.controllers.topics import IssuerChanged, StatusDue, Topics
from issuer.kube.errors import ConflictError, ForbiddenError, LeaseLostError, NotFoundError
from issuer.observe.metrics import Metrics
from issuer.sandbox.objects import signing_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from issuer.kube.resource import Resource

pytestmark = pytest.mark.looptime

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
REF = IssuerRef("web", "CDNIssuer", "cdn-issuer.io")
WEB = IssuerId("CDNIssuer", ObjectKey("shop", "web"))
CSR = b64encode(signing_request(["site.example.com"])).decode()
STABLE = 900.0
"""Seconds of `stableFor`, which is the default."""
LONG = STABLE + 2 * failback.LOOK_EVERY


def request(
    name: str = "site", *, signer: str = "backup", reason: str = "FailedOver", **meta: Any
) -> CertificateRequest:
    conditions = (
        Condition("Approved", "True"),
        Condition("Ready", "True", "Issued"),
        Condition(AUTHORITY_CONDITION, "True", reason, f"{signer} signed"),
    )
    annotations = {REVISION_ANNOTATION: "3", **meta.pop("annotations", {})}
    owner = OwnerReference("Certificate", name, f"uid-of-{name}", controller=True)
    known = {"name": f"{name}-3", "namespace": "shop", "uid": f"{name}-uid", "creation_timestamp": format_time(NOW)}
    metadata = ObjectMeta(**{**known, "annotations": annotations, "owner_references": (owner,), **meta})
    return CertificateRequest(metadata, RequestSpec(REF, CSR), RequestStatus(conditions, "x"))


def certificate(name: str = "site", **status: Any) -> Certificate:
    issuing = status.pop("conditions", (Condition("Ready", "True"), Condition("Issuing", "False", "Issued")))
    metadata = ObjectMeta(name=name, namespace="shop", uid=f"uid-of-{name}", generation=2, resource_version="77")
    return Certificate(metadata, CertificateSpec(REF), CertificateStatus(issuing, **{"revision": 3, **status}))


@dataclass
class World:
    """An API server with Certificates and their requests, an issuer with two authorities, and the controller."""

    signers: Mapping[str, str] = field(default_factory=lambda: {"site": "backup"})
    """Who signed, by Certificate."""
    reason: str = "FailedOver"
    failback: Failback = field(default_factory=lambda: Failback("WhenStable"))
    modes: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    unsupported: set[str] = field(default_factory=set)
    failed: datetime | None = None
    errors: dict[str, list[Exception]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.topics, self.metrics = Topics(), Metrics()
        self.requests = {
            f"{name}-3": request(name, signer=who, reason=self.reason) for name, who in self.signers.items()
        }
        self.certificates = {name: certificate(name) for name in self.signers}
        self.calls: list[str] = []
        self.started: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.events: list[tuple[str, str]] = []
        self.told: list[IssuerId] = []
        self.topics.subscribe(StatusDue, lambda news: self.told.append(news.id))
        events = cast("Any", SimpleNamespace(emit=lambda _about, _type, why, what: self.events.append((why, what))))
        self.controller = FailbackController(
            issuances=Issuances(cast("Any", self), events, lambda: NOW),
            certificates=cast("Any", SimpleNamespace(held=self.held)),
            book=cast("Any", SimpleNamespace(find=lambda _: self.entry, entries=lambda: [self.entry])),
            engine=cast("Any", SimpleNamespace(states=self.health)),
            topics=self.topics,
            metrics=self.metrics,
        )

    @property
    def entry(self) -> Any:
        authorities = [self.authority(name) for name in ("edge", "backup")]
        return SimpleNamespace(id=WEB, plan=SimpleNamespace(authorities=authorities), failback=self.failback)

    def authority(self, name: str) -> Any:
        mode = self.modes.get(name, "Active")

        def supports(_: object) -> None:
            if name in self.unsupported:
                raise Unsupported(name, "no such names")

        return SimpleNamespace(
            name=name,
            common=SimpleNamespace(state=mode),
            is_active=mode == "Active",
            authority=SimpleNamespace(supports=supports),
        )

    def health(self, _plan: object) -> list[object]:
        return [
            SimpleNamespace(
                name=name,
                state=self.states.get(name, self.modes.get(name, "Available")),
                last_failure=self.failed if name == "edge" else None,
            )
            for name in ("edge", "backup")
        ]

    def held(self) -> list[tuple[ObjectKey, Held]]:
        found = []
        for days, (name, who) in enumerate(self.signers.items(), 1):
            carrier = Carrier(ObjectKey("shop", f"{name}-3"), f"{name}-uid", NOW)
            signer = ("CDNIssuer", "shop", "web", who)
            found.append((ObjectKey("shop", name), Held(signer, NOW + timedelta(days=days), carrier)))
        return found

    async def get(self, resource: Resource, _namespace: str, name: str) -> bytes:
        self._called("get", resource)
        found = (self.certificates if resource.plural == "certificates" else self.requests).get(name)
        if found is None:
            raise NotFoundError(404, "NotFound", "not found", name=name)
        return msgspec.json.encode(found)

    async def patch(self, resource: Resource, _namespace: str, name: str, body: bytes, *, subresource: str) -> bytes:
        self._called("patch", resource, subresource)
        self.started.append(name)
        self.bodies.append(msgspec.json.decode(body))
        return b"{}"

    def _called(self, verb: str, resource: Resource, subresource: str = "") -> None:
        call = " ".join(filter(None, (verb, resource.plural, subresource)))
        self.calls.append(call)
        if self.errors.get(call):
            raise self.errors[call].pop(0)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The controller at work, and its chore."""

        async def look() -> None:
            while True:
                await self.controller.look()
                await asyncio.sleep(failback.LOOK_EVERY)

        await self.controller.start()
        tasks = [asyncio.create_task(self.controller.run()), asyncio.create_task(look())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def after(self, seconds: float) -> list[str]:
        """What was started by then."""
        async with self.running():
            await asyncio.sleep(seconds)
        return self.started


async def test_what_a_later_authority_signed_goes_back_once_the_first_is_steady() -> None:
    world = World()
    async with world.running():
        await asyncio.sleep(STABLE - 1)
        assert world.calls == []
        await asyncio.sleep(LONG - STABLE)
        assert world.calls == ["get certificaterequests", "get certificates", "patch certificates status"]
    (body,) = world.bodies
    assert body["metadata"] == {"resourceVersion": "77"}
    issuing = body["status"]["conditions"][1]
    message = issuing["message"]
    assert (issuing["type"], issuing["status"], issuing["reason"]) == ("Issuing", "True", "Failback")
    assert message == "authority backup signed it while another could not, and edge can again; issued again"
    assert world.events == [("Failback", message)]
    assert b'certificates_moved_total{issuer="web"' in world.metrics.render()[0]


async def test_it_stays_where_nobody_asked_for_that() -> None:
    assert await World(failback=Failback()).after(LONG) == []


async def test_what_the_first_signed_stays() -> None:
    assert await World(signers={"site": "edge"}).after(LONG) == []


async def test_a_failure_makes_the_time_count_anew() -> None:
    world = World()
    async with world.running():
        await asyncio.sleep(STABLE - 30)
        world.failed = NOW
        await asyncio.sleep(60)
        assert world.started == []
        await asyncio.sleep(LONG)
        assert world.started == ["site"]


@pytest.mark.parametrize("state", ["Open", "Degraded", "Unauthorized", "SecretNotFound"])
async def test_nothing_goes_back_to_one_that_something_is_known_against(state: str) -> None:
    assert await World(states={"edge": state}).after(LONG) == []


async def test_one_certificate_goes_first_to_an_authority_that_nobody_has_asked_since_it_was_down() -> None:
    world = World({"a": "backup", "b": "backup", "c": "backup"}, states={"edge": "Untested"})
    async with world.running():
        await asyncio.sleep(LONG)
        assert world.started == ["a"]
        world.states["edge"], world.failed = "Open", NOW
        world.signers = {"b": "backup", "c": "backup", "a": "backup"}  # as it was signed last, it expires last
        await asyncio.sleep(30)
        world.states["edge"] = "Untested"
        await asyncio.sleep(2 * STABLE - 10)
        assert world.started == ["a"], "it failed: twice the time"
        await asyncio.sleep(60)
        assert world.started == ["a", "b"]
        world.states["edge"] = "Available"
        world.signers = {"b": "edge", "c": "backup", "a": "backup"}
        await asyncio.sleep(STABLE - 60)
        assert world.started == ["a", "b"], "it signed: the others follow after its time"
        await asyncio.sleep(120)
        assert world.started == ["a", "b", "c", "a"]


@pytest.mark.parametrize("mode", ["Disabled", "Draining"])
async def test_nothing_goes_back_to_one_that_signs_nothing(mode: str) -> None:
    assert await World(modes={"edge": mode}).after(LONG) == []


async def test_a_certificate_that_the_first_never_signs_stays() -> None:
    refused = World(reason="PassedOver")
    assert await refused.after(2 * LONG) == []
    assert refused.calls == ["get certificaterequests"], "that is known from then on"
    assert refused.controller.depth == 0
    assert await World(unsupported={"edge"}).after(LONG) == []


async def test_a_certificate_says_itself_who_may_sign_it() -> None:
    world = World()
    world.requests["site-3"] = request(annotations={AUTHORITIES_ANNOTATION: "backup"})
    assert await world.after(LONG) == []


async def test_what_a_draining_authority_signed_is_issued_again_and_counted() -> None:
    world = World(
        {"a": "edge", "b": "edge", "c": "backup"}, failback=Failback(per_minute=1), modes={"edge": "Draining"}
    )
    async with world.running():
        await asyncio.sleep(1)
        assert world.controller.left(WEB, "edge") == 2
        assert world.controller.left(WEB, "backup") is None
        assert world.started == ["a"], "what expires first goes first"
        assert world.told == [WEB]
        world.signers = {"a": "backup", "b": "edge", "c": "backup"}
        await asyncio.sleep(61)
        assert world.started == ["a", "b"]
        world.signers = {"a": "backup", "b": "backup", "c": "backup"}
        await asyncio.sleep(failback.LOOK_EVERY)
        assert world.controller.left(WEB, "edge") == 0
    message = "authority edge, which signed it, is Draining; issued again by backup"
    assert world.events == [("AuthorityDraining", message)] * 2


@pytest.mark.parametrize("trouble", [{"states": {"backup": "Open"}}, {"unsupported": {"backup"}}])
async def test_nobody_is_drained_where_no_other_can_sign(trouble: dict[str, Any]) -> None:
    world = World({"site": "edge"}, modes={"edge": "Draining"}, **trouble)
    assert await world.after(LONG) == []
    assert world.controller.left(WEB, "edge") == 1


async def test_one_that_was_started_is_left_to_cert_manager() -> None:
    world = World({"site": "edge"}, modes={"edge": "Draining"})
    assert await world.after(failback.AGAIN - 30) == ["site"]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(certificate(revision=4), id="issued since"),
        pytest.param(certificate(last_failure_time=format_time(NOW)), id="its last issuance failed"),
        pytest.param(certificate(conditions=(Condition("Issuing", "True", "Renewing"),)), id="being issued"),
        pytest.param(replace(certificate(), spec=CertificateSpec(IssuerRef("other"))), id="of another issuer now"),
        pytest.param(replace(certificate(), metadata=replace(certificate().metadata, uid="another")), id="made again"),
        pytest.param(
            replace(certificate(), metadata=replace(certificate().metadata, deletion_timestamp=format_time(NOW))),
            id="being deleted",
        ),
    ],
)
async def test_a_certificate_is_left_alone_that_is(changed: Certificate) -> None:
    world = World({"site": "edge"}, modes={"edge": "Draining"})
    world.certificates["site"] = changed
    assert await world.after(30) == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(request(signer="backup"), id="signed by another"),
        pytest.param(request(signer="edge", uid="another"), id="another of the same name"),
        pytest.param(request(signer="edge", owner_references=()), id="without an owner"),
        pytest.param(replace(request(signer="edge"), spec=RequestSpec(REF, "nonsense")), id="one that nobody can read"),
    ],
)
async def test_nothing_is_started_for_a_request_that_is(changed: CertificateRequest) -> None:
    world = World({"site": "edge"}, modes={"edge": "Draining"})
    world.requests["site-3"] = changed
    assert await world.after(30) == []


async def test_objects_that_are_gone_are_passed_over() -> None:
    world = World({"a": "edge", "b": "edge", "c": "edge"}, modes={"edge": "Draining"})
    del world.requests["a-3"]
    del world.certificates["b"]
    assert await world.after(5) == ["c"]


async def test_one_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    world = World({"a": "edge", "b": "edge"}, modes={"edge": "Draining"})
    get = world.get

    async def strange(resource: Resource, _namespace: str, name: str) -> bytes:
        return b'{"metadata": 3}' if name == "a" else await get(resource, _namespace, name)

    world.get = strange  # type: ignore[method-assign]
    assert await world.after(3 * failback.LOOK_EVERY) == ["b"]


async def test_a_conflict_is_decided_again_and_an_error_waits() -> None:
    patched = "patch certificates status"
    for error in (ConflictError(409, "Conflict", "changed"), ForbiddenError(403, "Forbidden", "no right")):
        world = World({"site": "edge"}, modes={"edge": "Draining"}, errors={patched: [error]})
        assert await world.after(3 * failback.LOOK_EVERY) == ["site"]
        assert world.calls.count(patched) == 2


async def test_a_lease_that_is_lost_ends_it() -> None:
    lost: dict[str, list[Exception]] = {"get certificaterequests": [LeaseLostError("lost")]}
    world = World({"site": "edge"}, modes={"edge": "Draining"}, errors=lost)
    with pytest.raises(LeaseLostError):
        await world.after(1)


async def test_a_change_of_the_issuer_has_it_looked_at_anew() -> None:
    world = World({"site": "edge"}, modes={"edge": "Draining"}, unsupported={"backup"})
    async with world.running():
        await asyncio.sleep(5)
        assert world.started == []
        world.unsupported.clear()
        await world.controller.look()
        world.topics.publish(IssuerChanged(WEB))
        await asyncio.sleep(2 * failback.LOOK_EVERY)
        assert world.started == ["site"]


async def test_nothing_is_begun_once_it_drains() -> None:
    world = World({"site": "edge"}, modes={"edge": "Draining"})
    await world.controller.drain(1)
    assert await world.after(30) == []
    assert not await world.controller.flush()


def test_the_reasons_are_words_of_one_condition() -> None:
    assert {why.value for why in Why} == {"AuthorityDraining", "Failback"}
