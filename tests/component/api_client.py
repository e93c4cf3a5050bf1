"""One API server as a plain HTTP client sees it, with the same face whether it is the sandbox or a real one.

The contract tests ask both the same questions. A test has a namespace of its own, and for resources of its own a group
of its own; `clean` takes away what it made. Answers come back whatever they are, but for a "429 Too Many Requests":
that is what a server says whose new CRD is being set up, so it is asked again.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Manifest = dict[str, Any]

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACED: Final = (
    "api/v1/{}/secrets",
    "api/v1/{}/configmaps",
    "api/v1/{}/events",
    "apis/coordination.k8s.io/v1/{}/leases",
    "apis/cert-manager.io/v1/{}/certificaterequests",
    "apis/cdn-issuer.io/v1alpha1/{}/cdnissuers",
)
"""What tests make in their namespace."""
PATIENCE: Final = 30.0
"""Seconds that a condition, or the next line of a watch, is waited for."""
POLL: Final = 0.05


class Answer(NamedTuple):
    """What came back; a body that is no JSON is text."""

    status: int
    headers: httpx.Headers
    body: Any


class Stream:
    """The events of one watch, in order."""

    def __init__(self, response: httpx.Response) -> None:
        self.response: Final = response
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, Manifest]:
        """Type and object of the next event.

        Raises:
            StopAsyncIteration: the watch has ended.
        """
        async with asyncio.timeout(PATIENCE):
            event = json.loads(await anext(self._lines))
        return event["type"], event["object"]

    async def named(self) -> tuple[str, str]:
        """Type of the next event, and the name of its object."""
        type_, obj = await self.next()
        return type_, obj["metadata"]["name"]

    async def rest(self) -> list[tuple[str, Manifest]]:
        """All events until the watch ends."""
        found = []
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                event = json.loads(line)
                found.append((event["type"], event["object"]))
        return found


class Api:
    """An API server.

    Args:
        client: sends the calls.
        compact: has it forget its history.
        real: it is a kube-apiserver.

    Attributes:
        namespace: of the test.
        group: of the test's own resources.
    """

    def __init__(self, client: httpx.AsyncClient, compact: Callable[[], None], *, real: bool) -> None:
        self.client: Final = client
        self.compact: Final = compact
        self.real: Final = real
        mark = secrets.token_hex(4)
        self.namespace: Final = f"contract-{mark}"
        self.group: Final = f"t{mark}.example.com"

    @property
    def secrets(self) -> str:
        """Path of the Secrets of the test."""
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    @property
    def config_maps(self) -> str:
        """Path of the ConfigMaps of the test."""
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    @property
    def leases(self) -> str:
        """Path of the Leases of the test."""
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"

    @property
    def events(self) -> str:
        """Path of the Events of the test, in the API of today."""
        return f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"

    @property
    def core_events(self) -> str:
        """Path of the Events of the test, in the API of old."""
        return f"/api/v1/namespaces/{self.namespace}/events"

    @property
    def requests(self) -> str:
        """Path of the CertificateRequests of the test."""
        return f"/apis/cert-manager.io/v1/namespaces/{self.namespace}/certificaterequests"

    @property
    def issuers(self) -> str:
        """Path of the CDNIssuers of the test."""
        return f"/apis/cdn-issuer.io/v1alpha1/namespaces/{self.namespace}/cdnissuers"

    @property
    def boxes(self) -> str:
        """Path of the Boxes of the test, a resource of its own."""
        return f"/apis/{self.group}/v1/namespaces/{self.namespace}/boxes"

    async def call(self, method: str, path: str, body: Any = None, content_type: str = JSON) -> Answer:
        """One call."""
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        async with asyncio.timeout(PATIENCE):
            while True:
                response = await self.client.request(method, path, content=content, headers=headers)
                if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    break
                await asyncio.sleep(POLL)
        is_json = response.headers.get("Content-Type", "").startswith(JSON)
        return Answer(response.status_code, response.headers, response.json() if is_json else response.text)

    async def ask(self, method: str, path: str, body: Any = None, content_type: str = JSON) -> Manifest:
        """One call that has to succeed; returns the body."""
        answer = await self.call(method, path, body, content_type)
        assert answer.status < 300, f"{method} {path}: {answer.status}: {answer.body}"
        found: Manifest = answer.body
        return found

    async def until(self, path: str, condition: Callable[[Answer], bool]) -> Answer:
        """Read until the answer is as it has to be.

        Raises:
            TimeoutError: it never is.
        """
        async with asyncio.timeout(PATIENCE):
            while not condition(answer := await self.call("GET", path)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(POLL)
        return answer

    async def version(self, path: str) -> str:
        """The resourceVersion of a collection as it is now."""
        found: str = (await self.ask("GET", path))["metadata"]["resourceVersion"]
        return found

    @asynccontextmanager
    async def watch(self, path: str, query: str = "", *, timeout: int = 60) -> AsyncIterator[Stream]:
        """A watch that the server ends after so many seconds; it is open, if that is what the server answers."""
        url = f"{path}?watch=true&timeoutSeconds={timeout}&{query}"
        async with self.client.stream("GET", url) as response:
            yield Stream(response)

    async def install(self, crd: Manifest) -> None:
        """Create a CRD or replace it, and wait until its resource is served."""
        path = f"{CRDS}/{crd['metadata']['name']}"
        old = await self.call("GET", path)
        if old.status == httpx.codes.NOT_FOUND:
            await self.ask("POST", CRDS, crd)
        else:
            metadata = {**crd["metadata"], "resourceVersion": old.body["metadata"]["resourceVersion"]}
            await self.ask("PUT", path, {**crd, "metadata": metadata})
        spec = crd["spec"]
        version = next(one["name"] for one in spec["versions"] if one.get("served", True))
        served = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}?limit=1"
        await self.until(served, lambda answer: answer.status == httpx.codes.OK)

    async def clean(self) -> None:
        """Delete what the test made."""
        for path in NAMESPACED:
            collection = "/" + path.format(f"namespaces/{self.namespace}")
            listed = await self.call("GET", collection)
            for item in listed.body["items"] if listed.status == httpx.codes.OK else ():
                if item["metadata"].get("finalizers"):
                    one = f"{collection}/{item['metadata']['name']}"
                    await self.call("PATCH", one, {"metadata": {"finalizers": None}}, MERGE)
            await self.call("DELETE", collection)
        await self.call("DELETE", f"{CRDS}/boxes.{self.group}")
        await self.call("DELETE", f"/api/v1/namespaces/{self.namespace}")
