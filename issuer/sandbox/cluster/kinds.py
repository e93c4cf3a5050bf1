"""The resources that the sandbox's API serves: a handful of built-in ones, cert-manager's, and what CRDs add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from issuer.sandbox.cluster import builtin, certmanager
from issuer.sandbox.cluster.schemas import Shape

Manifest = dict[str, Any]

CRD_GROUP: Final = "apiextensions.k8s.io"
AGE: Final[Manifest] = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
"""The column that most kinds have at the end."""
BUILT_IN_GROUPS: Final = frozenset({"", "events.k8s.io", "coordination.k8s.io", CRD_GROUP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One resource at one version.

    Attributes:
        columns: of `kubectl get`, as a CRD declares them.
        fields: paths that a field selector may name, beside name and namespace.
        schema: the structural schema; empty if there is none.
        typed: it is a Go type of the server, so what does not fit the schema does not even decode.
        shape: the schema at work.
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
    typed: bool = False
    shape: Shape = field(init=False, repr=False, hash=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", Shape(self.schema))

    @property
    def built_in(self) -> bool:
        """Whether a real server has it without a CRD."""
        return self.group in BUILT_IN_GROUPS

    @property
    def counted(self) -> bool:
        """Whether its objects have a generation: custom resources, and CRDs themselves."""
        return self.group not in BUILT_IN_GROUPS or self.group == CRD_GROUP

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
    kind: str,
    plural: str,
    short: tuple[str, ...] = (),
    *,
    columns: tuple[Manifest, ...] = (),
    namespaced: bool = True,
    schema: Manifest | None = None,
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
        columns=(*columns, AGE),
        fields=frozenset({"spec.issuerRef.group", "spec.issuerRef.kind", "spec.issuerRef.name"}),
        schema=schema or {},
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
    schema=builtin.EVENT,
    typed=True,
    columns=(
        {"name": "Type", "type": "string", "jsonPath": ".type"},
        {"name": "Reason", "type": "string", "jsonPath": ".reason"},
        {"name": "Object", "type": "string", "jsonPath": ".involvedObject.name"},
        {"name": "Message", "type": "string", "jsonPath": ".message"},
    ),
)
NEW_EVENTS: Final = Kind(
    group="events.k8s.io",
    version="v1",
    plural="events",
    kind="Event",
    fields=_EVENT_FIELDS,
    schema=builtin.EVENT,
    typed=True,
)
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
    Kind(
        group="",
        version="v1",
        plural="secrets",
        kind="Secret",
        fields=frozenset({"type"}),
        schema=builtin.SECRET,
        typed=True,
    ),
    Kind(
        group="",
        version="v1",
        plural="configmaps",
        kind="ConfigMap",
        short_names=("cm",),
        schema=builtin.CONFIG_MAP,
        typed=True,
    ),
    Kind(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount", short_names=("sa",)),
    Kind(
        group="coordination.k8s.io",
        version="v1",
        plural="leases",
        kind="Lease",
        schema=builtin.LEASE,
        typed=True,
    ),
    _cert_manager(
        "CertificateRequest",
        "certificaterequests",
        ("cr", "crs"),
        columns=(_status_column("Approved", "Approved"), _status_column("Denied", "Denied"), _READY, _ISSUER),
        schema=certmanager.CERTIFICATE_REQUEST,
    ),
    _cert_manager("Certificate", "certificates", ("cert", "certs"), columns=(_READY,)),
    _cert_manager("Issuer", "issuers", columns=(_READY,)),
    _cert_manager("ClusterIssuer", "clusterissuers", columns=(_READY,), namespaced=False),
)
