"""What a bug report needs, and nothing that a stranger must not read.

A bundle is made of what is named here, field by field: what is not named is not in it, so a field that some later
version adds, a literal password in `spec.keystores` say, or what a user has put into an annotation, stays out. Of a
Secret there are its name and those of its keys. Texts go through the same filter as log lines (`redact_text`), for a
credential that has found its way into an address or a message.

What may not be read is left out and told, as in a diagnosis.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer import __version__
from issuer.api.issuer import GROUP, PLURALS
from issuer.api.request import GROUP as CERT_MANAGER
from issuer.api.signingrequest import KIND as SIGNING_REQUEST_KIND
from issuer.inspection.collection import PAGE, Notes
from issuer.inspection.snapshot import CERTIFICATES, ISSUERS, REQUESTS
from issuer.kube.errors import ForbiddenError, KubeError, NotFoundError
from issuer.kube.resource import CORE_EVENTS, Resource
from issuer.observe.redaction import redact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from issuer.inspection.findings import Finding
    from issuer.inspection.snapshot import Snapshot
    from issuer.kube.client import KubeClient

    Object = dict[str, Any]

MOST: Final = 2_000
"""Objects of one kind that are in a bundle; the newest."""
CRDS: Final = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
IN_NO_NAMESPACE: Final = "default"
"""Where events are about what is in no namespace (client-go, `tools/events`)."""
_CRD_NAMES: Final = (
    *(f"{plural}.{GROUP}" for plural in PLURALS.values()),
    f"certificates.{CERT_MANAGER}",
    f"certificaterequests.{CERT_MANAGER}",
)
_OUR_PREFIXES: Final = (f"{GROUP}/", f"{CERT_MANAGER}/", f"experimental.{CERT_MANAGER}/")
_METADATA: Final = ("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp", "finalizers")
_CERTIFICATE: Final = (
    *("commonName", "dnsNames", "duration", "emailAddresses", "ipAddresses", "isCA", "issuerRef", "privateKey"),
    *("renewBefore", "renewBeforePercentage", "revisionHistoryLimit", "secretName", "uris", "usages"),
)
_REQUEST: Final = ("duration", "isCA", "issuerRef", "usages")
_SIGNING_REQUEST: Final = ("signerName", "expirationSeconds", "usages")
_REQUEST_STATUS: Final = ("conditions", "failureTime")
_EVENT: Final = (
    *("type", "reason", "message", "count", "firstTimestamp", "lastTimestamp", "eventTime", "series"),
    *("reportingComponent", "source"),
)
_ABOUT: Final = ("kind", "namespace", "name", "uid")
_KINDS: Final = frozenset({"Certificate", "CertificateRequest", *PLURALS})


async def gather(client: KubeClient, snapshot: Snapshot, findings: Iterable[Finding]) -> dict[str, Any]:
    """The files of a bundle, each by its name, as what JSON can say.

    Raises:
        KubeError: the API server does not answer, or refuses the credential.
    """
    notes = Notes()
    signing_requests = [one for one in snapshot.signing_requests if one.is_of_our_group]
    ours = frozenset(one.metadata.name for one in signing_requests)

    async def listed(
        resource: Resource, shown: Callable[[Object], Object | None], namespace: str = snapshot.namespace
    ) -> list[Object]:
        return [clean(one) for raw in await _all(client, notes, resource, namespace) if (one := shown(raw))]

    async def events() -> list[Object]:
        more = ours and snapshot.namespace not in ("", IN_NO_NAMESPACE)
        places = (snapshot.namespace, *([IN_NO_NAMESPACE] if more else []))
        return [one for place in places for one in await listed(CORE_EVENTS, lambda raw: _event(raw, ours), place)]

    files = {
        "certificates.json": await listed(CERTIFICATES, _certificate),
        "certificaterequests.json": await listed(REQUESTS, _request),
        "certificatesigningrequests.json": [
            clean(_signing_request(msgspec.to_builtins(one))) for one in signing_requests[-MOST:]
        ],
        **{f"{PLURALS[kind]}.json": await listed(resource, _issuer) for kind, resource in ISSUERS.items()},
        "events.json": await events(),
        "customresourcedefinitions.json": await _crds(client, notes),
        "secrets.json": [
            {"namespace": key.namespace, "name": key.name, "exists": view is not None, "keys": sorted(view.keys)}
            if view is not None
            else {"namespace": key.namespace, "name": key.name, "exists": False}
            for key, view in sorted(snapshot.secrets.items())
        ],
        "leases.json": clean(msgspec.to_builtins(list(snapshot.leases.values()))),
        "versions.json": await _versions(client),
    }
    return {**files, "findings.json": clean(msgspec.to_builtins([*findings, *notes.findings]))}


def clean(value: Any) -> Any:
    """The same without what looks like a secret."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {redact_text(str(name)): clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    return value


