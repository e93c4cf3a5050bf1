"""What `kubectl explain` tells of the kinds that no CRD describes, and how lists of theirs are merged.

Nothing is refused by these schemas. A kind without one here keeps whatever it is given. The texts are short on purpose:
the full ones are in the documentation of Kubernetes and of cert-manager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from issuer.sandbox.cluster.kinds import Kind, Manifest


def _text(description: str) -> Manifest:
    return {"type": "string", "description": description}


def _flag(description: str) -> Manifest:
    return {"type": "boolean", "description": description}


def _texts(description: str) -> Manifest:
    """A map of strings."""
    return {"type": "object", "description": description, "additionalProperties": {"type": "string"}}


def _list(description: str, items: Manifest, *, key: str = "") -> Manifest:
    """A list; with a key it is merged by that field."""
    merged = {"x-kubernetes-patch-merge-key": key, "x-kubernetes-patch-strategy": "merge"} if key else {}
    return {"type": "array", "description": description, "items": items, **merged}


def _object(description: str, **properties: Manifest) -> Manifest:
    return {"type": "object", "description": description, "properties": properties}


def _anything(description: str) -> Manifest:
    return {"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": True}


_OWNER: Final = _object(
    "An object that this one belongs to.",
    apiVersion=_text("Its group and version."),
    kind=_text("Its kind."),
    name=_text("Its name."),
    uid=_text("Its UID."),
    controller=_flag("Whether it manages this object."),
    blockOwnerDeletion=_flag("Whether it waits for this object to be gone."),
)
_REFERENCE: Final = _object(
    "A reference to an object.",
    apiVersion=_text("Its group and version."),
    kind=_text("Its kind."),
    namespace=_text("Its namespace."),
    name=_text("Its name."),
    uid=_text("Its UID."),
    resourceVersion=_text("Its version."),
    fieldPath=_text("A part of it."),
)
_CONDITION: Final = _object(
    "One condition.",
    type=_text("What it is about."),
    status=_text("True, False or Unknown."),
    reason=_text("Why, in one word."),
    message=_text("Why, in a sentence."),
    lastTransitionTime=_text("Since when."),
    observedGeneration={"type": "integer", "description": "The generation it is about."},
)
_ISSUER_REF: Final = _object(
    "Which issuer signs.",
    group=_text("Its API group, cdn-issuer.io for the issuers of this project."),
    kind=_text("Its kind, CDNIssuer or CDNClusterIssuer for the issuers of this project."),
    name=_text("Its name."),
)
_TIMES: Final = {
    "firstTimestamp": _text("When it was first seen."),
    "lastTimestamp": _text("When it was last seen."),
    "eventTime": _text("When it happened."),
    "count": {"type": "integer", "description": "How often."},
}

OBJECT_META: Final = _object(
    "What every object has.",
    name=_text("Unique among the objects of its kind in its namespace."),
    generateName=_text("The beginning of a name that the server completes."),
    namespace=_text("Where it is."),
    labels=_texts("What it is selected by."),
    annotations=_texts("Notes of tools and people."),
    uid=_text("Unique for ever; set by the server."),
    resourceVersion=_text("Changes with every write; set by the server."),
    generation={"type": "integer", "description": "Counts changes of the spec; set by the server."},
    creationTimestamp=_text("Since when it exists; set by the server."),
    deletionTimestamp=_text("Since when it is being deleted; set by the server."),
    finalizers=_list("Who has to let go before it is gone.", {"type": "string"}),
    ownerReferences=_list("What it belongs to.", _OWNER, key="uid"),
    managedFields=_list("Who has applied which fields.", _anything("One manager.")),
)

_SCHEMAS: Final[dict[tuple[str, str], Manifest]] = {
    ("", "Secret"): _object(
        "Bytes that not everybody may read, such as the token of an authority.",
        type=_text("What is in it; Opaque unless given."),
        data=_texts("The values, base64."),
        stringData=_texts("The values as text; a real server turns them into data."),
        immutable=_flag("Whether it may not change any more."),
    ),
    ("", "ConfigMap"): _object(
        "Text that everybody may read.",
        data=_texts("The values."),
        binaryData=_texts("The values that are no text, base64."),
        immutable=_flag("Whether it may not change any more."),
    ),
    ("", "Namespace"): _object(
        "A room for names.", spec=_anything("Who lets go of it."), status=_anything("Whether it is being deleted.")
    ),
    ("", "ServiceAccount"): _object(
        "Who a program in the cluster is.",
        secrets=_list("Secrets that its pods may use.", _REFERENCE, key="name"),
        imagePullSecrets=_list("Secrets for pulling images.", _REFERENCE, key="name"),
        automountServiceAccountToken=_flag("Whether its pods get a token."),
    ),
    ("", "Event"): _object(
        "Something that happened to an object.",
        type=_text("Normal or Warning."),
        reason=_text("What, in one word."),
        message=_text("What, in a sentence."),
        involvedObject=_REFERENCE,
        source=_anything("Who tells it."),
        **_TIMES,
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _object(
        "A kind that is added to the API.",
        spec=_object(
            "What it is.",
            group=_text("Its API group."),
            scope=_text("Namespaced or Cluster."),
            names=_anything("Its kind, plural, singular, short names and categories."),
            versions=_list("Its versions, each with a schema.", _anything("One version.")),
            conversion=_anything("How one version becomes another."),
            preserveUnknownFields=_flag("Always false at this version."),
        ),
        status=_anything("Whether it is served."),
    ),
    ("coordination.k8s.io", "Lease"): _object("Who leads.", spec=_anything("The holder and for how long.")),
    ("cert-manager.io", "CertificateRequest"): _object(
        "A request for one signed certificate.",
        spec=_object(
            "What is asked for; it cannot be changed.",
            request=_text("The CSR, PEM in base64."),
            issuerRef=_ISSUER_REF,
            duration=_text("How long the certificate shall be valid."),
            isCA=_flag("Whether it shall be a CA's."),
            usages=_list("What its key shall be good for.", {"type": "string"}),
            username=_text("Who asked; set by cert-manager."),
            uid=_text("Who asked; set by cert-manager."),
            groups=_list("Who asked; set by cert-manager.", {"type": "string"}),
            extra=_anything("Who asked; set by cert-manager."),
        ),
        status=_object(
            "What became of it.",
            certificate=_text("The chain, PEM in base64."),
            ca=_text("The root, PEM in base64."),
            failureTime=_text("When it failed for good."),
            conditions=_list("Approved, Denied, Ready and more.", _CONDITION),
        ),
    ),
}


def explained(kind: Kind) -> Manifest:
    """The schema of a kind: its own, and what is told here where that says nothing."""
    told = _SCHEMAS.get((kind.group, kind.kind))
    if told is None:
        return kind.schema or _anything(f"{kind.kind} of {kind.api_version}.")
    return _filled(kind.schema, told)


def _filled(schema: Manifest, told: Manifest) -> Manifest:
    filled = {**told, **schema}
    for name in told.keys() & schema.keys():
        if isinstance(told[name], dict) and isinstance(schema[name], dict):
            filled[name] = _filled(schema[name], told[name])
    return filled
