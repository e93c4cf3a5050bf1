"""What goes wrong between the controller and the API server while it reads: it hears of every request all the same."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING

from issuer.api import crd
from issuer.api.request import signer_of
from issuer.authorities import registry
from issuer.cli.stage import TOKEN
from issuer.sandbox import objects
from issuer.sandbox.cdn import Token
from issuer.sandbox.cluster import Fault
from tests.component.harness import QUICK, ended, live, pending, signatures, two_authorities

if TYPE_CHECKING:
    from tests.component.harness import NewStage


async def test_a_request_that_comes_while_the_watch_is_cut_is_signed(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        await stage.ask("before", "web")
        await ended(stage, "before")
        stage.cluster.cut_watches()
        await stage.ask("after", "web")
        assert signer_of(await ended(stage, "after")) == "edge"


async def test_after_a_compaction_everything_is_listed_anew_and_nothing_is_signed_again(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        csr = await stage.ask("before", "web")
        await ended(stage, "before")
        unanswered = stage.cluster.faults.add(Fault(kind="error", method="GET", path_contains="certificaterequests"))
        stage.cluster.cut_watches()
        await stage.ask("after", "web")
        await stage.cluster.delete("certificaterequests", stage.namespace, "before")
        stage.cluster.compact()
        stage.cluster.faults.remove(unanswered)
        assert signer_of(await ended(stage, "after")) == "edge"
        assert live(stage, csr) == 1
        assert signatures(stage) == 2


async def test_a_list_that_is_refused_throttled_and_broken_is_asked_for_again(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await stage.stop_controller()
        for kind in ("error", "throttle", "cut", "gone"):
            stage.cluster.faults.add(
                Fault(kind=kind, method="GET", path_contains="certificaterequests", count=1, seconds=0)
            )
        await stage.start_controller()
        await two_authorities(stage)
        await stage.ask("www", "web")
        assert signer_of(await ended(stage, "www")) == "edge"


async def test_a_field_selector_that_the_server_does_not_know_is_done_without(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await stage.stop_controller()
        refusal = Fault(kind="error", status=400, method="GET", path_contains="fieldSelector")
        stage.cluster.faults.add(refusal)
        await stage.start_controller()
        await two_authorities(stage)
        csr = objects.signing_request(["foreign.example.com"])
        foreign = objects.certificate_request("foreign", csr, namespace=stage.namespace, issuer="web")
        foreign["spec"]["issuerRef"]["group"] = "cert-manager.io"
        await stage.apply(foreign)
        await stage.ask("www", "web")
        assert signer_of(await ended(stage, "www")) == "edge"
        assert refusal.hits >= 1
        assert len(stage.program.requests) == 1


async def test_the_controller_waits_for_crds_that_are_installed_later(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await stage.stop_controller()
        definitions = crd.definitions(registry.configs())
        for definition in definitions:
            await stage.cluster.delete("customresourcedefinitions", "", definition["metadata"]["name"])
        await stage.start_controller()
        await stage.ask("www", "web")
        asked = "/apis/cdn-issuer.io/v1alpha1/cdnissuers"
        while ("GET", asked) not in stage.cluster.calls or "cdnissuers" not in (stage.program.unready() or ""):  # noqa: ASYNC110 - polled as the kubelet does
            await asyncio.sleep(0)
        for definition in definitions:
            await stage.apply(definition)
        await two_authorities(stage)
        assert signer_of(await ended(stage, "www")) == "edge"
        assert stage.program.unready() is None


async def test_an_issuer_that_changes_while_a_request_is_signed_serves_the_next_one_anew(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        slow = stage.cdn.faults.set("slow", seconds=0.2, methods=["POST"])
        await stage.ask("first", "web")
        await stage.cdn.until(lambda: signatures(stage) == 1)
        await stage.apply(objects.issuer("web", [stage.backup()], namespace=stage.namespace))
        assert signer_of(await ended(stage, "first")) == "edge"
        stage.cdn.faults.clear(slow)
        await stage.ask("second", "web")
        assert signer_of(await ended(stage, "second")) == "backup"


async def test_a_token_that_is_rotated_is_read_again_after_a_refusal_and_before_giving_up(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await stage.apply(objects.issuer("alone", [stage.edge(**QUICK)], namespace=stage.namespace))
        await stage.ask("first", "alone")
        await ended(stage, "first")
        del stage.cdn.tokens[TOKEN]
        stage.cdn.tokens["rotated"] = Token()
        rotated = objects.secret("cloudflare", stage.namespace, {})
        await stage.apply(rotated | {"data": {"token": b64encode(b"rotated").decode()}})
        await stage.ask("second", "alone")
        assert signer_of(await ended(stage, "second")) == "edge"


async def test_a_failing_read_of_a_secret_is_no_end(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        broken = stage.cluster.faults.add(Fault(kind="error", method="GET", path_contains="/secrets/"))
        await stage.apply(objects.issuer("alone", [stage.edge(**QUICK)], namespace=stage.namespace))
        await stage.ask("www", "alone")
        assert (await pending(stage, "www")).status.failure_time is None
        stage.cluster.faults.remove(broken)
        stage.program.request_controller.triggers.wake()
        assert signer_of(await ended(stage, "www")) == "edge"
