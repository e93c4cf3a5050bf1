"""Conditions: the list keyed by `type` that tells the state of a Kubernetes object.

`lastTransitionTime` moves only when `status` changes (Kubernetes API conventions, "Typical status properties"), and
conditions of other writers are kept as they are, because one merge patch replaces the whole list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from issuer.api.meta import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

Status = Literal["True", "False", "Unknown"]

TRUE: Status = "True"
FALSE: Status = "False"
UNKNOWN: Status = "Unknown"

READY = "Ready"


class Condition(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """One condition of an object.

    The limits, which are those of meta/v1 Condition, go into the CRDs and are not enforced when one is read: other
    writers have theirs.
    """

    type: Annotated[str, Meta(description="What the condition is about.", extra_json_schema={"maxLength": 316})]
    status: Annotated[
        str,
        Meta(
            description="Whether it is so: True, False or Unknown.", extra_json_schema={"enum": [TRUE, FALSE, UNKNOWN]}
        ),
    ]
    reason: Annotated[str, Meta(description="Why, in one word.", extra_json_schema={"maxLength": 1024})] = ""
    message: Annotated[
        str, Meta(description="Why, and what to do about it.", extra_json_schema={"maxLength": 32768})
    ] = ""
    last_transition_time: Annotated[
        str | None, Meta(description="When the status last changed.", extra_json_schema={"format": "date-time"})
    ] = None
    observed_generation: Annotated[
        int | None,
        Meta(
            description="Generation of the object that this is about.",
            extra_json_schema={"format": "int64", "minimum": 0},
        ),
    ] = None

    @property
    def since(self) -> datetime | None:
        """When the status last changed, if the writer said so."""
        return parse_time(self.last_transition_time)


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Sequence[Condition], type_: str) -> bool:
    """Whether there is a condition of that type and its status is True."""
    condition = find(conditions, type_)
    return condition is not None and condition.status == TRUE


def upsert(conditions: Sequence[Condition], new: Condition, now: datetime) -> tuple[Condition, ...]:
    """The list with `new` in the place of the one of its type, or at the end.

    `lastTransitionTime` is `now` if the status changes, and stays what it was otherwise.
    """
    old = find(conditions, new.type)
    stays = old is not None and old.status == new.status and old.last_transition_time
    stamped = msgspec.structs.replace(
        new, last_transition_time=old.last_transition_time if old and stays else format_time(now)
    )
    if old is None:
        return (*conditions, stamped)
    return tuple(stamped if condition is old else condition for condition in conditions)


def same_meaning(left: Condition | None, right: Condition) -> bool:
    """Whether two conditions say the same, apart from when."""
    return left is not None and (
        left.type,
        left.status,
        left.reason,
        left.message,
        left.observed_generation,
    ) == (
        right.type,
        right.status,
        right.reason,
        right.message,
        right.observed_generation,
    )
