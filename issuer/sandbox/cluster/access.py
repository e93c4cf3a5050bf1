"""Who am I, and what may I do: the sandbox asks nobody for a password, so the answer is always the same.

`kubectl auth can-i`, `can-i --list` and `whoami` post one of these objects and read its status; nothing is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from issuer.sandbox.cluster.errors import bad_request

if TYPE_CHECKING:
    from issuer.sandbox.cluster.kinds import Manifest

USER: Final = "sandbox"

_STATUS: Final[dict[str, Manifest]] = {
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": {
        "allowed": True,
        "reason": "everything is allowed in the sandbox",
    },
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews": {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    },
    "/apis/authentication.k8s.io/v1/selfsubjectreviews": {
        "userInfo": {"username": USER, "groups": ["system:masters", "system:authenticated"]},
    },
}


def concerns(path: str) -> bool:
    """Whether a path is that of a review."""
    return path in _STATUS


def answer(path: str, review: Any) -> Manifest:
    """The review with its status.

    Raises:
        StatusError: it is not an object.
    """
    if not isinstance(review, dict):
        raise bad_request("the review is not an object")
    return {**review, "status": _STATUS[path]}
