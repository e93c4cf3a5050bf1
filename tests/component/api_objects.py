"""Objects for the contract tests, each with just what both servers demand of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.component.api_client import Api, Manifest

OURS = "cdn-issuer.io"


def secret(name: str = "s", **fields: Any) -> Manifest:
    """A Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **fields}


def config_map(name: str = "c", *, labels: dict[str, str] | None = None, **fields: Any) -> Manifest:
    """A ConfigMap."""
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


def lease(name: str = "l", **spec: Any) -> Manifest:
    """A Lease."""
    head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return {**head, "metadata": {"name": name}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, **spec}}


def request(name: str = "r", *, group: str = OURS, **metadata: Any) -> Manifest:
    """A CertificateRequest for one of our issuers, or for somebody else's."""
    spec = {"request": "eA==", "issuerRef": {"group": group, "kind": "CDNIssuer", "name": "edge"}}
    head = {"apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest"}
    return {**head, "metadata": {"name": name, **metadata}, "spec": spec}


def condition(type_: str = "Ready", status: str = "False", message: str = "m") -> Manifest:
    """A condition of a CertificateRequest."""
    return {"type": type_, "status": status, "reason": "Pending", "message": message}


def event(api: Api, name: str = "e", **fields: Any) -> Manifest:
    """An Event as our recorder writes it, through events.k8s.io/v1; None takes a field away."""
    regarding = {"kind": "CertificateRequest", "namespace": api.namespace, "name": "r", "apiVersion": "v1"}
    whole = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": api.namespace},
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "type": "Normal",
        "reason": "Signed",
        "action": "Sign",
        "note": "told",
        "regarding": regarding,
        "reportingController": "cdn-issuer.io/controller",
        "reportingInstance": "pod-1",
        **fields,
    }
    return {key: value for key, value in whole.items() if value is not None}


def issuer(name: str = "i", **fields: Any) -> Manifest:
    """A CDNIssuer with one authority."""
    authority = {"name": "edge", "cloudflare": {"apiTokenSecretRef": {"name": "token", "key": "token"}}}
    spec = {"authorities": [authority], **fields}
    return {"apiVersion": f"{OURS}/v1alpha1", "kind": "CDNIssuer", "metadata": {"name": name}, "spec": spec}


def box(api: Api, name: str = "b", *, labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """A Box, of the resource that `box_crd` makes."""
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": f"{api.group}/v1", "kind": "Box", "metadata": metadata, "spec": {"size": 3, **spec}}


def box_crd(api: Api, *selectable: str, **properties: Manifest) -> Manifest:
    """The CRD of Boxes: size, colour, and more properties of the spec if there are any."""
    spec = {"type": "object", "properties": {"size": {"type": "integer"}, "colour": {"type": "string"}, **properties}}
    status = {"type": "object", "properties": {"phase": {"type": "string"}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
    }
    if selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"boxes.{api.group}"},
        "spec": {
            "group": api.group,
            "scope": "Namespaced",
            "names": {"plural": "boxes", "singular": "box", "kind": "Box", "listKind": "BoxList"},
            "versions": [version],
        },
    }


def causes(status: Manifest) -> list[tuple[str, str]]:
    """Field and reason of what a 422 names."""
    return [(one["field"], one["reason"]) for one in status["details"]["causes"]]
