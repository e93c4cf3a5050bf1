"""Label and field selectors, and the small part of JSONPath that printer columns use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from issuer.sandbox.cluster.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.sandbox.cluster.kinds import Kind, Manifest

Test = "Callable[[Manifest], bool]"

_SET: Final = re.compile(r"\s*([^\s!=,()]+)\s+(in|notin)\s*\(([^)]*)\)\s*")
_LABEL: Final = re.compile(
    r"!?\s*[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
    r"|[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?\s*((==|=|!=)\s*[-A-Za-z0-9_.]*|\s(in|notin)\s*\([-A-Za-z0-9_., ]*\))"
)
_PATH_STEP: Final = re.compile(r'\.([A-Za-z0-9_\-]+)|\[\?\(@\.([A-Za-z]+)==["\']([^"\']*)["\']\)\]|\[(\d+)\]')


def selector(kind: Kind, labels: str, fields: str) -> Callable[[Manifest], bool]:
    """A test for both selectors of a call.

    Raises:
        StatusError: a field that the resource cannot be selected by, or nonsense.
    """
    tests = [*_labels(labels), *_fields(kind, fields)]
    return lambda obj: all(test(obj) for test in tests)


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path, or an empty string."""
    for step in path.split("."):
        if not isinstance(obj, dict) or step not in obj:
            return ""
        obj = obj[step]
    return obj


def json_path(obj: Any, path: str) -> Any:
    """The value at a JSONPath of names, indices and `[?(@.a=="b")]`, or None."""
    for name, key, wanted, index in _PATH_STEP.findall(path):
        if name:
            obj = obj.get(name) if isinstance(obj, dict) else None
        elif key:
            items = obj if isinstance(obj, list) else []
            obj = next((item for item in items if item.get(key) == wanted), None)
        else:
            obj = obj[int(index)] if isinstance(obj, list) and len(obj) > int(index) else None
        if obj is None:
            return None
    return obj


def _labels(text: str) -> list[Callable[[Manifest], bool]]:
    tests: list[Callable[[Manifest], bool]] = []
    for part in filter(None, map(str.strip, re.split(r",(?![^(]*\))", text))):
        if not _LABEL.fullmatch(part):
            raise bad_request(f"unable to parse requirement: {part}")
        if found := _SET.fullmatch(part):
            tests.append(_in(found[1], {value.strip() for value in found[3].split(",")}, wanted=found[2] == "in"))
        elif "!=" in part:
            name, _, value = part.partition("!=")
            tests.append(_in(name.strip(), {value.strip()}, wanted=False))
        elif "=" in part:
            name, _, value = part.replace("==", "=").partition("=")
            tests.append(_in(name.strip(), {value.strip()}, wanted=True))
        elif part.startswith("!"):
            tests.append(_present(part[1:].strip(), wanted=False))
        else:
            tests.append(_present(part, wanted=True))
    return tests


def _in(name: str, values: set[str], *, wanted: bool) -> Callable[[Manifest], bool]:
    return lambda obj: ((obj["metadata"].get("labels") or {}).get(name) in values) is wanted


def _present(name: str, *, wanted: bool) -> Callable[[Manifest], bool]:
    return lambda obj: (name in (obj["metadata"].get("labels") or {})) is wanted


def _fields(kind: Kind, text: str) -> list[Callable[[Manifest], bool]]:
    tests: list[Callable[[Manifest], bool]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part)
        if not found:
            raise bad_request(f'invalid selector: "{text}"; can\'t understand "{part}"')
        path, operator, value = found.groups()
        if path not in {"metadata.name", "metadata.namespace"} | kind.fields:
            raise bad_request(
                f'Unable to find "{kind.group}/{kind.version}, Resource={kind.plural}" that match label selector "", '
                f'field selector "{text}": field label not supported: {path}'
            )
        tests.append(_equal(path, value, wanted=operator != "!="))
    return tests


def _equal(path: str, value: str, *, wanted: bool) -> Callable[[Manifest], bool]:
    return lambda obj: (str(at(obj, path)) == value) is wanted
