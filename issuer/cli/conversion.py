"""From the objects of Cloudflare's origin-ca-issuer to ours, for `cdn-issuer convert`. Pure.

Only objects that have to do with that issuer come out: its two kinds become ours, and what refers to them, by
`issuerRef` or by annotation, refers to ours and stays otherwise as it is. Anything else in the input is left out, so
that `kubectl get ... -A -o yaml | cdn-issuer convert - | kubectl apply -f -` touches nothing that it need not touch.

What the API server wrote (status, uid, resourceVersion, ...) is taken off. What cannot be carried over, or will be
different afterwards, is a warning on the object; `issuer.cli.convert` prints it above the object and on stderr.

What differs is read from the sources of both: origin-ca-issuer sends the DNS names of a CSR alone and passes over all
other names, takes the validity that is nearest to the duration, and prefers the service key where both credentials
are given.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, ISSUER_KIND, VERSION
from issuer.authorities.cloudflare_order import USAGES, VALIDITIES
from issuer.pki import usages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

THEIR_GROUP: Final = "cert-manager.k8s.cloudflare.com"
KINDS: Final = {"OriginIssuer": ISSUER_KIND, "ClusterOriginIssuer": CLUSTER_ISSUER_KIND}
"""Their kinds, and ours."""
AUTHORITY: Final = "cloudflare"
"""Name of the one authority of a converted issuer."""
ASSUMED: Final = {"name": "cloudflare-api-token", "key": "api-token"}
"""The Secret of an issuer that names none."""

ISSUER: Final = "cert-manager.io/issuer"
ISSUER_KIND_KEY: Final = "cert-manager.io/issuer-kind"
ISSUER_GROUP_KEY: Final = "cert-manager.io/issuer-group"

_CREDENTIAL: Final = (
    "an API token with the permissions Zone / SSL and Certificates / Edit and Zone / Zone / Read for the zones of all "
    "hostnames"
)
_SERVER_SIDE: Final = (
    *("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields"),
    *("resourceVersion", "selfLink", "uid"),
)
_OWNERS: Final = {
    "meta.helm.sh/": "Helm",
    "argocd.argoproj.io/": "Argo CD",
    "helm.toolkit.fluxcd.io/": "Flux",
    "kustomize.toolkit.fluxcd.io/": "Flux",
}
"""Prefixes of labels and annotations by which a tool marks what it looks after, and the tool."""
_OWNERS_TOO: Final = ("app.kubernetes.io/managed-by", "app.kubernetes.io/instance")
"""Labels that such a tool may go by: what has them and is not in its sources may be deleted by it."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_DEFAULT_DURATION: Final = timedelta(days=90)
"""What cert-manager asks for where a Certificate says nothing."""
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_REQUEST_TYPES: Final = {"OriginRSA": "RSA", "OriginECC": "ECDSA"}
_OTHER_NAMES: Final = ("ipAddresses", "emailAddresses", "uris", "otherNames")


