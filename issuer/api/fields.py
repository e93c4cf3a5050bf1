"""What `msgspec.Meta` cannot say of a field: spans of time, an order of two of them, a value that is refused.

It goes along in `Meta.extra`. `issuer.api.schema` makes rules of the CRD of it, and `issuer.api.spec` checks the same,
so that an object from an older CRD is told what a newer one would have refused.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from msgspec import Meta, Struct, inspect


def bounds(minimum: str, maximum: str, description: str, *, not_above: str = "", yields: bool = False) -> Meta:
    """The description and the bounds of a duration field.

    `issuer.api.schema` turns the bounds into CEL rules, `issuer.api.spec` checks them.

    A default that nobody wrote never contradicts what somebody wrote: it gives way. The API server fills in the
    defaults of a schema before it asks the rules, which then cannot tell one from the other. So the default of a field
    that is compared with another is not in the schema: `issuer.api.spec` fills it in, and the description tells it.

    Args:
        minimum: the shortest span that makes sense.
        maximum: the longest.
        description: for `kubectl explain`; with the default where that is not in the schema.
        not_above: the field next to it, by its name in YAML, that must be as long or longer where both are written.
        yields: the default gives way to what is written in other fields, and is not in the schema.
    """
    extra = {"minimum": minimum, "maximum": maximum, "not_above": not_above, "yields": yields}
    return Meta(description=description, extra=extra)


def refused(value: str, message: str) -> dict[str, Any]:
    """For `Meta.extra` of a text: a value that it must not have, and what is said of it; a rule of the CRD too."""
    return {"refused": value, "message": message}


@cache
def ordered_durations(type_: type[Struct]) -> tuple[tuple[inspect.Field, inspect.Field], ...]:
    """Pairs of fields of which the first must not be longer than the second (`not_above` of `bounds`)."""
    described = inspect.type_info(type_)
    assert isinstance(described, inspect.StructType)
    by_name = {one.encode_name: one for one in described.fields}
    return tuple(
        (one, by_name[above])
        for one in described.fields
        if isinstance(one.type, inspect.Metadata) and (above := (one.type.extra or {}).get("not_above"))
    )
