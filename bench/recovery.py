"""`python -m bench.recovery`: an outage longer than every deadline, many Certificates, and real cert-manager.

All requests fail while the provider hangs; then it is back, and nobody types a thing. cert-manager has its own backoff
of an hour. Measured is when each Certificate is Ready, and how often each was signed. Beside it, what cert-manager
alone would do: when its backoff for each of these failures would be over, from `lastFailureTime` and
`failedIssuanceAttempts` (`pkg/controller/certificates/trigger`); 1.9.1 counts no failures, and waits for an hour after
each.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import uvloop

from issuer.api.meta import parse_time
from tests.component.rig import POST
from tests.controlplane import build
from tests.controlplane.fixtures import NEWEST, install
from tests.controlplane.plane import ControlPlane
from tests.e2e.certmanager import CertManager
from tests.e2e.controller import Controller
from tests.e2e.outage import add_issuer, outage
from tests.e2e.webhook import Webhook
from tests.e2e.world import Cluster, World, read_condition

if TYPE_CHECKING:
    from tests.controlplane.plane import Manifest

OLD: Final = "1.9.1"
"""The version that the incident happened with."""
HOUR: Final = 3600.0
LONGEST: Final = 32 * HOUR
"""cert-manager's least and longest backoff."""
DEADLINE: Final = "10s"
LOOK: Final = 0.5
LIMIT: Final = 1800.0
"""Seconds after which the measurement is given up."""


async def until(condition: Any, what: str) -> float:
    """Wait; returns the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > LIMIT:
            sys.exit(f"not within {LIMIT:.0f} s: {what}")
        await asyncio.sleep(LOOK)
    return time.monotonic() - began


def failed(certificate: Manifest) -> bool:
    """Whether cert-manager has noted a failure and waits."""
    status = certificate.get("status", {})
    return "lastFailureTime" in status and read_condition(certificate, "Issuing")[0] != "True"


def left_alone(certificate: Manifest) -> timedelta:
    """How long cert-manager alone would wait from now on."""
    status = certificate["status"]
    last = parse_time(status["lastFailureTime"])
    assert last is not None
    wait = min(HOUR * 2 ** (status.get("failedIssuanceAttempts", 1) - 1), LONGEST)
    return last + timedelta(seconds=wait) - datetime.now(UTC)


async def measure(cluster: Cluster, number: int, per_minute: int, version: str) -> None:
    """Play it and print what was seen."""
    world = World(cluster)
    await world.start()
    try:
        await add_issuer(world, deadline=DEADLINE, recovery={"perMinute": per_minute})
        with outage(world):
            for one in range(number):
                world.certificate(f"site-{one}")
            # All but a probe, which is tried again and again.
            await until(lambda: sum(map(failed, world.all("certificates"))) >= number - 1, "all have failed")
            waits = [left_alone(one) for one in world.all("certificates") if failed(one)]
            calls = world.cdn.calls[POST]
        began = time.monotonic()
        seen: dict[str, float] = {}

        def all_ready() -> bool:
            for one in world.all("certificates"):
                if read_condition(one, "Ready")[0] == "True":
                    seen.setdefault(one["metadata"]["name"], time.monotonic() - began)
            return len(seen) == number

        await until(all_ready, "all are Ready")
        times = sorted(seen.values())
        signed = len(world.cdn.certificates)
        print(f"{number} Certificates, cert-manager {version}, {per_minute} a minute, all failed at {DEADLINE}:")
        print(
            f"  Ready after the provider was back: first {times[0]:.1f} s, half {statistics.median(times):.0f} s, "
            f"last {times[-1]:.0f} s"
        )
        print(
            f"  certificates at the provider: {signed}; calls to sign after the outage: {world.cdn.calls[POST] - calls}"
        )
        least, most = (round(found / timedelta(minutes=1)) for found in (min(waits), max(waits)))
        print(f"  cert-manager alone would have tried again in {least} to {most} minutes")
    finally:
        await world.stop()


def main() -> None:
    """Start everything, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--certificates", type=int, default=200)
    parser.add_argument("--per-minute", type=int, default=30)
    parser.add_argument("--cert-manager", choices=(OLD, NEWEST), default=NEWEST)
    asked = parser.parse_args()
    binaries = build.find()
    if binaries is None:
        sys.exit("the control plane is not built: run `make control-plane`")
    with ControlPlane(binaries) as plane, ExitStack() as stack:
        install(plane, asked.cert_manager)
        is_old = asked.cert_manager == OLD
        webhook, controller = Webhook(plane), Controller(plane)
        certmanager = CertManager(plane, backoff=(HOUR, LONGEST), old=is_old)
        # The webhook is the newest version's, and knows no objects of the old one.
        for server in (certmanager, controller) if is_old else (webhook, certmanager, controller):
            stack.callback(server.stop)
            server.start()
        cluster = Cluster(plane=plane, webhook=webhook, certmanager=certmanager, controller=controller)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(cluster, asked.certificates, asked.per_minute, asked.cert_manager))


if __name__ == "__main__":
    main()
