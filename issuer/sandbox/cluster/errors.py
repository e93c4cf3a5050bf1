"""Errors as a Kubernetes API server tells them: a Status object, with its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from issuer.sandbox.cluster.kinds import Kind


class StatusError(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, reason: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        """The Status object (meta/v1)."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


def title(kind: Kind) -> str:
    """How messages name a resource: `leases.coordination.k8s.io`, `secrets`."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def not_found(kind: Kind, name: str) -> StatusError:
    """There is no such object."""
    return StatusError(404, "NotFound", f'{title(kind)} "{name}" not found')


def no_such_resource() -> StatusError:
    """There is no such resource."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(kind: Kind, name: str) -> StatusError:
    """There is one of that name."""
    return StatusError(409, "AlreadyExists", f'{title(kind)} "{name}" already exists')


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    """The object has changed since it was read."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return StatusError(409, "Conflict", f'Operation cannot be fulfilled on {title(kind)} "{name}": {why}')


def expired(message: str) -> StatusError:
    """A resourceVersion or continue token is too old."""
    return StatusError(410, "Expired", message)


def bad_request(message: str) -> StatusError:
    """The call makes no sense."""
    return StatusError(400, "BadRequest", message)


def invalid(kind: Kind, name: str, problem: str) -> StatusError:
    """The object makes no sense."""
    return StatusError(422, "Invalid", f'{kind.kind}.{kind.group or "core"} "{name}" is invalid: {problem}')
