"""What is wrong with a Certificate of real cert-manager is told on it, once, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from issuer.api.risks import ChainCode, RiskCode, SpecCode, TimeCode
from tests.e2e.test_certificates import DUE_SOON, ROUND

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.controlplane.plane import Manifest
    from tests.e2e.world import World

CODES: frozenset[RiskCode] = frozenset((*get_args(TimeCode), *get_args(ChainCode), *get_args(SpecCode)))
KEPT: Manifest = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"}
LOOKED: float = 60.0
"""Seconds in which what is there is looked at and told."""


def told(world: World, name: str) -> list[str]:
    """What was told of a Certificate, each as often as it was."""
    found: list[str] = []
    for event in world.all("events"):
        about = event["involvedObject"]
        if (about["kind"], about["name"]) == ("Certificate", name) and event["reason"] in CODES:
            series = event.get("series") or {}
            found += [event["reason"]] * max(1, event.get("count") or 0, series.get("count") or 0)
    return sorted(found)


def ours(world: World, wanted: Callable[[dict[str, Any]], bool]) -> int:
    """Certificates of our issuers in the cluster, those of other tests included, with such a specification."""
    everywhere = world.plane.ask("GET", "/apis/cert-manager.io/v1/certificates")["items"]
    specs = [one["spec"] for one in everywhere if one["spec"]["issuerRef"].get("group") == "cdn-issuer.io"]
    return sum(1 for spec in specs if wanted(spec))


def is_kept(spec: dict[str, Any]) -> bool:
    return bool(spec.get("privateKey", {}).get("rotationPolicy") == "Never")


async def test_a_key_that_is_kept_and_a_history_of_one_are_told_once_and_counted_and_a_healthy_one_has_nothing(
    world: World,
) -> None:
    await world.issuer()
    world.certificate("kept", key=KEPT, revisionHistoryLimit=2, **DUE_SOON)
    world.certificate("short", revisionHistoryLimit=1)
    world.certificate("usual")
    world.certificate("healthy", revisionHistoryLimit=2)
    expected = {"kept": ["KeyNotRotated"], "short": ["HistoryTooShort"], "usual": ["HistoryTooShort"], "healthy": []}
    await world.until(lambda: {name: told(world, name) for name in expected} == expected, "told of each", LOOKED)
    (key,) = (event for event in world.events("Certificate", "kept") if event.startswith("KeyNotRotated: "))
    assert key.endswith("set spec.privateKey.rotationPolicy to Always")
    default = [event for event in world.events("Certificate", "usual") if event.startswith("HistoryTooShort: ")]
    assert "(the default)" in default[0]

    def is_counted() -> bool:
        counted = world.cluster.controller.metric("cdn_issuer_certificate_findings", finding="KeyNotRotated")
        return counted == ours(world, is_kept) >= 1

    await world.until(is_counted, "each kept key counted", LOOKED)
    await world.ready("kept", revision=3, timeout=2 * ROUND)
    await world.ready("healthy")
    world.certificate("late", revisionHistoryLimit=1)
    await world.until(lambda: told(world, "late") == ["HistoryTooShort"], "a look after that", LOOKED)
    assert {name: told(world, name) for name in expected} == expected, "through renewals"


async def test_a_restart_tells_nothing_again(world: World) -> None:
    await world.issuer()
    world.certificate("short", revisionHistoryLimit=1)
    await world.until(lambda: told(world, "short") == ["HistoryTooShort"], "told", LOOKED)
    world.cluster.controller.stop()
    world.cluster.controller.start()
    world.certificate("late", revisionHistoryLimit=1)
    await world.until(lambda: told(world, "late") == ["HistoryTooShort"], "told by the next process", LOOKED)
    assert told(world, "short") == ["HistoryTooShort"]
