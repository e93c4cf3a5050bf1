"""Whether cert-manager's approver may approve requests for our issuers: the role that `deploy/` binds to it.

The webhook remembers for a while what it was told about rights, so it is started anew whenever they change.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.controlplane.plane import ROOT, documents
from tests.e2e.certmanager import ACCOUNT, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.controlplane.plane import ControlPlane
    from tests.e2e.world import Cluster

BINDING: Final = "cdn-issuer-approver"
KNOWN: Final = 20.0
"""Seconds until the API server acts on a changed binding; it is far less."""


@contextmanager
def no_right_to_approve(cluster: Cluster) -> Iterator[None]:
    """Take the right away for a while."""
    plane = cluster.plane
    plane.ask("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{BINDING}")
    try:
        _wait(plane, allowed=False)
        cluster.webhook.restart()
        yield
    finally:
        plane.apply_all(one for one in documents(ROOT / "deploy" / "rbac.yaml") if one["metadata"]["name"] == BINDING)
        _wait(plane, allowed=True)
        cluster.webhook.restart()


def _wait(plane: ControlPlane, *, allowed: bool) -> None:
    end = time.monotonic() + KNOWN
    while _may_approve(plane) is not allowed:
        assert time.monotonic() < end, f"the right to approve is still {not allowed}"
        time.sleep(0.05)


def _may_approve(plane: ControlPlane) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}",
            "resourceAttributes": {
                "group": "cert-manager.io",
                "resource": "signers",
                "verb": "approve",
                "name": "cdnissuers.cdn-issuer.io/*",
            },
        },
    }
    answer = plane.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])
