"""The API server: paths and verbs to the store, with the words and codes of the real one.

It stands on aiohttp's low-level server, because benchmarks run against it. There is no authentication and no
authorization; admission is one rule, that a namespace has to exist. What objects have to be is in `validation`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from issuer.sandbox import serving
from issuer.sandbox.cluster import (
    access,
    discovery,
    dryrun,
    errors,
    listoptions,
    newevents,
    openapi,
    pages,
    patching,
    protobuf,
    serverapply,
    tables,
    validation,
)
from issuer.sandbox.cluster.dryrun import DryRun
from issuer.sandbox.cluster.errors import PageNotFoundError, StatusError, UndecodableError
from issuer.sandbox.cluster.faults import inflict
from issuer.sandbox.cluster.fieldvalidation import check_fields, check_option, warned, warnings
from issuer.sandbox.cluster.invalid import refusal_of_patch
from issuer.sandbox.cluster.kinds import NAMESPACES, NEW_EVENTS
from issuer.sandbox.cluster.selectors import selector
from issuer.sandbox.cluster.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from issuer.sandbox.cluster.faults import Fault, Faults
    from issuer.sandbox.cluster.kinds import Kind, Manifest
    from issuer.sandbox.cluster.paths import Kinds, Target
    from issuer.sandbox.cluster.store import Store, Stored

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was asked for: when (`time.monotonic`), by whom, and what came of it."""

    method: str
    path: str
    user_agent: str
    time: float
    status: int


