"""Issuers that another version of this project wrote, or whose CRDs it brought, go on signing.

CRDs are installed before the controller that goes with them, and stay when it is rolled back.
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
from tests.component.quick import heard, hurried, ready_message, reason
from tests.component.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from issuer.cli.stage import Stage
    from issuer.sandbox.objects import Manifest
    from tests.component.harness import NewStage


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


async def test_an_issuer_with_a_field_of_the_next_version_goes_on_signing(new_stage: NewStage) -> None:
    def with_novelty(schema: Manifest) -> None:
        schema["spec"]["properties"]["novelty"] = {"type": "boolean"}

    async with new_stage(hurried(), controlled=False) as stage, next_version(stage, with_novelty):
        issuer = objects.issuer("local", [stage.backup()], namespace=stage.namespace, novelty=True)
        await accepted(lambda: stage.apply(issuer), lambda found: found["spec"].get("novelty") is True, stage)
        await stage.start_controller()
        await stage.ask("one", "local")
        assert reason(await heard(stage, "one")) == "Issued"
        await until(lambda: "ignores, spec.novelty" in ready_message(stage, "local"))
        await stage.stop_controller()


async def test_an_issuer_whose_status_was_written_by_the_next_version_goes_on_signing(new_stage: NewStage) -> None:
    def with_any_state(schema: Manifest) -> None:
        del schema["status"]["properties"]["authorities"]["items"]["properties"]["state"]["enum"]

    async with new_stage(hurried(), controlled=False) as stage, next_version(stage, with_any_state):
        status = {"authorities": [{"name": "backup", "state": "Resting"}]}
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


async def test_an_issuer_with_limits_at_a_ca_that_an_older_version_took_goes_on_signing_and_is_told_of(
    new_stage: NewStage,
) -> None:
    def without_rules(schema: Manifest) -> None:
        del schema["spec"]["properties"]["authorities"]["items"]["x-kubernetes-validations"]

    async with new_stage(hurried(), controlled=False) as stage, next_version(stage, without_rules):
        issuer = objects.issuer("local", [stage.backup(limits={"burst": 1})], namespace=stage.namespace)
        await accepted(lambda: stage.apply(issuer), lambda found: "limits" in found["spec"]["authorities"][0], stage)
        await stage.start_controller()
        await stage.ask("one", "local")
        assert reason(await heard(stage, "one")) == "Issued"
        told = (
            "backup signs; spec.authorities[0]: limits have no effect on a ca, which signs in process; leave them out"
        )
        await until(lambda: ready_message(stage, "local") == told)
        await stage.stop_controller()


async def test_a_ca_with_a_deadline_of_30_seconds_is_ready_and_signs(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        await stage.apply(objects.issuer("short", [stage.backup()], namespace=stage.namespace, deadline="30s"))
        await stage.ask("one", "short")
        assert reason(await heard(stage, "one")) == "Issued"
        await until(lambda: ready_message(stage, "short") == "backup signs")
