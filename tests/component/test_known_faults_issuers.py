"""Known faults about issuers: away for a moment, broken, or of another version. Each test says what is right.

An issuer that is not there, or cannot be read, is no reason for a request to end before the deadline that it asked for.
"""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from issuer.api import crd
from issuer.authorities import registry
from issuer.sandbox import objects
from issuer.sandbox.cluster import StatusError
from tests.component.harness import QUICK, message
from tests.component.known_faults import BOUND, ago, ended, heard, hurried, known_fault, led, reason, say
from tests.component.rig import request, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    import pytest

    from issuer.api.request import CertificateRequest
    from issuer.cli.stage import Stage
    from issuer.sandbox.objects import Manifest
    from tests.component.harness import NewStage


def edge_issuer(stage: Stage, **settings: Any) -> Manifest:
    """An issuer that gives its requests a day."""
    return objects.issuer("web", [stage.edge(**QUICK, **settings)], namespace=stage.namespace, deadline="24h")


async def waits_for_two_hours(stage: Stage) -> None:
    """The provider is down, and a request that was approved two hours ago waits for it."""
    stage.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
    await stage.apply(edge_issuer(stage))
    await led(stage)
    await stage.ask("one", "web")
    await say(stage, "one", "Approved", when=ago(hours=2))
    assert reason(await heard(stage, "one")) == "Pending"


async def told_of(stage: Stage, words: str) -> CertificateRequest:
    """The request, once its condition has these words in it."""
    await until(lambda: words in message(request(stage, "one")), BOUND)
    return request(stage, "one")


async def test_an_issuer_that_is_deleted_and_made_again_costs_no_request_its_deadline(new_stage: NewStage) -> None:
    async with new_stage(hurried(), approve=False) as stage:
        await waits_for_two_hours(stage)
        await stage.cluster.delete("cdnissuers", stage.namespace, "web")
        assert reason(await told_of(stage, "does not exist")) == "Pending"
        stage.cdn.faults.clear()
        await stage.apply(edge_issuer(stage))
        assert reason(await ended(stage, "one")) == "Issued"


async def test_a_typo_in_an_issuer_costs_no_request_its_deadline(new_stage: NewStage) -> None:
    async with new_stage(hurried(), approve=False) as stage:
        await waits_for_two_hours(stage)
        await stage.apply(
            edge_issuer(stage) | {"spec": {**edge_issuer(stage)["spec"], "authorities": [nonsense(stage)]}}
        )
        assert reason(await told_of(stage, "cannot be used")) == "Pending"
        stage.cdn.faults.clear()
        await stage.apply(edge_issuer(stage))
        assert reason(await ended(stage, "one")) == "Issued"


def nonsense(stage: Stage) -> Manifest:
    """An authority that the API server takes and the controller cannot use."""
    return {**stage.edge(**QUICK), "caBundle": "no certificate"}


async def test_an_issuer_that_is_installed_hours_after_its_requests_signs_them(new_stage: NewStage) -> None:
    async with new_stage(hurried(), approve=False, controlled=False) as stage:
        await stage.ask("one", "local")
        await say(stage, "one", "Approved", when=ago(hours=3))
        await stage.start_controller()
        assert reason(await heard(stage, "one")) == "Pending"
        await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))
        assert reason(await ended(stage, "one")) == "Issued"


