"""Reviews of access, and what the sandbox says its version is."""

from __future__ import annotations

import pytest

from issuer.sandbox.cluster import discovery
from tests.unit.sandbox.cluster_case import api, call

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def test_a_review_comes_back_with_its_spec_and_a_yes() -> None:
    async with api() as (_, session):
        review = {"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "get"}}}
        code, answered = await call(session, "POST", REVIEWS, review)
        assert (code, answered["spec"], answered["status"]["allowed"]) == (201, review["spec"], True)
        assert (await call(session, "POST", REVIEWS, []))[0] == 400
        assert (await call(session, "GET", REVIEWS))[0] == 404


@pytest.mark.parametrize(
    ("agent", "minor"),
    [
        ("kubectl/v1.32.5 (linux/amd64) kubernetes/1", "32"),
        ("kubectl.1.33/v1.33.1 (linux/amd64)", "33"),
        ("curl/8", discovery.MINOR),
        ("", discovery.MINOR),
    ],
)
def test_the_version_is_the_one_of_the_kubectl_that_asks(agent: str, minor: str) -> None:
    assert discovery.version(agent)["gitVersion"] == f"v1.{minor}.0-sandbox"