class Server:
    """Answers calls from the store."""

    def __init__(self, store: Store, kinds: Kinds, faults: Faults) -> None:
        self._store = store
        self._kinds = kinds
        self._faults = faults
        self._runner: web.ServerRunner | None = None
        self._hanging = asyncio.Event()
        self._watches: set[Watch] = set()
        self.writes: list[Write] = []
        self.calls: list[tuple[str, str]] = []

    async def start(self, port: int, host: str = "127.0.0.1") -> str:
        """Listen; returns the URL."""
        self._hanging.clear()
        server = web.Server(self._handle, access_log=None, handler_cancellation=True, keepalive_timeout=75.0)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=4096).start()
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening; watches end, what hangs is cut off."""
        self._hanging.set()
        self.cut_watches()
        if self._runner is not None:
            await serving.end(self._runner)
            self._runner = None

    def cut_watches(self) -> None:
        """End every watch, as a restarted API server would."""
        for watch in tuple(self._watches):
            watch.cut()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        try:
            body = await _body(request)
            fault = self._faults.strike(request.method, request.raw_path)
            if fault is not None and not fault.after:
                await self._fail(request, fault)
            response = await self._answer(request, body)
            if fault is not None and fault.after:
                await self._fail(request, fault)
        except PageNotFoundError as error:
            response = web.Response(status=error.code, text=f"{error.message}\n")
        except StatusError as error:
            response = _json(error.body, error.code, [*error.headers.items(), *warnings(error.unknown)])
        self._note(request, response.status)
        return response

    def _note(self, request: web.BaseRequest, status: int) -> None:
        if request.method in WRITES:
            agent = request.headers.get("User-Agent", "")
            self.writes.append(Write(request.method, request.path, agent, time.monotonic(), status))

    async def _fail(self, request: web.BaseRequest, fault: Fault) -> None:
        await inflict(
            fault,
            hanging=self._hanging,
            touch=lambda number: self._touch(self._kinds.target(request.path), number),
            transport=request.transport,
        )

    def _touch(self, target: Target, number: int) -> None:
        """Write an annotation to an object, as somebody else would."""
        obj = self._store.get(target.kind, target.key).obj
        metadata = {**obj["metadata"], "resourceVersion": ""}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), "sandbox/touched": str(number)}
        self._store.update(target.kind, target.key, {**obj, "metadata": metadata}, status=False)

    async def _answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        path, query = request.path, request.query
        if request.method == "GET" and (found := self._description(request)) is not None:
            return _json(found)
        if request.method == "POST" and access.concerns(path):
            return _json(access.answer(path, _decoded(protobuf.as_json(request.content_type, body))), 201)
        target = self._kinds.target(path)
        body = protobuf.as_json(request.content_type, body)
        check_option(request.method, query)
        is_dry = dryrun.is_asked(query.getall("dryRun", []), request.method, body)
        store = DryRun(self._store) if is_dry else self._store
        match request.method:
            case "GET" if target.name:
                return self._one(request, target, self._store.get(target.kind, target.key))
            case "GET":
                listoptions.check(query)
                if listoptions.is_true(query, "watch"):
                    return await self._watch(request, target)
                return self._list(request, target)
            case "POST" if not target.name:
                obj, unknown = _read(target, body, query)
                with warned(unknown):
                    self._check_namespace(target)
                    created = store.create(target.kind, target.namespace, obj)
                return self._one(request, target, created, 201, unknown)
            case "PUT" if target.name:
                obj, unknown = _read(target, body, query)
                with warned(unknown):
                    store.get(target.kind, target.key)
                    validation.check_version(target.kind, obj, target.name)
                    updated = store.update(target.kind, target.key, obj, status=bool(target.subresource))
                return self._one(request, target, updated, unknown=unknown)
            case "PATCH" if target.name and request.content_type == serverapply.APPLY:
                return self._apply(request, store, target, body)
            case "PATCH" if target.name:
                patched, unknown = self._patch(request, store, target, body)
                return self._one(request, target, patched, unknown=unknown)
            case "DELETE":
                return self._delete(request, store, target, body)
        raise StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _description(self, request: web.BaseRequest) -> Manifest | None:
        """What the server says of itself, or None if the path is of an object."""
        path = request.path.rstrip("/")
        if path == "/version":
            return discovery.version(request.headers.get("User-Agent", ""))
        return discovery.answer(path, self._kinds) or openapi.answer(path, self._kinds)

    def _apply(self, request: web.BaseRequest, store: Store, target: Target, body: bytes) -> web.Response:
        kind, wanted, manager = target.kind, serverapply.decoded(body), request.query.get("fieldManager", "")
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        old = store.find(kind, target.key)
        if old is None and target.subresource:
            raise errors.not_found(kind, target.name)
        shown = newevents.to_new(old.obj) if old is not None and kind is NEW_EVENTS else old.obj if old else None
        obj = serverapply.applied(kind, target.name, shown, wanted, manager, now)
        if kind is NEW_EVENTS:
            obj = newevents.to_core(obj)
        unknown = check_fields(kind, obj, request.query, old.obj if old else None)
        with warned(unknown):
            if old is None:
                self._check_namespace(target)
                return self._one(request, target, store.create(kind, target.namespace, obj), 201, unknown)
            updated = store.update(kind, target.key, obj, status=bool(target.subresource))
        return self._one(request, target, updated, unknown=unknown)

    def _patch(self, request: web.BaseRequest, store: Store, target: Target, body: bytes) -> tuple[Stored, list[str]]:
        kind = target.kind
        old = store.get(kind, target.key)
        shown = newevents.to_new(old.obj) if kind is NEW_EVENTS else old.obj
        patched = patching.apply(request.content_type, shown, _decoded(body))
        if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
            raise refusal_of_patch(patched, "it is no object with metadata")
        try:
            return self._patched(request, store, target, old, patched)
        except UndecodableError as error:
            refused = refusal_of_patch(patched, error.problem)
            refused.unknown = error.unknown
            raise refused from None

    def _patched(
        self, request: web.BaseRequest, store: Store, target: Target, old: Stored, patched: Manifest
    ) -> tuple[Stored, list[str]]:
        kind = target.kind
        if patched["metadata"].get("resourceVersion") == "":
            patched["metadata"]["resourceVersion"] = old.obj["metadata"]["resourceVersion"]
        if kind is NEW_EVENTS:
            patched = newevents.to_core(patched)
        unknown = check_fields(kind, patched, request.query, old.obj)
        if target.subresource:
            # A UID in a patch of a custom resource's status is not looked at.
            patched["metadata"] = {"resourceVersion": patched["metadata"].get("resourceVersion", "")}
        with warned(unknown):
            return store.update(kind, target.key, patched, status=bool(target.subresource)), unknown

    def _delete(self, request: web.BaseRequest, store: Store, target: Target, body: bytes) -> web.Response:
        options = _decoded(body) if body else {}
        if target.name:
            gone = store.delete(target.kind, target.key, options.get("preconditions"))
            if target.kind is NAMESPACES:
                self._empty(store, target.name)
            elif not gone.obj["metadata"].get("deletionTimestamp"):
                return _json(errors.deleted(target.kind, gone.obj["metadata"]))
            return self._one(request, target, gone)
        test = selector(target.kind, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
        wanted = [one for one in store.list(target.kind, target.namespace) if test(one.obj)]
        for stored in wanted:
            metadata = stored.obj["metadata"]
            store.delete(target.kind, (metadata.get("namespace", ""), metadata["name"]))
        return _listed(target.kind, {"resourceVersion": str(self._store.revision)}, wanted)

    def _empty(self, store: Store, namespace: str) -> None:
        """What was in a namespace goes with it."""
        for kind in self._kinds:
            if kind.namespaced:
                for stored in store.list(kind, namespace):
                    with contextlib.suppress(StatusError):
                        store.delete(kind, (namespace, stored.obj["metadata"]["name"]))

    def _list(self, request: web.BaseRequest, target: Target) -> web.Response:
        query = request.query
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        page = pages.page(
            self._store,
            target,
            selector(target.kind, labels, fields),
            limit=listoptions.number(query, "limit"),
            token=query.get("continue", ""),
            selected=bool(labels or fields),
            version=listoptions.exact_version(query),
        )
        if tables.wanted(request.headers.get("Accept", "")):
            return _json(tables.table(target.kind, [one.obj for one in page.items], str(page.revision)))
        return _listed(target.kind, page.metadata, page.items)

    async def _watch(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        query = request.query
        test = selector(target.kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        since = listoptions.watched_version(query)
        watch = Watch(
            self._store,
            target,
            test,
            table=tables.wanted(request.headers.get("Accept", "")),
            bookmarks=listoptions.is_true(query, "allowWatchBookmarks"),
            initial=listoptions.is_true(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
            timeout=listoptions.number(query, "timeoutSeconds") or 3600,
        )
        self._watches.add(watch)
        try:
            return await watch.serve(request, since)
        finally:
            self._watches.discard(watch)

    def _one(
        self,
        request: web.BaseRequest,
        target: Target,
        stored: Stored,
        status: int = 200,
        unknown: Sequence[str] = (),
    ) -> web.Response:
        if "dryRun" in request.query:
            stored = dryrun.answered(self._store, target.kind, stored)
        if tables.wanted(request.headers.get("Accept", "")):
            revision = stored.obj["metadata"].get("resourceVersion", "")
            return _json(tables.table(target.kind, [stored.obj], revision), status)
        response = web.Response(status=status, body=_shown(target.kind, stored), content_type="application/json")
        response.headers.extend(warnings(unknown))
        return response

    def _check_namespace(self, target: Target) -> None:
        if target.kind.namespaced:
            self._store.get(NAMESPACES, ("", target.namespace))


def _listed(kind: Kind, metadata: Manifest, items: Sequence[Stored]) -> web.Response:
    head = msgspec.json.encode({"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata})
    shown = b",".join(_shown(kind, one) for one in items)
    return web.Response(body=head[:-1] + b',"items":[' + shown + b"]}", content_type="application/json")


def _shown(kind: Kind, stored: Stored) -> bytes:
    return msgspec.json.encode(newevents.to_new(stored.obj)) if kind is NEW_EVENTS else stored.encoded


async def _body(request: web.BaseRequest) -> bytes:
    """The body, as far as the server reads it.

    Raises:
        StatusError: 413, it is longer.
    """
    body = b""
    if request.can_read_body:
        chunks: list[bytes] = []
        length = 0
        async for chunk in request.content.iter_any():
            chunks.append(chunk)
            length += len(chunk)
            if length > validation.BODY_LIMIT:
                raise errors.too_large(f"limit is {validation.BODY_LIMIT}")
        body = b"".join(chunks)
    return body


def _read(target: Target, body: bytes, query: Mapping[str, str]) -> tuple[Manifest, list[str]]:
    """The object of a body, and the fields that its kind does not have."""
    kind, obj = target.kind, _decoded(body)
    if not isinstance(obj, dict):
        raise errors.bad_request("the object is not an object")
    if not kind.built_in and not obj.get("kind"):
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): Object 'Kind' is missing"
        )
    named = (obj.get("apiVersion", kind.api_version), obj.get("kind", kind.kind))
    if named != (kind.api_version, kind.kind):
        raise errors.bad_request(f"the object is a {named[0]} {named[1]}, not a {kind.api_version} {kind.kind}")
    metadata = obj.get("metadata", {})
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata is not an object")
    if kind.namespaced and metadata.get("namespace", target.namespace) not in ("", target.namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    name = metadata.get("name") or target.name
    if target.name and name != target.name:
        raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
    obj = newevents.to_core(obj) if kind is NEW_EVENTS else obj
    return obj, check_fields(kind, obj, query)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise errors.bad_request(f"the body is not JSON: {error}") from None


def _json(body: Mapping[str, Any], status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> web.Response:
    encoded = msgspec.json.encode(body)
    response = web.Response(status=status, body=encoded, content_type="application/json")
    response.headers.extend(headers)
    return response
