"""The way from the queue to the provider is short enough to be read in a traceback."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import issuer
from issuer.authorities.transport import SharedTransport
from issuer.sandbox import objects
from tests.component.rig import options

if TYPE_CHECKING:
    import httpx
    import pytest

    from tests.component.harness import NewStage

PACKAGE = Path(issuer.__file__).parent
MOST = 10
"""Frames of ours, from the one that takes a request out of the queue to the one that makes the call."""


async def test_from_the_queue_to_the_post_there_are_ten_frames_at_most(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[list[str]] = []
    original = SharedTransport.handle

    def watched(self: SharedTransport) -> httpx.AsyncBaseTransport:
        transport = original(self)
        send = transport.handle_async_request

        async def note(request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                ours = [frame for frame in traceback.extract_stack() if f"{PACKAGE}/" in frame.filename]
                stack = [f"{frame.filename.removeprefix(f'{PACKAGE}/')}:{frame.name}" for frame in ours]
                frames.append(stack[stack.index("kube/queue.py:_handle") :])
            return await send(request)

        monkeypatch.setattr(transport, "handle_async_request", note)
        return transport

    monkeypatch.setattr(SharedTransport, "handle", watched)
    async with new_stage(options(leader_election=False)) as stage:
        await stage.apply(objects.issuer("web", [stage.edge()], namespace=stage.namespace))
        await stage.ask("one", "web")
        await stage.finished(["one"])
    (found,) = frames
    assert len(found) <= MOST, "\n".join(found)
    assert found[-1] == "authorities/cloudflare_api.py:call"