@dataclass(frozen=True, slots=True)
class Converted:
    """An object of ours, and what is to be said of it."""

    manifest: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Kind, namespace and name."""
        return title(self.manifest)


@dataclass(slots=True)
class Conversion:
    """What became of the input.

    Attributes:
        converted: the objects to apply, in the order of the input.
        by_hand: objects that name the old group, and that are left out all the same: each in a sentence.
        unconcerned: how many objects have nothing to do with it.
    """

    converted: list[Converted] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    unconcerned: int = 0


def convert(documents: Iterable[Any]) -> Conversion:
    """Convert decoded manifests; lists of objects are taken apart.

    Args:
        documents: what the YAML holds; what is no object of Kubernetes counts as unconcerned.
    """
    objects = [one for document in documents for one in _objects(document)]
    request_types = {_key(one): _request_type(one) for one in objects if _is_theirs(one)}
    result = Conversion()
    for one in objects:
        if _is_theirs(one) and one["kind"] in KINDS:
            result.converted.append(_issuer(one))
        elif reason := _why_not(one):
            result.by_hand.append(f"{title(one)} {reason}")
        elif found := _referring(one, request_types):
            result.converted.append(found)
        elif one.get("kind") != "Secret" and _mentions(one):
            result.by_hand.append(f"{title(one)} names {THEIR_GROUP} where it cannot be converted: look at it by hand")
        else:
            result.unconcerned += 1
    return result


def title(manifest: Mapping[str, Any]) -> str:
    """How an object is called in messages: `Certificate shop/web`."""
    metadata = _mapping(manifest.get("metadata"))
    name = str(metadata.get("name") or metadata.get("generateName") or "without a name")
    namespace = metadata.get("namespace")
    return f"{manifest.get('kind')} {namespace}/{name}" if namespace else f"{manifest.get('kind')} {name}"


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    items = document.get("items")
    if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
        kind, version = str(document["kind"]).removesuffix("List"), document.get("apiVersion")
        for item in items:
            # The items of a typed list (OriginIssuerList) need not say what they are.
            implied = {"apiVersion": version, "kind": kind} if kind and isinstance(item, dict) else {}
            yield from _objects({**implied, **item} if implied else item)
    elif isinstance(document.get("kind"), str):
        yield document


def _issuer(theirs: dict[str, Any]) -> Converted:
    spec = _mapping(theirs.get("spec"))
    auth = _mapping(spec.get("auth"))
    cluster = theirs["kind"] == "ClusterOriginIssuer"
    warnings: list[str] = []
    reference = _reference(auth.get("tokenRef"))
    if reference is None and (reference := _reference(auth.get("serviceKeyRef"))):
        warnings.append(
            f"it uses an Origin CA service key, which Cloudflare takes no longer: make {_CREDENTIAL}, and put it into "
            f"Secret {reference['name']}, key {reference['key']}"
        )
    if reference is None:
        reference = dict(ASSUMED)
        warnings.append(
            f"it names no Secret; Secret {reference['name']}, key {reference['key']} is assumed: "
            f"put {_CREDENTIAL} there"
        )
    if cluster:
        warnings.append(
            f"Secret {reference['name']} has to be in the cluster resource namespace of cdn-issuer "
            "(--cluster-resource-namespace, its own unless given), not in that of origin-ca-issuer"
        )
    manifest = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KINDS[theirs["kind"]],
        "metadata": _metadata(theirs),
        "spec": {"authorities": [{"name": AUTHORITY, "cloudflare": {"apiTokenSecretRef": reference}}]},
    }
    return Converted(manifest, tuple(warnings))


def _referring(theirs: dict[str, Any], request_types: Mapping[tuple[str, str, str], str]) -> Converted | None:
    """The object with its references turned to ours; None if it has none."""
    ours = _without_server_side(theirs)
    warnings: list[str] = []
    reference = _mapping(_mapping(ours.get("spec")).get("issuerRef"))
    if reference.get("group") == THEIR_GROUP and str(reference.get("kind")) in KINDS:
        key = _referred(ours, reference["kind"], reference.get("name"))
        warnings += [*_differences(ours, request_types.get(key, "")), *_owned(ours)]
        reference.update(group=GROUP, kind=KINDS[reference["kind"]])
        return Converted(ours, tuple(warnings))
    annotations = _mapping(_mapping(ours.get("metadata")).get("annotations"))
    if annotations.get(ISSUER_GROUP_KEY) == THEIR_GROUP and str(annotations.get(ISSUER_KIND_KEY)) in KINDS:
        key = _referred(ours, annotations[ISSUER_KIND_KEY], annotations.get(ISSUER))
        annotations[ISSUER_KIND_KEY] = KINDS[annotations[ISSUER_KIND_KEY]]
        annotations[ISSUER_GROUP_KEY] = GROUP
        warnings += [*_differences(_annotated(annotations), request_types.get(key, "")), *_owned(ours)]
        if "cert-manager.io/cluster-issuer" in annotations:
            warnings.append(
                "cert-manager.io/cluster-issuer means cert-manager's own ClusterIssuer: keep one of the two annotations"
            )
        return Converted(ours, tuple(warnings))
    return None


def _why_not(theirs: dict[str, Any]) -> str:
    """Why an object that refers to their group is not converted; empty if it can be, or does not."""
    metadata = _mapping(theirs.get("metadata"))
    if not _refers(theirs):
        return ""
    if theirs.get("kind") == "CertificateRequest" and metadata.get("uid"):
        return "cannot be changed: cert-manager makes a new one once its Certificate names the new issuer"
    owners = metadata.get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict) and owner.get("controller"):
            return (
                f"is made by {owner.get('kind')} {owner.get('name')}: convert that, and this follows; "
                "it would be changed back"
            )
    return ""


def _refers(theirs: dict[str, Any]) -> bool:
    group = _mapping(_mapping(theirs.get("spec")).get("issuerRef")).get("group")
    return group == THEIR_GROUP and theirs.get("kind") in {"Certificate", "CertificateRequest"}


def _differences(manifest: dict[str, Any], request_type: str) -> Iterator[str]:
    """What will be different for a Certificate or a CertificateRequest, or not work at all."""
    spec = _mapping(manifest.get("spec"))
    if manifest.get("kind") == "Certificate":
        algorithm = str(_mapping(spec.get("privateKey")).get("algorithm") or "RSA")
        if algorithm == "Ed25519":
            yield "Cloudflare's Origin CA signs no Ed25519 keys: use RSA or ECDSA"
        elif request_type in _REQUEST_TYPES and _REQUEST_TYPES[request_type] != algorithm:
            yield (
                f"its key is {algorithm}, and the requestType of its issuer was {request_type}: the certificate "
                f"follows the key, so set privateKey.algorithm to {_REQUEST_TYPES[request_type]} if that was meant"
            )
        if others := [name for name in _OTHER_NAMES if spec.get(name)]:
            yield (
                f"{', '.join(others)}: origin-ca-issuer passed over these names, cdn-issuer fails a request whose "
                "names Cloudflare cannot sign; take them out, or add an authority that signs them"
            )
    if spec.get("isCA"):
        yield "isCA: Cloudflare's Origin CA signs no certificates of CAs"
    wanted = spec.get("usages")
    names = tuple(one for one in wanted if isinstance(one, str)) if isinstance(wanted, list) else ()
    if missing := usages.outside(names, USAGES):
        yield f"usages: Cloudflare's Origin CA signs for no {', '.join(missing)}; take it out"
    yield from _duration(spec.get("duration"))


def _annotated(annotations: dict[str, Any]) -> dict[str, Any]:
    """The Certificate that cert-manager makes of these annotations, as far as `_differences` looks at it."""

    def said(name: str) -> str:
        return str(annotations.get(f"cert-manager.io/{name}") or "")

    spec = {
        "duration": said("duration") or None,
        "privateKey": {"algorithm": said("private-key-algorithm")},
        "usages": [usage.strip() for usage in said("usages").split(",") if usage.strip()],
        "ipAddresses": said("ip-sans"),
        "emailAddresses": said("email-sans"),
        "uris": said("uri-sans"),
    }
    return {"kind": "Certificate", "spec": spec}


def _duration(written: Any) -> Iterator[str]:
    wanted = _DEFAULT_DURATION if written is None else _read_duration(written)
    if wanted is None:
        yield f"duration {str(written)[:40]!r} is no duration"
        return
    granted = next((days for days in VALIDITIES if timedelta(days=days) >= wanted), None)
    if granted is None:
        yield f"duration {written}: Cloudflare's Origin CA signs for {VALIDITIES[-1]} days at the most"
    elif timedelta(days=granted) != wanted:
        nearest = min(VALIDITIES, key=lambda days: abs(days - wanted // timedelta(days=1)))
        was = f"; origin-ca-issuer asked for the nearest, {nearest}" if nearest != granted else ""
        yield f"duration {written}: Cloudflare offers none such, the certificate will be for {granted} days{was}"


def _read_duration(written: Any) -> timedelta | None:
    """A duration of Go's (`2160h0m0s`); None if it is none."""
    if not isinstance(written, str) or not re.fullmatch(
        r"\+?(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:h|m|s|ms|us|µs|ns))+", written
    ):
        return None
    parts = re.findall(r"([0-9.]+)(h|ms|m|s|us|µs|ns)", written)
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        return None


