"""`cdn-issuer mock-cdn`: the mock CDN API alone, to try an issuer against, with faults that can be switched on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from issuer.cli.environment import Command
from issuer.cli.parameters import ListedText, Seconds
from issuer.sandbox.cdn import MockCDN
from issuer.sandbox.cdn.faults import MEANINGS

_FAULTS = "\n".join(f"  {kind:<13} {meaning}" for kind, meaning in MEANINGS.items())


@click.command(
    "mock-cdn",
    cls=Command,
    short_help="Run a mock of the CDN provider's API.",
    epilog=f"\b\nKinds of fault (each also with share, count, methods, paths):\n{_FAULTS}",
    context_settings={"show_default": True, "max_content_width": 100},
)
@click.option("--port", type=click.IntRange(0, 65535), default=8788, help="Port on 127.0.0.1; 0 for a free one.")
@click.option(
    "--token", "tokens", type=ListedText(), multiple=True, default=["sandbox-token"], help="API token that is accepted."
)
@click.option("--zone", "zones", type=ListedText(), multiple=True, default=["example.com"], help="Zone of the account.")
@click.option("--latency", type=Seconds(minimum=0), default="0s", help="Time that signing takes.")
@click.option(
    "--roots-file", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write the roots there."
)
def mock_cdn(
    port: int, tokens: tuple[str, ...], zones: tuple[str, ...], latency: float, roots_file: Path | None
) -> None:
    r"""Run a mock of the CDN provider's API.

    \b
    Examples:
      cdn-issuer mock-cdn --zone example.com --latency 500ms
      curl -X PUT localhost:8788/admin/faults -d '[{"kind": "hang"}]'
      curl -X PUT localhost:8788/admin/faults -d '{"kind": "rejected", "code": 9106, "status": 400}'
    """
    cdn = MockCDN(tokens=tokens, zones=zones, latency=latency)
    if roots_file:
        try:
            roots_file.write_text(cdn.roots_pem)
        except OSError as error:
            raise click.FileError(str(roots_file), error.strerror) from None
    asyncio.run(_serve(cdn, port))


async def _serve(cdn: MockCDN, port: int) -> None:
    try:
        url = await cdn.start(port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from None
    click.echo(f"mock CDN at {cdn.endpoint}, faults at {url}/admin/faults; stop with Ctrl-C")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await cdn.stop()
