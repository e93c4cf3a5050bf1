"""An issuer that is away, broken, late or changed, and the requests that wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from issuer.sandbox import objects
from tests.component.harness import QUICK, message
from tests.component.quick import BOUND, ago, ended, heard, hurried, led, reason, say
from tests.component.rig import request, until

if TYPE_CHECKING:
    from collections.abc import Iterable

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
