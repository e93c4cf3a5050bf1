"""Fields that a kind does not have: refused, told in a warning, or dropped without a word, as the caller asks.

After apiserver: `pkg/endpoints/handlers/create.go` (`fieldValidation`) and apimachinery: `pkg/runtime/error.go`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from issuer.sandbox.cluster.errors import StatusError, UndecodableError
from issuer.sandbox.cluster.invalid import refusal_of_options, unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from issuer.sandbox.cluster.kinds import Kind, Manifest

WISHES: Final = ("", "Ignore", "Strict", "Warn")
_OPTIONS: Final = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions"}


def check_option(method: str, query: Mapping[str, str]) -> None:
    """Refuse a wish that the server does not know.

    Raises:
        StatusError: 422.
    """
    wanted = query.get("fieldValidation", "")
    if method in _OPTIONS and wanted not in WISHES:
        raise refusal_of_options(_OPTIONS[method], [unsupported("fieldValidation", wanted, WISHES)])


def check_fields(kind: Kind, obj: Manifest, query: Mapping[str, str], old: Manifest | None = None) -> list[str]:
    """What to warn of; empty where the caller does not want to hear of it.

    Raises:
        StatusError: 400, there are unknown fields and the caller wants none (`Strict`).
    """
    wanted = query.get("fieldValidation") or "Warn"
    if wanted == "Ignore":
        return []
    unknown = [f'unknown field "{path}"' for path in sorted(kind.shape.unknown_fields(obj, old))]
    if unknown and wanted == "Strict":
        raise UndecodableError(kind, f"strict decoding error: {', '.join(unknown)}")
    return unknown


@contextmanager
def warned(unknown: list[str]) -> Iterator[None]:
    """What is refused in here is warned of all the same."""
    try:
        yield
    except StatusError as error:
        error.unknown = unknown
        raise


def warnings(unknown: Sequence[str]) -> list[tuple[str, str]]:
    """The headers that tell of unknown fields (RFC 7234, section 5.5)."""
    return [("Warning", '299 - "' + one.replace('"', '\\"') + '"') for one in unknown]
