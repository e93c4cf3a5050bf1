"""What tests of the informer share: an object, a source that plays a script, and notes of each change."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from issuer.api.meta import ObjectMeta
from issuer.kube.errors import UnreachableError
from issuer.kube.informer import Change, Informer
from issuer.kube.resource import Resource

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

THINGS = Resource("example.org", "v1", "things")


class Spec(msgspec.Struct, frozen=True):
    size: int = 0
    group: str = ""
    fat: str = ""


class Thing(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: Spec = Spec()


def thing(name: str, version: int, *, uid: str = "", namespace: str = "ns", **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": spec}


def page(*items: dict[str, Any], version: int = 100, next_: str = "") -> bytes:
    return json.dumps({"metadata": {"resourceVersion": str(version), "continue": next_}, "items": items}).encode()


def event(type_: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": item}).encode()


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def error_event(code: int, reason: str) -> bytes:
    return event("ERROR", {"kind": "Status", "code": code, "reason": reason, "message": "no", "metadata": {}})


class Silence:
    """In a script: nothing comes any more, as on a half-open connection."""


Step = bytes | Exception | float | type[Silence]
Verbs = list[str]
Queries = list[tuple[float, str, dict[str, str]]]


class Script:
    """Plays lists and watches in order. When the watches run out, the last one never says anything."""

    def __init__(self, lists: Sequence[bytes | Exception], watches: Sequence[Sequence[Step] | Exception]) -> None:
        self.lists = [*lists]
        self.watches = [*watches]
        self.queries: Queries = []

    async def list(self, resource: Resource, namespace: str = "", *, query: Mapping[str, str] | None = None) -> bytes:
        assert resource == THINGS
        self._note("list", query)
        step = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(step, Exception):
            raise step
        return step

    async def stream(
        self,
        resource: Resource,
        namespace: str,
        query: Mapping[str, str],
        *,
        inactivity: float,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        self._note("watch", query)
        steps: Sequence[Step] | Exception = self.watches.pop(0) if self.watches else [Silence]
        if isinstance(steps, Exception):
            raise steps
        if opened is not None:
            opened()
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, bytes):
                yield step
            else:
                await asyncio.sleep(inactivity)
                raise UnreachableError("silent")

    def _note(self, verb: str, query: Mapping[str, str] | None) -> None:
        self.queries.append((asyncio.get_running_loop().time(), verb, dict(query or {})))

    def verbs(self) -> Verbs:
        return [verb for _, verb, _ in self.queries]

    def query(self, index: int) -> dict[str, str]:
        return self.queries[index][2]


@asynccontextmanager
async def running(informer: Informer[Thing]) -> AsyncIterator[list[tuple[str, str]]]:
    """Run it, and note each change as (kind, name)."""
    changes: list[tuple[str, str]] = []

    def note(change: Change[Thing]) -> None:
        kind = "added" if change.old is None else "deleted" if change.new is None else "changed"
        present = change.new or change.old
        assert present is not None
        changes.append((kind, f"{present.metadata.name}@{present.metadata.uid.removeprefix('uid-')}"))

    informer.add_handler(note)
    task = asyncio.create_task(informer.run())
    try:
        yield changes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def informer_of(source: Script, **options: Any) -> Informer[Thing]:
    return Informer(source, THINGS, item=Thing, random=random.Random(1), **options)