def _owned(manifest: dict[str, Any]) -> Iterator[str]:
    """Which tool will change the object back, if any."""
    metadata = _mapping(manifest.get("metadata"))
    marks = [str(mark) for part in ("labels", "annotations") for mark in _mapping(metadata.get(part))]
    found = {tool for prefix, tool in _OWNERS.items() if any(mark.startswith(prefix) for mark in marks)}
    if found:
        yield f"it is looked after by {', '.join(sorted(found))}: change its source too, or it is changed back"


def _metadata(theirs: dict[str, Any]) -> dict[str, Any]:
    """Name, namespace, labels and annotations; owners, finalizers and marks of tools were about the other object."""
    metadata = _mapping(_without_server_side(theirs).get("metadata"))
    for part in ("labels", "annotations"):
        marks = _mapping(metadata.get(part))
        for mark in [one for one in marks if str(one).startswith((*_OWNERS, *_OWNERS_TOO))]:
            del marks[mark]
    return {name: metadata[name] for name in ("name", "namespace", "labels", "annotations") if metadata.get(name)}


def _without_server_side(manifest: dict[str, Any]) -> dict[str, Any]:
    kept = {name: copy.deepcopy(value) for name, value in manifest.items() if name != "status"}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):
        for name in _SERVER_SIDE:
            metadata.pop(name, None)
        annotations = metadata.get("annotations")
        if isinstance(annotations, dict):
            annotations.pop(_LAST_APPLIED, None)
            if not annotations:
                del metadata["annotations"]
    return kept


