"""A CDNIssuer and a CDNClusterIssuer as they come from the API server, nonsense in them included."""

from __future__ import annotations

import msgspec
import pytest

from issuer.api.issuer import CLUSTER_ISSUER_KIND, ISSUER_KIND, AuthoritySpec, Issuer
from issuer.api.issuerstatus import IssuerStatus
from issuer.api.spec import InvalidSpecError, parse
from tests.unit.api.spec_documents import two


def issuer(**parts: object) -> Issuer:
    return msgspec.json.decode(msgspec.json.encode({"metadata": {"name": "edge"}, **parts}), type=Issuer)


def test_the_kind_follows_from_the_namespace() -> None:
    assert issuer(metadata={"name": "edge", "namespace": "web"}).kind == ISSUER_KIND
    assert issuer().kind == CLUSTER_ISSUER_KIND


@pytest.mark.parametrize("spec", [None, 3, "x", [], {}, {"authorities": 5}])
def test_nonsense_in_the_specification_is_a_value_until_it_is_parsed(spec: object) -> None:
    read = issuer(spec=spec)
    with pytest.raises(InvalidSpecError):
        parse(read.spec, ["ca"])


def test_no_specification_at_all_is_an_issuer_without_authorities() -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.authorities: 1 to 8 are needed"):
        parse(issuer().spec, ["ca"])


def test_each_authority_keeps_its_configuration_as_it_was_written() -> None:
    first = parse(issuer(spec=two()).spec, ["ca", "cloudflare"]).authorities[0]
    assert isinstance(first, AuthoritySpec)
    assert msgspec.json.decode(first.config) == {"apiTokenSecretRef": {"name": "cloudflare", "key": "token"}}


def test_the_ready_condition_is_found_in_the_status() -> None:
    assert issuer().ready is None
    ready = issuer(status={"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 4}]}).ready
    assert ready is not None
    assert ready.observed_generation == 4


def test_a_state_of_another_version_is_read_as_it_is() -> None:
    read = issuer(status={"active": "edge", "authorities": [{"name": "edge", "state": "Resting", "since": 3}]})
    assert [authority.state for authority in read.status.authorities] == ["Resting"]
    assert read.status.active == "edge"


@pytest.mark.parametrize(
    "status", [None, 3, [], {"conditions": None}, {"authorities": [{}]}, {"active": {"name": "x"}}]
)
def test_a_status_that_cannot_be_read_counts_as_none(status: object) -> None:
    read = issuer(spec=two(), status=status)
    assert read.status == IssuerStatus()
    assert read.ready is None
    assert len(parse(read.spec, ["ca", "cloudflare"]).authorities) == 2
