"""A server of which only the TLS handshake is of interest."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@dataclass
class Handshake:
    """What a client needs to come here, and what came.

    Attributes:
        url: of the server.
        ca_file: the root of its certificate, PEM.
        heard: what was sent on each connection after the handshake; filled when a connection ends.
    """

    url: str
    ca_file: Path
    heard: list[bytes] = field(default_factory=list)

    def context(self) -> ssl.SSLContext:
        """One that trusts the server."""
        return ssl.create_default_context(cafile=str(self.ca_file))


@asynccontextmanager
async def listening(folder: Path, on_handshake: Callable[[], None]) -> AsyncIterator[Handshake]:
    """Serve on loopback; `on_handshake` is called in the middle of each client's handshake. Nothing is answered."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    context.sni_callback = lambda _socket, _name, _context: on_handshake()
    (folder / "ca.pem").write_bytes(ca.cert_pem.bytes())
    ended = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshake.heard.append(await reader.read(1000))
        writer.transport.abort()
        ended.set()

    server = await asyncio.start_server(hear, "localhost", ssl=context)
    handshake = Handshake(f"https://localhost:{server.sockets[0].getsockname()[1]}", folder / "ca.pem")
    try:
        yield handshake
        await ended.wait()
    finally:
        server.close()
