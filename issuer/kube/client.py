"""Calls to the Kubernetes API: bytes in, bytes out, an error type for everything else.

Typed models cost five times as much as decoding the few fields that are read, and the library's own client neither
checks the status of a raw answer nor has a timeout. So the calls are made here (`wire` has each one's exchange): every
one has a timeout, and every failure is a `KubeError`.

Calls wait for the client-side rate limit and for a free place before their timeout starts. The places are bulkheads:
reading and writing of each resource have their own, so that status writes that hang (in an admission webhook, say) hold
up no Secret, no list, no issuer's status and no event. Watches take no place. Lease calls wait for neither limit nor
place: a controller that floods its own client must not lose its lease over it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec
from aiolimiter import AsyncLimiter

from issuer.kube.access import Access, locate
from issuer.kube.errors import ApiError, InvalidError, KubeError, UnreachableError
from issuer.kube.resource import LEASES, Resource
from issuer.kube.wire import Wire, lines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from yarl import URL

T = TypeVar("T")

TIMEOUT: Final = 10.0
"""Seconds a call may take."""
BURST: Final = 40
IN_FLIGHT: Final = 100
"""Places for each class of calls."""
MERGE_PATCH: Final = "application/merge-patch+json"


class KubeClient:
    """A connection to one API server. Use `connect` or `for_url`, and `close` it.

    Args:
        access: where it is, and the credential.
        timeout: seconds that a call may take, connecting included.
        rate: calls a second on average; None switches the limit off.
        burst: calls that may go out at once before `rate` holds them back.
        in_flight: calls of one class under way at the same time at the most; a class is the reading (get, list), or the
            writing, of one resource. Watches and Lease calls do not count.
        guard: asked when a write that is not a Lease's has its connection, right before its first byte goes out; what
            it raises ends the call unsent. May be set later.
        observer: told of each call: verb, resource, HTTP status or the name of the error's class, seconds.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = TIMEOUT,
        rate: float | None = None,
        burst: int = BURST,
        in_flight: int = IN_FLIGHT,
        guard: Callable[[], None] | None = None,
        observer: Callable[[str, Resource, int | str, float], None] | None = None,
    ) -> None:
        self.guard = guard
        self._access = access
        self._timeout = timeout
        self._limiter = AsyncLimiter(burst, burst / rate) if rate else None
        self._places = defaultdict[tuple[Resource, bool], asyncio.Semaphore](lambda: asyncio.Semaphore(in_flight))
        self._observer = observer
        # Half, so that a call that never left can be told from one whose answer was lost.
        self._wire = Wire(access, connect=timeout / 2, fence=self._ask_guard)

    @classmethod
    async def connect(cls, kubeconfig: str | None = None, context: str | None = None, **options: Any) -> KubeClient:
        """A client for the cluster that kubectl, or a pod, would talk to; see `access.locate` for the order.

        Args:
            kubeconfig: path of a kubeconfig, or None.
            context: its context, or None for the current one.
            options: as for the class.

        Raises:
            ConfigurationError: there is no usable configuration. Nothing is called yet.
        """
        return cls(await locate(kubeconfig, context), **options)

    @classmethod
    def for_url(cls, base_url: str, **options: Any) -> KubeClient:
        """A client for an address that asks for no credential, such as the sandbox's; options as for the class."""
        return cls(Access(base_url), **options)

    @property
    def url(self) -> str:
        """The address of the API server."""
        return self._access.url

    async def reach(self) -> None:
        """See whether there is an API server at all; one that refuses to talk to us is one.

        Raises:
            UnreachableError: nothing answers.
        """
        try:
            async with self._wire.open("GET", self._wire.url("/version"), patience=self._timeout):
                pass
        except ApiError:
            pass

    async def read(self, path: str) -> bytes:
        """Read what is no resource, such as a schema. Raises KubeErrors."""
        _, answer = await self._wire.read("GET", self._wire.url(path), within=self._timeout)
        return answer

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        """Read one object. Raises KubeErrors, as all calls here do."""
        return await self._call("get", "GET", resource, namespace, _named(name))

    async def list(self, resource: Resource, namespace: str = "", *, query: Mapping[str, str] | None = None) -> bytes:
        """Read one page of a collection; `query` holds `limit`, `continue`, selectors."""
        return await self._call("list", "GET", resource, namespace, "", query=query)

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """Make an object. Never repeated here: after an `UnreachableError` with `sent` it may exist."""
        return await self._call("create", "POST", resource, namespace, "", body=body)

    async def replace(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        """Write a whole object; a resourceVersion in it guards against lost updates (ConflictError)."""
        return await self._call("update", "PUT", resource, namespace, _named(name), subresource, body=body)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        *,
        subresource: str = "",
        content_type: str = MERGE_PATCH,
    ) -> bytes:
        """Change an object; a resourceVersion in a merge patch guards against lost updates (ConflictError)."""
        return await self._call(
            "patch", "PATCH", resource, namespace, _named(name), subresource, body=body, content_type=content_type
        )

    async def delete(self, resource: Resource, namespace: str, name: str, *, body: bytes = b"") -> bytes:
        """Delete an object; `body` may hold DeleteOptions, preconditions among them."""
        return await self._call("delete", "DELETE", resource, namespace, _named(name), body=body)

    async def stream(
        self,
        resource: Resource,
        namespace: str,
        query: Mapping[str, str],
        *,
        inactivity: float,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, until the server ends it.

        Args:
            resource: what is watched.
            namespace: where; empty for everywhere.
            query: `watch`, `resourceVersion`, `timeoutSeconds` and the like.
            inactivity: seconds without a byte after which the connection counts as dead.
            opened: called once the server has said yes, which may be long before the first line.

        Raises:
            KubeError: the watch was refused, or the connection broke or fell silent.
        """
        url = self._wire.url(resource.path(namespace), query)
        async with (
            self._watched("watch", resource) as note,
            # The API server sends the headers at once (apiserver: `pkg/endpoints/handlers/watch.go`), so that an answer
            # that has not begun within the time of a call will not come; only afterwards may it be silent for long.
            self._wire.open("GET", url, patience=min(inactivity, self._timeout)) as response,
        ):
            note(response.status)
            if opened is not None:
                opened()
            async with aclosing(lines(response, inactivity)) as found:
                async for line in found:
                    yield line

    async def close(self) -> None:
        """Give up all connections."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(
        self,
        verb: str,
        method: str,
        resource: Resource,
        namespace: str,
        name: str,
        subresource: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        content_type: str = "application/json",
    ) -> bytes:
        url = self._wire.url(resource.path(namespace, name, subresource), query)
        if resource == LEASES:
            return await self._observed(verb, method, url, resource, body, content_type)
        if self._limiter is not None:
            await self._limiter.acquire()
        async with self._places[resource, method == "GET"]:
            return await self._observed(verb, method, url, resource, body, content_type)

    async def _observed(
        self, verb: str, method: str, url: URL, resource: Resource, body: bytes, content_type: str
    ) -> bytes:
        fenced = method != "GET" and resource != LEASES
        async with self._watched(verb, resource) as note:
            status, answer = await self._wire.read(method, url, body, content_type, within=self._timeout, fenced=fenced)
            if not answer.lstrip().startswith(b"{"):
                raise UnreachableError(f"{method} {url.path}: the answer is not a Kubernetes object")
            note(status)
            return answer

    @asynccontextmanager
    async def _watched(self, verb: str, resource: Resource) -> AsyncIterator[Callable[[int], None]]:
        """Tell the observer of one call: at the status, which is noted, or at the error."""
        started, told = time.monotonic(), False

        def note(result: int | str) -> None:
            nonlocal told
            if self._observer is not None and not told:
                self._observer(verb, resource, result, time.monotonic() - started)
            told = True

        try:
            yield note
        except KubeError as error:
            note(error.status if isinstance(error, ApiError) else type(error).__name__)
            raise

    def _ask_guard(self) -> None:
        if self.guard is not None:
            self.guard()


def decode(answer: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Read an answer.

    Raises:
        UnreachableError: it is not what the API server would send.
    """
    try:
        return decoder.decode(answer)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"the answer cannot be read: {error}") from None


def _named(name: str) -> str:
    """An empty name would turn a call for one object into one for the collection."""
    if not name:
        raise InvalidError(400, "BadRequest", "the object has no name")
    return name