@asynccontextmanager
async def next_version(stage: Stage, change: Callable[[Manifest], None]) -> AsyncIterator[None]:
    """The CRDs of the next version of this project, which change the schema of an issuer; ours again afterwards."""
    definitions = crd.definitions(registry.configs())
    newer = copy.deepcopy(definitions[0])
    change(newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"])
    await stage.apply(newer)
    try:
        yield
    finally:
        await stage.cluster.delete("cdnissuers", stage.namespace, "local")
        await stage.apply(definitions[0])


async def accepted(write: Callable[[], Any], seen: Callable[[Manifest], bool], stage: Stage) -> None:
    """Write until the API server has taken it, and shows it: it uses a new schema only after a moment."""
    async with asyncio.timeout(15):
        while True:
            try:
                await write()
                if seen(stage.cluster.get("cdnissuers", stage.namespace, "local")):
                    return
            except StatusError:
                pass
            await asyncio.sleep(0.1)


@known_fault("M3a: one field that is not known makes an issuer unusable")
async def test_an_issuer_with_a_field_of_the_next_version_goes_on_signing(new_stage: NewStage) -> None:
    def with_recovery(schema: Manifest) -> None:
        schema["spec"]["properties"]["recovery"] = {"type": "boolean"}

    async with new_stage(hurried(), controlled=False) as stage, next_version(stage, with_recovery):
        issuer = objects.issuer("local", [stage.backup()], namespace=stage.namespace, recovery=True)
        await accepted(lambda: stage.apply(issuer), lambda found: found["spec"].get("recovery") is True, stage)
        await stage.start_controller()
        await stage.ask("one", "local")
        assert reason(await heard(stage, "one")) == "Issued"
        await stage.stop_controller()


@known_fault("M3b: an issuer whose status has a state that is not known counts as gone")
async def test_an_issuer_whose_status_was_written_by_the_next_version_goes_on_signing(new_stage: NewStage) -> None:
    def with_any_state(schema: Manifest) -> None:
        del schema["status"]["properties"]["authorities"]["items"]["properties"]["state"]["enum"]

    async with new_stage(hurried(), controlled=False) as stage, next_version(stage, with_any_state):
        status = {"authorities": [{"name": "backup", "state": "Draining"}]}
        await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))
        await accepted(
            lambda: stage.cluster.set_status("cdnissuers", stage.namespace, "local", status),
            lambda found: "status" in found,
            stage,
        )
        await stage.start_controller()
        await stage.ask("one", "local")
        assert reason(await heard(stage, "one")) == "Issued"
        await stage.stop_controller()


async def test_a_change_of_an_issuer_does_not_walk_the_requests_of_all_others(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_stage(hurried()) as stage:
        await led(stage)
        walks: list[int] = []
        items = stage.program.requests.items

        def counted() -> Iterable[CertificateRequest]:
            walks.append(1)
            return items()

        monkeypatch.setattr(stage.program.requests, "items", counted)
        for number in range(5):
            deadline = f"{number + 1}h"
            await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace, deadline=deadline))
            await until(lambda generation=number + 1: observed(stage) == generation)  # type: ignore[misc]
        assert len(walks) == 0


def observed(stage: Stage) -> int:
    """The generation of the issuer that its Ready condition is about."""
    status = stage.cluster.get("cdnissuers", stage.namespace, "local").get("status", {})
    return max((condition.get("observedGeneration", 0) for condition in status.get("conditions", [])), default=0)


@known_fault("m6: issuers that do not exist use up the names that the metrics tell apart")
async def test_requests_for_issuers_that_do_not_exist_take_no_real_issuer_its_metrics(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issuer.observe.metrics.MAX_ISSUERS", 3)
    async with new_stage(hurried(), approve=False) as stage:
        await led(stage)
        for number in range(3):
            await stage.ask(f"typo-{number}", f"typo-{number}")
            await say(stage, f"typo-{number}", "Denied")
            await ended(stage, f"typo-{number}")
        await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))
        await stage.ask("one", "local")
        await say(stage, "one", "Approved")
        await ended(stage, "one")
        await until(lambda: 'outcome="issued"' in page(stage), BOUND)
        issued = [line for line in page(stage).splitlines() if 'outcome="issued"' in line and "requests_total" in line]
        assert len(issued) == 1
        assert 'issuer="local"' in issued[0]


def page(stage: Stage) -> str:
    """What Prometheus would scrape."""
    return stage.metrics.render()[0].decode()
