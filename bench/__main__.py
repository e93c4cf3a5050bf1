"""`python -m bench`: throughput, latency, memory, start, and how long the event loop is held, as one table.

`--only` does one part: `throughput`, `rest` or `loop`.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING

import uvloop
from rich.console import Console
from rich.table import Table

from bench.loop import held
from bench.rig import Rig, Run
from issuer.observe import logs

if TYPE_CHECKING:
    from issuer.sandbox.objects import Manifest

CONSOLE = Console(width=110)
IN_FLIGHT = 100
LATENCIES = (0.0, 0.05, 0.5)
DEAD = {
    "timeouts": {"connect": "1s", "read": "2s", "attempt": "2s", "turn": "6s"},
    "circuitBreaker": {"consecutiveFailures": 3, "openFor": "10m", "maxOpenFor": "10m"},
}
"""A provider that hangs; the breaker opens after three calls and stays open for the measurement."""


async def measure(rig: Rig, prefix: str, count: int, issuer: str) -> Run:
    """So many requests at once, from the first creation to the last end."""
    began = time.monotonic()
    names = await rig.ask(prefix, count, issuer)
    ends = await rig.all_ended(prefix, names)
    return Run(count, max(ends.values()) - began, [ends[name] - rig.created[name] for name in names])


async def throughput(count: int, table: Table) -> None:
    """The provider at several latencies, the in-process CA alone, and a dead provider before it."""
    async with Rig() as rig:
        await rig.issuer("edge", rig.edge())
        await rig.issuer("backup", rig.backup())
        await rig.start_controller()
        await measure(rig, "warm", 50, "edge")
        for latency in LATENCIES:
            rig.cdn.latency = latency
            run = await measure(rig, f"cdn{latency * 1000:.0f}", count, "edge")
            most = f"{IN_FLIGHT / latency:.0f}/s allow the limits" if latency else ""
            report(table, f"{count} requests, CDN at {latency * 1000:.0f} ms", run, most)
        rig.cdn.latency = 0.0
        alone = await measure(rig, "alone", count, "backup")
        report(table, f"{count} requests, in-process CA alone", alone)
        rig.cdn.faults.set("hang")
        await rig.issuer("dead", dead(rig), rig.backup())
        opening = await measure(rig, "opening", 20, "dead")
        report(table, "20 requests, CDN hangs, breaker opens", opening, "a time-out of 2 s, then the second authority")
        after = await measure(rig, "after", count, "dead")
        report(
            table, f"{count} requests, CDN dead, breaker open", after, f"{after.rate / alone.rate:.0%} of the CA alone"
        )


def dead(rig: Rig) -> Manifest:
    """The CDN as an authority that hangs."""
    return rig.edge(**DEAD)


async def at_rest(finished: int, pending: int, table: Table) -> None:
    """Memory with many finished and some pending requests, and the time to the first signature after a start."""
    async with Rig() as rig:
        await rig.issuer("edge", rig.edge())
        await rig.finished("old", finished)
        began = await rig.start_controller()
        await rig.ask("first", 1, "edge")
        ends = await rig.all_ended("first", ["first-0"])
        table.add_row(f"start to first signature, {finished} finished", "", f"{ends['first-0'] - began:.2f} s", "", "")
        rig.cdn.faults.set("status", status=503)
        await rig.issuer("down", rig.edge())
        await rig.ask("pending", pending, "down")
        await rig.written("pending", pending)
        peak = max([rig.memory() for _ in range(1)] + [await _later(rig) for _ in range(20)])
        table.add_row(f"peak memory, {finished} finished, {pending} pending", "", f"{peak:.0f} MB", "", "resident")


async def _later(rig: Rig) -> float:
    await asyncio.sleep(0.25)
    return rig.memory()


def report(table: Table, title: str, run: Run, remark: str = "") -> None:
    """One row."""
    table.add_row(title, f"{run.rate:.0f}/s", f"{run.quantile(0.5):.2f} s", f"{run.quantile(0.99):.2f} s", remark)
    CONSOLE.print(f"{title}: {run.rate:.0f}/s", highlight=False)


async def main(given: argparse.Namespace) -> None:
    """All of it, or one part."""
    table = Table(title="cdn-issuer on the sandbox", title_justify="left")
    for column in ("what", "rate", "p50", "p99", "remark"):
        table.add_column(column, justify="left" if column in ("what", "remark") else "right")
    if given.only in (None, "throughput"):
        await throughput(given.requests, table)
    if given.only in (None, "rest"):
        await at_rest(given.finished, given.pending, table)
    if given.only in (None, "loop"):
        await held(given.cluster, given.unfinished, given.issuers, table)
    CONSOLE.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=("throughput", "rest", "loop"))
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--pending", type=int, default=1_000)
    parser.add_argument("--cluster", type=int, default=50_000, help="requests, for the event loop")
    parser.add_argument("--unfinished", type=int, default=10_000, help="of these")
    parser.add_argument("--issuers", type=int, default=500, help="that change on one page")
    logs.configure("json", "critical")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
