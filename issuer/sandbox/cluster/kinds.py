"""The resources that the sandbox's API serves: a handful of built-in ones, cert-manager's, and what CRDs add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Manifest = dict[str, Any]

CRD_GROUP: Final = "apiextensions.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One resource at one version.

    Attributes:
        columns: of `kubectl get`, as a CRD declares them.
        fields: paths that a field selector may name, beside name and namespace.
        schema: the structural schema, for defaults; empty if there is none.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    columns: tuple[Manifest, ...] = ()
    fields: frozenset[str] = frozenset()
    schema: Manifest = field(default_factory=dict, hash=False, compare=False)

    @property
    def api_version(self) -> str:
        """`group/version`, or the version alone in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def stored(self) -> Kind:
        """The kind under which the objects are kept: both kinds of Event are core/v1's."""
        return EVENTS if self is NEW_EVENTS else self

    @property
    def id(self) -> tuple[str, str]:
        """Group and plural of what is stored: objects are the same at every version."""
        return self.stored.group, self.stored.plural


def from_crd(crd: Manifest) -> list[Kind]:
    """The kinds that a CustomResourceDefinition adds, one a served version."""
    spec = crd["spec"]
    names = spec["names"]
    return [
        Kind(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec.get("scope", "Namespaced") == "Namespaced",
            short_names=tuple(names.get("shortNames", ())),
            categories=tuple(names.get("categories", ())),
            has_status="status" in version.get("subresources", {}),
            columns=tuple(version.get("additionalPrinterColumns", ())),
            fields=frozenset(one["jsonPath"].lstrip(".") for one in version.get("selectableFields", ())),
            schema=version.get("schema", {}).get("openAPIV3Schema", {}),
        )
        for version in spec["versions"]
        if version.get("served", True)
    ]


def _cert_manager(
    kind: str, plural: str, short: tuple[str, ...] = (), *, columns: tuple[Manifest, ...] = (), namespaced: bool = True
) -> Kind:
    return Kind(
        group="cert-manager.io",
        version="v1",
        plural=plural,
        kind=kind,
        namespaced=namespaced,
        short_names=short,
        categories=("cert-manager",),
        has_status=True,
        columns=columns,
        fields=frozenset({"spec.issuerRef.group", "spec.issuerRef.kind", "spec.issuerRef.name"}),
    )


def _status_column(name: str, condition: str) -> Manifest:
    return {"name": name, "type": "string", "jsonPath": f'.status.conditions[?(@.type=="{condition}")].status'}


_READY: Final = _status_column("Ready", "Ready")
_ISSUER: Final = {"name": "Issuer", "type": "string", "jsonPath": ".spec.issuerRef.name"}
_EVENT_FIELDS: Final = frozenset(
    {
        "reason",
        "type",
        *(f"involvedObject.{part}" for part in ("kind", "name", "namespace", "uid", "apiVersion", "fieldPath")),
        *(f"regarding.{part}" for part in ("kind", "name", "namespace", "uid", "apiVersion", "fieldPath")),
    }
)

NAMESPACES: Final = Kind(
    group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False, short_names=("ns",)
)
EVENTS: Final = Kind(
    group="",
    version="v1",
    plural="events",
    kind="Event",
    short_names=("ev",),
    fields=_EVENT_FIELDS,
    columns=(
        {"name": "Type", "type": "string", "jsonPath": ".type"},
        {"name": "Reason", "type": "string", "jsonPath": ".reason"},
        {"name": "Object", "type": "string", "jsonPath": ".involvedObject.name"},
        {"name": "Message", "type": "string", "jsonPath": ".message"},
    ),
)
NEW_EVENTS: Final = Kind(group="events.k8s.io", version="v1", plural="events", kind="Event", fields=_EVENT_FIELDS)
CRDS: Final = Kind(
    group=CRD_GROUP,
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    has_status=True,
)

BUILT_IN: Final = (
    NAMESPACES,
    EVENTS,
    NEW_EVENTS,
    CRDS,
    Kind(group="", version="v1", plural="secrets", kind="Secret", fields=frozenset({"type"})),
    Kind(group="", version="v1", plural="configmaps", kind="ConfigMap", short_names=("cm",)),
    Kind(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount", short_names=("sa",)),
    Kind(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease"),
    _cert_manager(
        "CertificateRequest",
        "certificaterequests",
        ("cr", "crs"),
        columns=(_status_column("Approved", "Approved"), _status_column("Denied", "Denied"), _READY, _ISSUER),
    ),
    _cert_manager("Certificate", "certificates", ("cert", "certs"), columns=(_READY,)),
    _cert_manager("Issuer", "issuers", columns=(_READY,)),
    _cert_manager("ClusterIssuer", "clusterissuers", columns=(_READY,), namespaced=False),
)
