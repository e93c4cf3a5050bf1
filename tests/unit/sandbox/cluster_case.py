"""A sandbox cluster over HTTP, and objects to write to it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp

from issuer.sandbox import objects
from issuer.sandbox.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUESTS = "/apis/cert-manager.io/v1/namespaces/web/certificaterequests"
SECRETS = "/api/v1/namespaces/web/secrets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/web/leases"
CORE_EVENTS = "/api/v1/namespaces/web/events"
EVENTS = "/apis/events.k8s.io/v1/namespaces/web/events"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BOXES = "/apis/example.com/v1/namespaces/web/boxes"
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


@asynccontextmanager
async def api() -> AsyncIterator[tuple[Cluster, aiohttp.ClientSession]]:
    cluster = Cluster()
    url = await cluster.start()
    await cluster.apply(objects.namespace("web"))
    try:
        async with aiohttp.ClientSession(url) as session:
            yield cluster, session
    finally:
        await cluster.stop()


async def call(
    session: aiohttp.ClientSession, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and body; a body that is no JSON is under `text`."""
    data = None if body is None else BytesIO(json.dumps(body).encode())
    async with session.request(method, path, data=data, headers=headers) as response:
        text = await response.text()
        return response.status, json.loads(text) if response.content_type == "application/json" else {"text": text}


def request(name: str = "www", **metadata: Any) -> dict[str, Any]:
    spec = {"request": "eA==", "issuerRef": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "edge"}}
    head = {"apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest"}
    return {**head, "metadata": {"name": name, **metadata}, "spec": spec}


def box(name: str = "b", **spec: Any) -> dict[str, Any]:
    """A box of size 3."""
    head = {"apiVersion": "example.com/v1", "kind": "Box"}
    return {**head, "metadata": {"name": name}, "spec": {"size": 3, **spec}}


def boxes(spec: dict[str, Any], **root: Any) -> dict[str, Any]:
    """A CRD of boxes whose spec has that schema."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", **spec}, "status": {"type": "object"}},
        **root,
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boxes.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "boxes", "kind": "Box"},
            "versions": [version],
        },
    }


def causes(status: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Field, reason and message of what a 422 names."""
    return [(one["field"], one["reason"], one["message"]) for one in status["details"]["causes"]]
