"""What a CustomResourceDefinition does to the cluster: it is established, it changes, it goes with all its objects.

In a real cluster controllers do this within a moment (apiextensions-apiserver: `pkg/controller/status`, `establish` and
`finalizer`); here it is done by the time the write that caused it is answered. A CRD that is being deleted takes no new
objects; each of its objects is deleted with an event of its own, and the CRD stays until the last one is gone, which a
finalizer may hold up.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from issuer.sandbox.cluster.errors import StatusError
from issuer.sandbox.cluster.kinds import CRDS, from_crd

if TYPE_CHECKING:
    from issuer.sandbox.cluster.kinds import Kind, Manifest
    from issuer.sandbox.cluster.paths import Kinds
    from issuer.sandbox.cluster.store import Happening, Store

FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"
ACCEPTED: Final = ("NamesAccepted", "True", "NoConflicts", "no conflicts found")
ESTABLISHED: Final = ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
TERMINATING: Final = (
    "Terminating",
    "True",
    "InstanceDeletionInProgress",
    "CustomResource deletion is in progress",
)


class Definitions:
    """Serves what the CRDs in the store describe."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self._store = store
        self._kinds = kinds
        self._leaving: dict[tuple[str, str], str] = {}

    def happened(self, event: Happening) -> None:
        """Follow a change in the store."""
        if event.resource == CRDS.id:
            if event.type == "DELETED":
                self._remove(event.new.obj)
            elif event.new.obj["metadata"].get("deletionTimestamp"):
                self._empty(event.new.obj)
            else:
                self._serve(event)
        elif event.type == "DELETED" and event.resource in self._leaving:
            self._finish(event.resource)

    def _serve(self, event: Happening) -> None:
        crd, old = event.new.obj, event.old
        if old is not None and old.obj["spec"] == crd["spec"]:
            return
        served = from_crd(crd)
        before = from_crd(old.obj) if old is not None else []
        for kind in before:
            if not any(one.api_version == kind.api_version and one.plural == kind.plural for one in served):
                self._kinds.remove(kind)
        for kind in served:
            self._kinds.add(kind)
        if old is not None and served:
            self._store.reshape(served[0])
        if old is None:
            names = crd["spec"]["names"]
            versions = [one["name"] for one in crd["spec"]["versions"] if one.get("storage", True)]
            stamp = crd["metadata"]["creationTimestamp"]
            status = {"conditions": [_condition(stamp, *ACCEPTED), _condition(stamp, *ESTABLISHED)]}
            self._write(crd, status | {"acceptedNames": names, "storedVersions": versions})

    def _empty(self, crd: Manifest) -> None:
        """Delete the objects of a CRD that is being deleted."""
        resource = (crd["spec"]["group"], crd["spec"]["names"]["plural"])
        if resource in self._leaving:
            return
        self._leaving[resource] = crd["metadata"]["name"]
        self._store.close(resource)
        kind = self._kind(crd)
        for stored in self._store.list(kind):
            metadata = stored.obj["metadata"]
            with contextlib.suppress(StatusError):
                self._store.delete(kind, (metadata.get("namespace", ""), metadata["name"]))
        self._finish(resource)

    def _finish(self, resource: tuple[str, str]) -> None:
        """Let a CRD go when its last object has gone."""
        name = self._leaving.get(resource, "")
        crd = self._store.find(CRDS, ("", name))
        if crd is None or self._store.list(self._kind(crd.obj)):
            return
        del self._leaving[resource]
        finalizers = [one for one in crd.obj["metadata"].get("finalizers", ()) if one != FINALIZER]
        self._store.update(
            CRDS, ("", name), {**crd.obj, "metadata": {**crd.obj["metadata"], "finalizers": finalizers}}, status=False
        )

    def _remove(self, crd: Manifest) -> None:
        for kind in from_crd(crd):
            self._kinds.remove(kind)
            self._store.drop(kind.id)

    def _kind(self, crd: Manifest) -> Kind:
        return from_crd(crd)[0]

    def _write(self, crd: Manifest, status: Manifest) -> None:
        self._store.update(CRDS, ("", crd["metadata"]["name"]), {"status": status}, status=True)


def leave(crd: Manifest, stamp: str) -> Manifest:
    """A CRD that is asked to go: it waits for its objects (apiextensions: `pkg/registry/customresourcedefinition`)."""
    metadata = crd["metadata"]
    finalizers = [*(one for one in metadata.get("finalizers", ()) if one != FINALIZER), FINALIZER]
    known = crd.get("status") or {}
    return {
        **crd,
        "metadata": {**metadata, "deletionTimestamp": stamp, "finalizers": finalizers},
        "status": {**known, "conditions": [*known.get("conditions", ()), _condition(stamp, *TERMINATING)]},
    }


def _condition(stamp: str, type_: str, status: str, reason: str, message: str) -> Manifest:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": stamp}
