"""What the API server does with an object that a CRD describes, asked of the sandbox, one step at a time.

Compared once with the code of Kubernetes 1.37 itself, on all of `spec_documents`: it takes and refuses the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from issuer.sandbox.cluster import structural
from issuer.sandbox.cluster.celrules import Rules
from issuer.sandbox.cluster.schemas import Shape
from issuer.sandbox.cluster.structural import levels

if TYPE_CHECKING:
    from issuer.api.schema import Schema

__all__ = ["broken_rules", "defaulted", "levels", "refusals", "rules"]


def refusals(schema: Schema, value: Any) -> list[str]:
    """Why a strict API server refuses the value; empty: it takes it. Rules are asked about what has no other fault."""
    whole = {"type": "object", "properties": {"value": schema}}
    given = {"value": value}
    shape = Shape(whole)
    fitted = shape.fitted(given)
    found = [*shape.unknown_fields(given), *map(str, shape.mismatches(fitted))]
    found += [] if found else [str(cause) for cause in structural.repeated(whole, fitted)]
    return found or broken_rules(schema, fitted["value"])


def defaulted(schema: Schema, value: Any) -> Any:
    """The value with the defaults of the schema."""
    return structural.fitted(schema, value)


def broken_rules(schema: Schema, value: Any) -> list[str]:
    """Messages of the CEL rules that the value does not keep."""
    return [cause.detail for cause in Rules(schema).broken(value)]


def rules(schema: Schema) -> list[Schema]:
    """The CEL rules of this level."""
    found: list[Schema] = schema.get("x-kubernetes-validations", [])
    return found
