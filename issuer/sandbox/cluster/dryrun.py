"""Dry runs (`dryRun=All`): everything is done as it would be, errors included, but on a copy that nobody sees.

`kubectl diff` is made of them: it shows the object that is there beside the one that a dry run of the apply answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from issuer.sandbox.cluster.errors import StatusError, bad_request
from issuer.sandbox.cluster.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.sandbox.cluster.kinds import Kind
    from issuer.sandbox.cluster.store import Happening, Stored


class DryRun(Store):
    """The objects of a store, to write to without consequences: no watch and no hook hears of it."""

    def __init__(self, store: Store) -> None:
        vars(self).update(vars(store))
        self._tables = {resource: dict(table) for resource, table in self._tables.items()}

    def _tell(self, event: Happening) -> None:
        """Tell nobody."""


def is_asked(query: Sequence[str], method: str, body: bytes) -> bool:
    """Whether a call is a dry run: a query parameter says so, or for DELETE a field of the body.

    Args:
        query: the values of the parameter.
        method: of the call.
        body: of the call, JSON.

    Raises:
        StatusError: it says neither `All` nor nothing.
    """
    said = [*query, *(_options(body) if method == "DELETE" and body else ())]
    if wrong := next((value for value in said if value not in ("", "All")), None):
        text = f'dryRun: Unsupported value: "{wrong}": supported values: "All"'
        raise StatusError(422, "Invalid", f'Options.meta.k8s.io "" is invalid: {text}')
    return "All" in said


def answered(store: Store, kind: Kind, written: Stored) -> Stored:
    """What a dry run answers: the object with the version that the one in the store has, or with none."""
    metadata: dict[str, Any] = {**written.obj["metadata"], "resourceVersion": ""}
    with contextlib.suppress(StatusError):
        old = store.get(kind, (metadata.get("namespace", ""), metadata["name"]))
        metadata["resourceVersion"] = old.obj["metadata"]["resourceVersion"]
    obj = {**written.obj, "metadata": {name: value for name, value in metadata.items() if value != ""}}
    return dataclasses.replace(written, obj=obj, encoded=msgspec.json.encode(obj))


def _options(body: bytes) -> Sequence[str]:
    try:
        found: Sequence[str] = msgspec.json.decode(body).get("dryRun") or ()
    except (msgspec.DecodeError, AttributeError):
        raise bad_request("the options of a deletion are not a JSON object") from None
    return found
