"""A TCP proxy whose delay can be changed while it runs.

It has a thread and an event loop of its own: a test's calls to the API server block the test's loop, and the API
server calls the webhook through this proxy meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Final

CHUNK: Final = 65536


class Slowdown:
    """Passes bytes on between a port of its own and another one of loopback.

    Args:
        port: where it listens.
        target: where it connects to.

    Attributes:
        delay: seconds that what a client sends is late, each chunk of it.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.delay = 0.0
        self._target = target
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slowdown", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        if not self._listening.wait(10):
            raise RuntimeError(f"nobody listens on port {self.port} after 10 s")

    def stop(self) -> None:
        """Cut every connection and listen no longer."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self._listening.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, late=True))
                group.create_task(self._pump(up_reader, writer, late=False))
        except* OSError:
            pass
        except* asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            up_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool) -> None:
        while chunk := await reader.read(CHUNK):
            if late and self.delay > 0:
                await asyncio.sleep(self.delay)
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
