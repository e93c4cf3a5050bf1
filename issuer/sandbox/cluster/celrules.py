"""The CEL rules of a structural schema (`x-kubernetes-validations`), compiled once.

After apiextensions-apiserver: `pkg/apiserver/schema/cel/validation.go`. Not here: the cost budget, and Kubernetes' own
libraries beyond the standard of CEL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import cel

from issuer.sandbox.cluster.invalid import broken, duplicate, forbidden, invalid, required
from issuer.sandbox.cluster.structural import levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.sandbox.cluster.invalid import Cause
    from issuer.sandbox.cluster.structural import Schema


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule; `transition`: it compares with the value before, so it is for changes only."""

    text: str
    program: cel.Program
    message: str
    telling: cel.Program | None
    field: str
    reason: str
    transition: bool


class Rules:
    """The rules of a schema and of all within it.

    Args:
        schema: the schema.

    Raises:
        ValueError: a rule is no CEL.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema: Final = schema
        self._rules: Final = [_compiled(rule) for rule in schema.get("x-kubernetes-validations", ())]
        self._parts: Final = {
            name: part for name, inner in schema.get("properties", {}).items() if (part := Rules(inner))
        }
        self._items: Final = Rules(schema["items"]) if "items" in schema else None
        extra = schema.get("additionalProperties")
        self._extra: Final = Rules(extra) if isinstance(extra, dict) else None
        self._numbers: Final = any(part.get("type") == "number" for _, part in levels(schema, ""))

    def __bool__(self) -> bool:
        """Whether there is any rule here or below."""
        return bool(self._rules or self._parts or self._items or self._extra)

    def broken(self, value: Any, old: Any = None, path: str = "") -> Iterator[Cause]:
        """The rules that the value does not keep; one that is as it was is not asked about again."""
        if old is not None and (value is old or value == old):
            return
        yield from self.broken_here(value, old, path)
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, inner in value.items():
                part = self._parts.get(name) or self._extra
                if part:
                    yield from part.broken(inner, before.get(name), f"{path}.{name}" if path else name)
        elif isinstance(value, list) and self._items:
            for number, item in enumerate(value):
                yield from self._items.broken(item, self._same(item, old), f"{path}[{number}]")

    def broken_here(self, value: Any, old: Any, path: str) -> Iterator[Cause]:
        """The rules of this level that the value does not keep."""
        if not self._rules:
            return
        known = {"self": _typed(self._schema, value) if self._numbers else value}
        if old is not None:
            known["oldSelf"] = _typed(self._schema, old) if self._numbers else old
        for rule in self._rules:
            if rule.transition and old is None:
                continue
            try:
                kept = rule.program.execute(known)
            except (RuntimeError, TypeError, ValueError) as error:
                told = "type conversion error from 'string' to 'google.protobuf.Duration'"
                problem = told if "'duration'" in str(error) else str(error)
                yield invalid(path or "<nil>", self._schema.get("type"), f"{problem} evaluating rule: {rule.message}")
                continue
            if kept is not True:
                yield self._cause(rule, known, value, path)

    def _same(self, item: Any, old: Any) -> Any:
        """The item of the old list with the same keys, where the list is a map."""
        keys = self._schema.get("x-kubernetes-list-map-keys")
        if not keys or not isinstance(old, list) or not isinstance(item, dict):
            return None
        return next((one for one in old if all(one.get(key) == item.get(key) for key in keys)), None)

    def _cause(self, rule: _Rule, known: dict[str, Any], value: Any, path: str) -> Cause:
        where = f"{path}{rule.field}".lstrip(".") or "<nil>"
        message = rule.message
        if rule.telling is not None:
            told = str(rule.telling.execute(known))
            message = message if "\n" in told or not told.strip() else told
        match rule.reason:
            case "FieldValueRequired":
                return required(where, message)
            case "FieldValueForbidden":
                return forbidden(where, message)
            case "FieldValueDuplicate":
                return replace(duplicate(where, value), detail=message)
        return broken(where, message) if isinstance(value, dict | list) else invalid(where, value, message)


def _compiled(rule: Schema) -> _Rule:
    text = rule["rule"]
    program = cel.compile(text)
    telling = rule.get("messageExpression")
    return _Rule(
        text,
        program,
        rule.get("message") or f"failed rule: {' '.join(text.split())}",
        cel.compile(telling) if telling else None,
        rule.get("fieldPath", ""),
        rule.get("reason", "FieldValueInvalid"),
        transition="oldSelf" in program.variables(),
    )


def _typed(schema: Schema, value: Any) -> Any:
    """The value as CEL is told of it: a number of the schema is a double, even when it has no fraction."""
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        return {name: _typed(parts.get(name, {}), inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_typed(schema.get("items", {}), item) for item in value]
    return float(value) if schema.get("type") == "number" and isinstance(value, int) else value
