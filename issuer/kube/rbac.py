"""What a part of the program may do in Kubernetes, as data: a rule of a Role (rbac/v1 PolicyRule)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on resources.

    Attributes:
        groups: API groups; the empty string is the core group.
        resources: plurals, with `/status` for the subresource.
        verbs: what is done with them.
        names: of the objects, where not all are meant.
    """

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def manifest(self) -> dict[str, Any]:
        """As it stands in a Role."""
        rule = {"apiGroups": self.groups, "resources": self.resources, "resourceNames": self.names, "verbs": self.verbs}
        return {field: list(values) for field, values in rule.items() if values}


def once(rules: Iterable[Rule]) -> list[Rule]:
    """Each rule once, in the order in which they come."""
    return list(dict.fromkeys(rules))
