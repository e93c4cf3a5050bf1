"""Patches: JSON merge patch (RFC 7386) and JSON patch (RFC 6902).

A strategic merge patch, which kubectl sends for built-in kinds, is taken as a merge patch without its directives; lists
of built-in kinds are replaced rather than merged. That is enough for what is applied to the sandbox.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from issuer.sandbox.cluster.errors import StatusError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"


def apply(content_type: str, target: Any, patch: Any) -> Any:
    """A patched copy.

    Raises:
        StatusError: the patch is of an unknown type, or does not fit.
    """
    if content_type in (MERGE, STRATEGIC):
        if not isinstance(patch, dict):
            raise bad_request("a merge patch is an object")
        return _merged(target, patch)
    if content_type == JSON:
        if not isinstance(patch, list):
            raise bad_request("a JSON patch is a list")
        result = copy.deepcopy(target)
        for operation in patch:
            result = _operated(result, operation)
        return result
    raise StatusError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {JSON}, {MERGE}",
    )


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _operated(document: Any, operation: Mapping[str, Any]) -> Any:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
    if not steps:
        return operation["value"]
    parent = document
    try:
        for step in steps[:-1]:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        _operate(parent, steps[-1], operation)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise StatusError(422, "Invalid", f"the JSON patch does not fit: {operation.get('path')}: {error}") from None
    return document


def _operate(parent: Any, last: str, operation: Mapping[str, Any]) -> None:
    kind = operation["op"]
    if isinstance(parent, list):
        index = len(parent) if last == "-" else int(last)
        if kind == "add":
            parent.insert(index, operation["value"])
            return
        where: Any = index
    else:
        where = last
    if kind == "test":
        if parent[where] != operation["value"]:
            raise ValueError("test failed")
    elif kind == "remove":
        del parent[where]
    elif kind == "add":
        parent[where] = operation["value"]
    elif kind == "replace":
        parent[where] = (parent[where], operation["value"])[1]
    else:
        raise ValueError(f"unknown operation {kind}")
