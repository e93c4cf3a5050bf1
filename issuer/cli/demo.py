"""`cdn-issuer demo`: the incident, played on the sandbox with the real controller."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.live import Live

from issuer.cli import picture, tryout
from issuer.cli.environment import Command
from issuer.cli.incident import Incident
from issuer.cli.run import LOOP_FACTORY
from issuer.cli.stage import Stage
from issuer.observe import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.cli.incident import Phase

FRAME: Final = 0.15
"""Seconds between two pictures of the live view."""


@click.command("demo", cls=Command, short_help="Play an outage of the CDN provider on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end and nothing else.")
@click.option("--serve", is_flag=True, help="Stay up afterwards and print commands to try.")
@click.option("--verbose", is_flag=True, help="Show the controller's log.")
def demo(*, as_json: bool, serve: bool, verbose: bool) -> None:
    r"""Play an outage of the CDN provider against an embedded Kubernetes API; takes under a minute.

    Nothing leaves this machine. Exit code 1 if any request did not end, or was signed twice.

    \b
    Examples:
      cdn-issuer demo           the play
      cdn-issuer demo --serve   and then a cluster to try kubectl on
      cdn-issuer demo --json    for scripts
    """
    logs.configure("console", "info" if verbose else "critical")
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        sys.exit(runner.run(_play(as_json=as_json, serve=serve, live=not verbose)))


async def _play(*, as_json: bool, serve: bool, live: bool) -> int:
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 120)
    async with Stage() as stage:
        incident = Incident(stage)
        if not as_json:
            console.print(f"{picture.introduction(console.width)}\n", markup=False, highlight=False)
        if live and console.is_terminal and not as_json:
            with Live(console=console, auto_refresh=False, transient=True) as view:
                watching = asyncio.create_task(_refresh(view, incident))
                await incident.play()
                watching.cancel()
        else:
            await incident.play(None if as_json else _line(console))
        summary = incident.summary()
        if as_json:
            print(json.dumps(summary))  # noqa: T201 - the answer of the command
        else:
            console.print("" if console.is_terminal else "\n", end="")
            console.print(picture.phases(incident.phases, console.width))
            console.print(f"\n{picture.verdict(summary)}", style=picture.mood(summary), markup=False, highlight=False)
            if not serve:
                console.print(picture.outlook(console.width), markup=False, highlight=False)
        if serve:
            await _serve(stage, console)
    return 0 if incident.ended_well(summary) else 1


async def _refresh(view: Live, incident: Incident) -> None:
    """Draw the view anew, from the event loop itself: rich's own thread would read while the controller writes."""
    while True:
        incident.count()
        drawn = picture.live(incident.authorities(), incident.phases, incident.counts(), view.console.width)
        view.update(drawn, refresh=True)
        await asyncio.sleep(FRAME)


async def _serve(stage: Stage, console: Console) -> None:
    with tempfile.TemporaryDirectory(prefix="cdn-issuer-") as directory:
        for step in tryout.steps(stage, Path(directory)):
            console.print(f"\n# {step.purpose}", markup=False, highlight=False, style="dim")
            for command in step.commands:
                console.print(command, markup=False, highlight=False, soft_wrap=True)
        console.print("\n# Ctrl-C here ends the sandbox", markup=False, highlight=False, style="dim")
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()


def _line(console: Console) -> Callable[[Phase], None]:
    def told(phase: Phase) -> None:
        console.print(f"{phase.seconds:5.1f} s  {phase.title}: {phase.story}", highlight=False)

    return told