def _reference(value: Any) -> dict[str, str] | None:
    reference = _mapping(value)
    name, key = reference.get("name"), reference.get("key")
    return {"name": str(name), "key": str(key)} if name and key else None


def _is_theirs(manifest: dict[str, Any]) -> bool:
    return str(manifest.get("apiVersion", "")).startswith(f"{THEIR_GROUP}/")


def _request_type(manifest: dict[str, Any]) -> str:
    return str(_mapping(manifest.get("spec")).get("requestType") or "")


def _key(manifest: dict[str, Any]) -> tuple[str, str, str]:
    metadata = _mapping(manifest.get("metadata"))
    return str(manifest.get("kind")), str(metadata.get("namespace") or ""), str(metadata.get("name"))


def _referred(manifest: dict[str, Any], kind: str, name: Any) -> tuple[str, str, str]:
    namespace = "" if kind == "ClusterOriginIssuer" else str(_mapping(manifest.get("metadata")).get("namespace") or "")
    return kind, namespace, str(name)


def _mentions(value: Any) -> bool:
    if isinstance(value, dict):
        return any(
            _mentions(inner) or _mentions(name)
            for name, inner in value.items()
            if name not in {"managedFields", _LAST_APPLIED}
        )
    if isinstance(value, list):
        return any(_mentions(inner) for inner in value)
    return isinstance(value, str) and THEIR_GROUP in value


def _mapping(value: Any) -> dict[str, Any]:
    """The value itself if it is a mapping, so that what is changed in it is changed there."""
    return value if isinstance(value, dict) else {}