class _PageMeta(msgspec.Struct):
    token: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    items: list[dict[str, Any]] = []
    metadata: _PageMeta = msgspec.field(default_factory=_PageMeta)


async def _all(client: KubeClient, notes: Notes, resource: Resource, namespace: str) -> list[Object]:
    """The newest objects of a namespace, or of all."""
    within = namespace if resource.namespaced else ""
    query = {"limit": str(PAGE)}
    found: list[Object] = []
    try:
        while True:
            page = msgspec.json.decode(await client.list(resource, within, query=query), type=_Page)
            found += page.items
            if not page.metadata.token:
                break
            query["continue"] = page.metadata.token
    except ForbiddenError:
        notes.forbidden("list", resource, within)
    except NotFoundError:
        notes.unknown(resource)
    return sorted(found, key=lambda one: str(_map(one, "metadata").get("creationTimestamp", "")))[-MOST:]


async def _crds(client: KubeClient, notes: Notes) -> list[Object]:
    """Of which version the CRDs are, as far as they say so."""
    found = []
    for name in _CRD_NAMES:
        try:
            raw = msgspec.json.decode(await client.get(CRDS, "", name), type=dict[str, Any])
        except ForbiddenError:
            notes.forbidden("get", CRDS, "")
            break
        except NotFoundError:
            found.append({"name": name, "exists": False})
            continue
        labels = {key: value for key, value in _map(raw, "metadata", "labels").items() if key.startswith("app.kub")}
        versions = [
            {field: version.get(field) for field in ("name", "served", "storage")}
            for version in _map(raw, "spec").get("versions", [])
        ]
        stored = _map(raw, "status").get("storedVersions")
        found.append({"name": name, "labels": clean(labels), "versions": versions, "storedVersions": stored})
    return found


async def _versions(client: KubeClient) -> Object:
    told: Object = {"cdn-issuer": __version__, "python": platform.python_version(), "platform": platform.platform()}
    try:
        kubernetes = msgspec.json.decode(await client.read("/version"), type=dict[str, Any])
    except (KubeError, msgspec.DecodeError):
        return told
    return told | {"kubernetes": clean(kubernetes.get("gitVersion"))}


def _certificate(raw: Object) -> Object | None:
    ref = _map(raw, "spec", "issuerRef")
    if ref.get("group") != GROUP and ref.get("kind") not in PLURALS:
        return None
    status = {name: value for name, value in _map(raw, "status").items() if name != "nextPrivateKeySecretName"}
    return {"metadata": _metadata(raw), "spec": _only(_map(raw, "spec"), _CERTIFICATE), "status": status}


def _request(raw: Object) -> Object | None:
    if _map(raw, "spec", "issuerRef").get("group") != GROUP:
        return None
    spec, status = _only(_map(raw, "spec"), _REQUEST), _only(_map(raw, "status"), _REQUEST_STATUS)
    return {"metadata": _metadata(raw), "spec": spec, "status": status}


def _signing_request(raw: Object) -> Object:
    """Of what was read for the diagnosis: who made it is in none of that."""
    status = _only(_map(raw, "status"), ("conditions",))
    return {"metadata": _metadata(raw), "spec": _only(_map(raw, "spec"), _SIGNING_REQUEST), "status": status}


def _issuer(raw: Object) -> Object:
    """All of it: its CRD keeps what is in it to our own fields, and those hold no secret but in an address."""
    return {"metadata": _metadata(raw), "spec": raw.get("spec"), "status": raw.get("status")}


def _event(raw: Object, signing_requests: frozenset[str]) -> Object | None:
    """An event about one of ours; `signing_requests` names those, since most are for signers of others."""
    about = _map(raw, "involvedObject")
    is_ours = about.get("kind") == SIGNING_REQUEST_KIND and about.get("name") in signing_requests
    if about.get("kind") not in _KINDS and not is_ours:
        return None
    return {"about": _only(about, _ABOUT), **_only(raw, _EVENT)}


def _metadata(raw: Object) -> Object:
    """Of an object; of its annotations only ours and cert-manager's, since others hold whatever anybody put there."""
    meta = _map(raw, "metadata")
    annotations = {name: value for name, value in _map(meta, "annotations").items() if name.startswith(_OUR_PREFIXES)}
    owners = [_only(owner, ("kind", "name", "uid")) for owner in meta.get("ownerReferences") or ()]
    return {**_only(meta, _METADATA), "annotations": annotations, "ownerReferences": owners}


def _only(fields: Mapping[str, Any], names: Iterable[str]) -> Object:
    return {name: fields[name] for name in names if name in fields}


def _map(raw: Mapping[str, Any], *path: str) -> Object:
    """An object inside of an object; empty where there is none."""
    found: Any = raw
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
