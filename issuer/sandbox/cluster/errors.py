"""Errors as a Kubernetes API server tells them: a Status object, with its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from issuer.sandbox.cluster.kinds import Kind


class StatusError(Exception):
    """An answer that is not a success.

    Attributes:
        unknown: what to warn of beside it: the fields that the object had and its kind has not.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        headers: dict[str, str] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.details = details
        self.unknown: list[str] = []
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
            **({"reason": self.reason} if self.reason else {}),
            **({} if self.details is None else {"details": self.details}),
            "code": self.code,
        }


class PageNotFoundError(StatusError):
    """No handler knows the path: the answer is plain text, not a Status.

    So it is for each resource of a group that comes from CRDs (apiextensions: `pkg/apiserver/customresource_handler.go`
    hands on what it does not know, apiserver: `pkg/server/handler.go`).
    """

    def __init__(self) -> None:
        super().__init__(404, "NotFound", "404 page not found")


class ExpiredPageError(StatusError):
    """A continue token is from before a compaction; the Status brings another one, for a list that is not one picture.

    After apiserver: `pkg/storage/etcd3/errors.go`.
    """

    def __init__(self, token: str) -> None:
        super().__init__(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list - objects that were "
            "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
            "list.",
        )
        self.token = token

    @property
    def body(self) -> dict[str, Any]:
        """The Status object, with the token where a list has it."""
        return {**super().body, "metadata": {"continue": self.token}}


def title(kind: Kind) -> str:
    """How messages name a resource: `leases.coordination.k8s.io`, `secrets`."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def details(kind: Kind, name: str) -> dict[str, Any]:
    """Which object a Status is about: machines tell a missing object from a missing resource by it."""
    found = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in found.items() if value}


def not_found(kind: Kind, name: str) -> StatusError:
    """There is no such object."""
    return StatusError(404, "NotFound", f'{title(kind)} "{name}" not found', details=details(kind, name))


def no_such_resource() -> StatusError:
    """There is no such resource in a group that is built in."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", details={})


def already_exists(kind: Kind, name: str) -> StatusError:
    """There is one of that name."""
    return StatusError(409, "AlreadyExists", f'{title(kind)} "{name}" already exists', details=details(kind, name))


def being_removed(kind: Kind, name: str) -> StatusError:
    """Nothing new comes into a resource whose CRD is being deleted."""
    why = "create not allowed while custom resource definition is terminating"
    return StatusError(403, "Forbidden", f'{title(kind)} "{name}" is forbidden: {why}', details=details(kind, name))


def too_large(message: str) -> StatusError:
    """The body is longer than the server reads."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def not_stored() -> StatusError:
    """The object is longer than etcd takes."""
    return StatusError(500, "", "etcdserver: request is too large")


class UndecodableError(StatusError):
    """The body is not what the Go type of the kind reads.

    Attributes:
        problem: the message without what it was that does not decode.
    """

    def __init__(self, kind: Kind, problem: str) -> None:
        what = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'
        super().__init__(400, "BadRequest", f"{what}: {problem}")
        self.problem = problem


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    """The object has changed since it was read."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {title(kind)} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=details(kind, name))


def precondition_failed(kind: Kind, name: str, what: str, wanted: Any, found: Any) -> StatusError:
    """The object is not the one that is to be deleted (apiserver: `pkg/registry/rest/delete.go`).

    Args:
        kind: of the object; here the server names the kind and not the resource.
        name: of the object.
        what: `uid` or `resourceVersion`.
        wanted: what the call demands.
        found: what the object has.
    """
    words, why = {
        "uid": ("UID", "The object might have been deleted and then recreated"),
        "resourceVersion": ("ResourceVersion", "The object might have been modified"),
    }[what]
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    message = f"the {words} in the precondition ({wanted}) does not match the {words} in record ({found}). {why}"
    about = {**details(kind, name), "kind": kind.kind}
    return StatusError(
        409, "Conflict", f'Operation cannot be fulfilled on {qualified} "{name}": {message}', details=about
    )


def deleted(kind: Kind, metadata: dict[str, Any]) -> dict[str, Any]:
    """The success of a deletion, which names what is gone (apiserver: `pkg/registry/generic/registry/store.go`)."""
    about = {**details(kind, metadata["name"]), "uid": metadata["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about}


def expired(message: str) -> StatusError:
    """A resourceVersion or continue token is too old."""
    return StatusError(410, "Expired", message)


def bad_request(message: str) -> StatusError:
    """The call makes no sense."""
    return StatusError(400, "BadRequest", message)
