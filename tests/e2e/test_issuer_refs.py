"""Failover between any issuers of a cluster, with cert-manager's own controllers and approver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from issuer.api.duration import Duration
from issuer.sandbox import objects
from tests.controlplane.plane import MERGE
from tests.e2e.delegating import (
    OTHER,
    UNAPPROVED,
    answer,
    ca_issuer,
    cert_manager_issuer,
    child,
    children,
    fail,
    install_other,
    issued_by,
    issuer_of,
    now,
    other_issuer,
    say,
    sign,
    stand_for,
)
from tests.e2e.outage import fits, message_of
from tests.unit.pki.pki_case import key

if TYPE_CHECKING:
    from tests.e2e.collector import Collector
    from tests.e2e.world import Cluster, World

WAIT = 60.0
STRANGER: Any = key("p256", "a stranger's")


@pytest.fixture(autouse=True, scope="module")
def _other(cluster: Cluster) -> None:
    install_other(cluster.plane)
    install_other(cluster.plane, UNAPPROVED, approved=False)


def told(world: World, request: str = "site-1") -> str:
    found = world.get("certificaterequests", request) or {}
    conditions = found.get("status", {}).get("conditions", [])
    return " | ".join(f"{one['type']}={one['status']} {one.get('reason')}: {one.get('message')}" for one in conditions)


async def test_a_ca_issuer_of_cert_manager_signs_for_us(world: World) -> None:
    ca_issuer(world, "first")
    await issuer_of(world, stand_for("first"))
    world.certificate(duration="240h")
    secret = await world.ready()
    assert issued_by(secret) == "first"
    assert fits(secret)
    assert secret["ca.crt"].startswith(b"-----BEGIN CERTIFICATE")
    (made,) = children(world)
    parent = world.get("certificaterequests", "site-1")
    assert parent is not None
    assert made["metadata"]["ownerReferences"][0]["uid"] == parent["metadata"]["uid"]
    assert made["spec"]["request"] == parent["spec"]["request"]
    assert Duration(made["spec"]["duration"]).seconds == 240 * 3600
    assert made["spec"].get("usages") == parent["spec"].get("usages")
    assert "cert-manager.io/certificate-name" not in made["metadata"]["annotations"]
    assert "first signed" in told(world)
    world.certificate("other")
    await world.ready("other")
    assert world.revision("site") == 1, "cert-manager takes the child for nobody's"


async def test_a_self_signed_issuer_signs_too(world: World) -> None:
    cert_manager_issuer(world, "own", {"selfSigned": {}})
    await issuer_of(world, stand_for("own"))
    world.certificate(commonName="site.example.com")
    secret = await world.ready()
    assert fits(secret)
    assert issued_by(secret) == "site.example.com"


async def test_where_the_first_is_missing_or_not_ready_the_second_signs(world: World) -> None:
    ca_issuer(world, "second")
    cert_manager_issuer(world, "broken", {"ca": {"secretName": "absent"}})
    await issuer_of(world, stand_for("absent"), stand_for("broken"), stand_for("second"))

    def states() -> dict[str, tuple[str, str]]:
        found = (world.get("cdnissuers", "web") or {}).get("status", {}).get("authorities", [])
        return {one["name"]: (one["state"], one.get("message", "")) for one in found}

    await world.until(lambda: states().get("broken", ("", ""))[0] == "IssuerNotReady", "the states")
    state, message = states()["absent"]
    assert state == "IssuerNotFound"
    assert message.startswith(
        f"Issuer.cert-manager.io absent does not exist in namespace {world.namespace}; there are "
    )
    assert "second" in message
    assert 'secret "absent" not found' in states()["broken"][1].lower() or "absent" in states()["broken"][1]
    world.certificate()
    assert issued_by(await world.ready()) == "second"
    assert len(children(world)) == 1, "nothing is asked of the others"
    ca_issuer(world, "absent")
    await world.until(lambda: states()["absent"][0] in ("Available", "Unknown"), "it is seen to be there")
    world.certificate("later")
    assert issued_by(await world.ready("later")) == "absent"


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        (
            {"kind": "Isuer"},
            "cert-manager.io has no kind Isuer that is installed; its issuers are ClusterIssuer, Issuer",
        ),
        ({"group": "cert-manger.io"}, "no API group cert-manger.io is installed; there are "),
        ({"kind": "ClusterIssuer"}, "ClusterIssuer.cert-manager.io typo does not exist; there are "),
    ],
)
async def test_what_is_no_issuer_is_named_with_what_there_is(world: World, ref: dict[str, str], says: str) -> None:
    await issuer_of(world, stand_for("typo", **ref), ready="False")
    await world.until(lambda: says in message_of(world.get("cdnissuers", "web") or {}), "the condition says so")


async def test_one_of_our_own_is_refused(world: World) -> None:
    authority = stand_for("web", group="cdn-issuer.io", kind="CDNIssuer")
    manifest = {
        "apiVersion": "cdn-issuer.io/v1alpha1",
        "kind": "CDNIssuer",
        "metadata": {"name": "web", "namespace": world.namespace},
        "spec": {"authorities": [authority]},
    }
    answered = world.plane.call("POST", world.path("cdnissuers"), manifest)
    assert answered.status_code == 422
    assert "an issuer of cdn-issuer.io cannot be an authority of another one" in answered.text


async def test_one_that_hangs_is_given_up_after_its_turn_and_its_child_with_it(world: World) -> None:
    other_issuer(world, "slow")
    ca_issuer(world, "second")
    await issuer_of(world, stand_for("slow", **OTHER), stand_for("second"))
    world.certificate()
    first = await child(world)
    await world.until(lambda: "InProgress" in told(world), "it says that it waits")
    secret = await world.ready(timeout=WAIT)
    assert issued_by(secret) == "second"
    assert first["metadata"]["uid"] not in {one["metadata"]["uid"] for one in children(world)}
    assert "has not ended within 8s" in told(world)


async def test_one_that_takes_its_time_signs_in_its_turn(world: World) -> None:
    other_issuer(world, "slow", ready=True)
    ca_issuer(world, "second")
    await issuer_of(world, stand_for("slow", turn="2m", **OTHER), stand_for("second"))
    world.certificate()
    request = await child(world)
    await world.until(lambda: "InProgress" in told(world), "it waits")
    answer(world, request, sign(request))
    assert issued_by(await world.ready()) == "Other CA"


async def test_what_fails_there_is_signed_by_the_next_one(world: World) -> None:
    other_issuer(world, "first")
    ca_issuer(world, "second")
    await issuer_of(world, stand_for("first", **OTHER), stand_for("second"))
    world.certificate()
    fail(world, await child(world), "the order is in state invalid")
    assert issued_by(await world.ready()) == "second"
    assert "failed: the order is in state invalid" in told(world)


async def test_what_is_invalid_there_is_rejected(world: World) -> None:
    other_issuer(world, "first")
    ca_issuer(world, "second")
    await issuer_of(world, stand_for("first", turn="2m", **OTHER), stand_for("second"))
    world.certificate()
    request = await child(world)
    say(world, request, {"type": "InvalidRequest", "status": "True", "reason": "Bad", "message": "no such names here"})
    ended = await world.request_with("Failed")
    assert "was marked as invalid: no such names here" in message_of(ended)


@pytest.mark.parametrize("fault", ["another key", "other names", "garbage"])
async def test_a_certificate_that_is_not_what_was_asked_for_goes_nowhere(world: World, fault: str) -> None:
    other_issuer(world, "liar")
    ca_issuer(world, "second")
    await issuer_of(world, stand_for("liar", turn="1m", **OTHER), stand_for("second"))
    world.certificate()
    request = await child(world)
    if fault == "another key":
        answer(world, request, sign(request, key=STRANGER.public_key()))
    elif fault == "other names":
        answer(world, request, sign(request, names=["elsewhere.example.com"]))
    else:
        answer(world, request, b"no certificate")
    assert issued_by(await world.ready()) == "second"
    uid = request["metadata"]["uid"]
    await world.until(lambda: uid not in {one["metadata"]["uid"] for one in children(world)}, "it is gone")


async def test_a_child_goes_with_its_request(world: World, collector: Collector) -> None:
    del collector
    other_issuer(world, "slow")
    await issuer_of(world, stand_for("slow", turn="10m", **OTHER))
    world.certificate()
    await child(world)
    world.delete("certificates", "site")
    await world.until(lambda: not world.all("certificaterequests"), "all are gone", WAIT)


async def test_a_restart_finds_the_child_again(world: World) -> None:
    other_issuer(world, "slow")
    await issuer_of(world, stand_for("slow", turn="10m", **OTHER))
    world.certificate()
    request = await child(world)
    controller = world.cluster.controller
    controller.server.kill()
    answer(world, request, sign(request))
    controller.start()
    assert issued_by(await world.ready(timeout=WAIT)) == "Other CA"
    assert [one["metadata"]["uid"] for one in children(world)] == [request["metadata"]["uid"]]


async def test_a_child_that_nobody_approves_is_given_up_and_the_right_is_named(world: World) -> None:
    ca_issuer(world, "second")
    await issuer_of(world, stand_for("first", **UNAPPROVED), stand_for("second"), ready="True")
    manifest = {"apiVersion": "unapproved.example.com/v1", "kind": "OtherIssuer"}
    world.plane.apply({**manifest, "metadata": {"name": "first", "namespace": world.namespace}})
    await world.until(lambda: state(world, "first") in ("Available", "Unknown"), "it is seen to be there")
    world.certificate()
    assert issued_by(await world.ready(timeout=WAIT)) == "second"
    right = (
        "is not approved; its approver needs the right to approve for the signer otherissuers.unapproved.example.com/*"
    )
    assert right in told(world)


def state(world: World, authority: str) -> str:
    found = (world.get("cdnissuers", "web") or {}).get("status", {}).get("authorities", [])
    return next((str(one["state"]) for one in found if one["name"] == authority), "")


async def test_without_the_right_to_make_children_the_issuer_names_it(world: World) -> None:
    binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cdn-issuer-issuer-refs"
    ca_issuer(world, "first")
    ca_issuer(world, "second")
    await issuer_of(world, stand_for("first"))
    kept = world.plane.ask("GET", binding)
    world.plane.ask("DELETE", binding)
    try:
        world.certificate()
        says = f"the controller lacks the right to create certificaterequests.cert-manager.io in {world.namespace}"

        def is_named() -> bool:
            return any(
                says in one.get("message", "")
                for one in (world.get("cdnissuers", "web") or {})["status"]["authorities"]
            )

        await world.until(is_named, "the right is named")
        assert state(world, "first") == "Unauthorized"
    finally:
        del kept["metadata"]["resourceVersion"], kept["metadata"]["uid"]
        world.plane.apply(kept)


async def test_what_a_policy_forbids_in_a_namespace_is_forbidden_there_for_us_as_well(world: World) -> None:
    """A CDNClusterIssuer is no way around: the child is made where the request is, and admitted like any other."""
    ca_issuer(world, "first")
    ca_issuer(world, "second")
    group, name = "admissionregistration.k8s.io", f"no-first-{world.namespace}"
    rule = {
        "apiGroups": ["cert-manager.io"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["certificaterequests"],
    }
    here = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    policy = {
        "apiVersion": f"{group}/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "object.spec.issuerRef.name != 'first'", "message": "first is not for you"}],
        },
    }
    spec = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}}
    binding = {**policy, "kind": "ValidatingAdmissionPolicyBinding", "spec": spec}
    shared = f"shared-{world.namespace}"
    path = "/apis/cdn-issuer.io/v1alpha1/cdnclusterissuers"
    world.plane.apply_all([policy, binding])
    try:
        probe = child_like(world, "first")
        await world.until(
            lambda: world.plane.call("POST", world.path("certificaterequests"), probe).status_code == 422,
            "it is enforced",
        )
        world.plane.apply(objects.issuer(shared, [stand_for("first"), stand_for("second")]))
        world.certificate(issuer=shared, kind="CDNClusterIssuer")
        assert issued_by(await world.ready(timeout=WAIT)) == "second"
        assert "first is not for you" in told(world)
        other = world.add_namespace()
        ca_issuer(world, "first", namespace=other)
        world.certificate(issuer=shared, kind="CDNClusterIssuer", namespace=other)
        await world.until(lambda: bool(world.secret("site-tls", namespace=other)), "another namespace may", WAIT)
        assert issued_by(world.secret("site-tls", namespace=other)) == "first"
    finally:
        world.plane.call("DELETE", f"{path}/{shared}")
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            world.plane.call("DELETE", f"/apis/{group}/v1/{kind}/{name}")


def child_like(world: World, issuer: str) -> dict[str, Any]:
    """A request that the policy must refuse, with nothing else wrong."""
    csr = objects.signing_request(["site.example.com"])
    request = objects.certificate_request("probe", csr, namespace=world.namespace, issuer=issuer)
    request["spec"]["issuerRef"] = {"name": issuer, "kind": "Issuer", "group": "cert-manager.io"}
    request.pop("status", None)
    return dict(request)


async def test_one_that_takes_a_while_is_rehearsed_like_any_other(world: World) -> None:
    ca_issuer(world, "first")
    await issuer_of(world, stand_for("first"), rehearsal={"dnsNames": ["rehearsal.example.com"]})
    body = {"metadata": {"annotations": {"cdn-issuer.io/rehearse-at": now()}}}
    world.plane.ask("PATCH", world.path("cdnissuers", "web"), body, content_type=MERGE)

    def last() -> dict[str, Any]:
        found = (world.get("cdnissuers", "web") or {}).get("status", {}).get("authorities", [])
        return next((one.get("lastRehearsal", {}) for one in found), {})

    await world.until(lambda: last().get("result") == "Succeeded", "it was rehearsed", WAIT)


async def test_many_at_once_are_signed_though_the_first_is_dead(world: World) -> None:
    other_issuer(world, "dead")
    ca_issuer(world, "second")
    many = {"requestsPerSecond": 200, "burst": 200, "inFlight": 100}
    first = {**stand_for("dead", turn="3s", **OTHER), "limits": many}
    await issuer_of(world, first, {**stand_for("second", turn="1m"), "limits": many})
    names = [f"many-{number}" for number in range(100)]
    for name in names:
        csr = objects.signing_request([f"{name}.example.com"])
        world.plane.apply(objects.certificate_request(name, csr, namespace=world.namespace, issuer="web"))

    def signed() -> int:
        return sum(world.condition("certificaterequests", name, "Ready")[0] == "True" for name in names)

    await world.until(lambda: signed() == len(names), "all are signed", 120.0)


async def test_where_a_namespace_has_no_such_issuer_the_request_ends_by_its_deadline(world: World) -> None:
    shared = f"absent-{world.namespace}"
    world.plane.apply(objects.issuer(shared, [stand_for("absent")], deadline="6s"))
    try:
        csr = objects.signing_request(["site.example.com"])
        request = objects.certificate_request(
            "one", csr, namespace=world.namespace, issuer=shared, kind="CDNClusterIssuer"
        )
        world.plane.apply(request)
        ended = await world.request_with("Failed", "one")
        assert f"Issuer.cert-manager.io absent does not exist in namespace {world.namespace}" in message_of(ended)
        why = next(one for one in ended["status"]["conditions"] if one["type"] == "cdn-issuer.io/Authority")
        assert why["reason"] == "Unavailable", "an outage, so that recovery has it issued again"
    finally:
        world.plane.call("DELETE", f"/apis/cdn-issuer.io/v1alpha1/cdnclusterissuers/{shared}")


async def test_what_an_approver_denies_there_is_rejected(world: World) -> None:
    manifest = {"apiVersion": "unapproved.example.com/v1", "kind": "OtherIssuer"}
    world.plane.apply({**manifest, "metadata": {"name": "first", "namespace": world.namespace}})
    ca_issuer(world, "second")
    await issuer_of(world, stand_for("first", turn="1m", **UNAPPROVED), stand_for("second"))
    world.certificate()
    await world.until(lambda: bool(children(world)), "a child")
    world.deny(children(world)[0]["metadata"]["name"])
    ended = await world.request_with("Failed")
    assert "was denied: not on a Friday" in message_of(ended)
