"""CertificateSigningRequests of Kubernetes on a real API server: it says what a signer may write, and who may.

Nobody approves them but the test; cert-manager has no part in it.
"""

from __future__ import annotations

import contextlib
from base64 import b64decode
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from cryptography import x509

from issuer.controllers.certificatesigningrequests import RULES
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.rig import POST
from tests.controlplane.fixtures import install, started
from tests.controlplane.proxy import Proxy
from tests.e2e.bare import bare, create, speak
from tests.e2e.controller import Controller
from tests.e2e.delegating import (
    OTHER,
    answer,
    children,
    install_other,
    issuer_of,
    other_issuer,
    sign,
    stand_for,
)
from tests.e2e.inspecting import told
from tests.e2e.outage import add_issuer
from tests.e2e.signing import (
    AUTHORITY,
    LEASE,
    PATH,
    READY,
    TIDIED,
    Signing,
    ca_csr,
    grant,
    roomy_ca,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.world import Cluster


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster in which all is installed and nothing runs."""
    with started(request) as plane:
        install(plane)
        yield bare(plane)


@pytest_asyncio.fixture
async def world(cluster: Cluster) -> AsyncIterator[Signing]:
    """A test's part, with a controller at work."""
    grant(cluster.plane)
    cluster.plane.call("DELETE", LEASE)
    world = Signing(cluster)
    await world.start()
    world.link = Proxy(cluster.plane.url, cluster.plane.ssl_context(), lambda _path, _number: None)
    world.controller = world.replica("first", url=await world.link.start())
    world.controller.server.start()
    await world.until(world.controller.is_ready, "the controller is ready", 60)
    try:
        yield world
    finally:
        world.controller.server.kill()
        await world.link.stop()
        for item in cluster.plane.ask("GET", PATH)["items"]:
            cluster.plane.call("DELETE", f"{PATH}/{item['metadata']['name']}")
        await world.stop()


async def test_one_is_signed_for_as_long_as_it_says_and_tells_by_whom(world: Signing) -> None:
    await world.issuer()
    name = world.ask("one")
    leaf = await world.issued(name)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=7, hours=1)
    (record,) = world.cdn.certificates.values()
    assert leaf.serial_number == record.serial
    assert world.told(name, READY)[:2] == ("True", "Issued")
    assert world.told(name, AUTHORITY) == ("True", "Signed", "edge signed")
    assert world.told(name, "Approved")[2] == "by the test"
    chain = b64decode(world.status(name)["certificate"]).decode()
    assert chain.startswith("-----BEGIN CERTIFICATE-----\n")
    assert chain.endswith("-----END CERTIFICATE-----\n")
    await world.until(lambda: world.events_of(name) == ["CertificateIssued"], "an event")
    counted = world.controller.metric("cdn_issuer_requests_total", outcome="issued", issuer_namespace=world.namespace)
    assert counted == 1
    (line,) = world.controller.log(event="request issued")
    assert (line["kind"], line["name"]) == ("CertificateSigningRequest", name)
    assert line["issuer_namespace"] == world.namespace


async def test_a_cluster_issuer_signs_by_its_name_alone(world: Signing) -> None:
    shared = await world.cluster_issuer()
    await world.issued(world.ask("one", f"cdnclusterissuers/{shared}"))


async def test_nothing_is_signed_before_somebody_approves_and_what_is_denied_is_left_alone(world: Signing) -> None:
    await world.issuer()
    waits, denied = world.ask("waits", approve=False), world.ask("denied", approve=False)
    world.judge(denied, "Denied", "not on a Friday")
    await world.issued(world.ask("other"))
    assert world.told(waits, READY) == ("", "", "")
    assert [one["type"] for one in world.status(denied)["conditions"]] == ["Denied"]
    world.judge(waits)
    await world.issued(waits)
    assert world.cdn.calls[POST] == 2


async def test_while_the_first_authority_is_down_the_second_signs(world: Signing) -> None:
    await add_issuer(world, backup=True)
    world.cdn.faults.set("status", status=503, methods=["POST"])
    name = world.ask("one")
    await world.issued(name)
    status, reason, message = world.told(name, AUTHORITY)
    assert (status, reason) == ("True", "FailedOver")
    assert message.startswith("backup signed; before it, edge")


async def test_one_that_waits_says_why_and_fails_at_the_deadline(world: Signing) -> None:
    await add_issuer(world, deadline="4s")
    world.cdn.faults.set("status", status=503, methods=["POST"])
    name = world.ask("one")
    await world.until(lambda: world.told(name, READY)[:2] == ("False", "Pending"), "Pending")
    assert world.told(name, AUTHORITY)[:2] == ("False", "Unavailable")
    reason, message = await world.failed(name)
    assert reason == "DeadlineExceeded"
    assert message.startswith("not signed within the deadline of 4s after approval: ")
    assert world.told(name, READY) == ("False", "Failed", message)
    await world.until(lambda: "DeadlineExceeded" in world.events_of(name), "an event")


@pytest.mark.parametrize("signer", ["cdnissuers/{namespace}.absent", "cdnissuers/absent", "cdnclusterissuers/absent"])
async def test_an_issuer_that_does_not_exist_is_waited_for_by_the_name_that_was_asked_for(
    world: Signing, signer: str
) -> None:
    name = world.ask("one", signer.format(namespace=world.namespace))
    await world.until(lambda: world.told(name, READY)[:2] == ("False", "Pending"), "Pending")
    message = world.told(name, READY)[2]
    assert "absent does not exist" in message
    assert "make another CertificateSigningRequest with the right spec.signerName, cdn" in message
    if signer.startswith("cdnissuers/{"):
        await world.issuer("absent")
        await world.issued(name)


async def test_what_others_sign_is_left_alone(world: Signing) -> None:
    await world.issuer()
    manifest = objects.certificate_signing_request("x", objects.signing_request(["a.example.com"]), signer="x/y")
    manifest["metadata"]["name"] = foreign = f"foreign.{world.namespace}"
    manifest["spec"]["signerName"] = "example.org/web"
    world.plane.ask("POST", PATH, manifest)
    world.judge(foreign)
    await world.issued(world.ask("one"))
    assert [one["type"] for one in world.status(foreign)["conditions"]] == ["Approved"]


async def test_the_api_server_takes_no_garbage(world: Signing) -> None:
    signer = f"cdnissuers/{world.namespace}.web"
    garbage = objects.certificate_signing_request("garbage", b"no CSR at all", signer=signer)
    assert world.plane.call("POST", PATH, garbage).status_code == httpx.codes.UNPROCESSABLE_ENTITY


async def test_annotations_of_cert_manager_ask_for_a_ca_and_for_a_duration(world: Signing) -> None:
    world.plane.apply(roomy_ca("inner-ca", world.namespace))
    authority = {"name": "inner", "ca": {"secretRef": {"name": "inner-ca"}, "allowCA": True}}
    world.plane.apply(objects.issuer("web", [authority], namespace=world.namespace))
    await world.until(lambda: world.condition("cdnissuers", "web", "Ready")[0] == "True", "web Ready")
    name = world.ask("long", annotations={"experimental.cert-manager.io/request-duration": "48h"})
    leaf = await world.issued(name)
    assert timedelta(hours=47) < leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(hours=49)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    nonsense = world.ask("nonsense", annotations={"experimental.cert-manager.io/request-duration": "two days"})
    reason, message = await world.failed(nonsense)
    assert reason == "InvalidRequest"
    assert message.startswith("annotation experimental.cert-manager.io/request-duration: ")
    annotation = {"experimental.cert-manager.io/request-is-ca": "true"}
    leaf = await world.issued(world.ask("ca", csr=ca_csr(), usages=["cert sign"], annotations=annotation))
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_a_wrong_certificate_is_never_issued(world: Signing) -> None:
    await add_issuer(world, deadline="4s")
    world.cdn.faults.set("foreign", methods=["POST"])
    reason, _ = await world.failed(world.ask("one"))
    assert reason
    assert world.cdn.calls[POST] >= 1


async def test_what_was_signed_and_not_written_goes_to_its_request_after_a_restart(world: Signing) -> None:
    await world.issuer()
    world.link.faults.add(Fault(kind="error", status=503, method="PATCH", path_contains="certificatesigningrequests"))
    name = world.ask("one")
    await world.until(lambda: bool(world.controller.log(event="status not written")), "a write that fails")
    assert len(world.cdn.certificates) == 1
    world.controller.server.kill()
    assert "certificate" not in world.status(name)
    world.controller = world.replica("second")
    world.controller.start()
    leaf = await world.issued(name)
    (record,) = world.cdn.certificates.values()
    assert (leaf.serial_number, record.revoked) == (record.serial, False)
    assert world.cdn.calls[POST] == 1


async def test_a_write_whose_answer_is_lost_is_known_for_our_own(world: Signing) -> None:
    await world.issuer()
    path = "certificatesigningrequests"
    world.link.faults.add(Fault(kind="cut", method="PATCH", path_contains=path, after=True, count=1))
    leaf = await world.issued(world.ask("one"))
    await world.until(lambda: bool(world.controller.log(event="request issued")), "told")
    (record,) = world.cdn.certificates.values()
    assert (leaf.serial_number, record.revoked) == (record.serial, False)
    assert world.controller.log(event="result dropped") == []


async def test_both_kinds_share_an_issuer(world: Signing) -> None:
    await world.issuer()
    names = []
    for number in range(5):
        names.append(world.ask(f"k{number}"))
        csr = objects.signing_request([f"c{number}.example.com"])
        create(world, objects.certificate_request(f"c{number}", csr, namespace=world.namespace, issuer="web"))
        speak(world, f"c{number}")
    serials = {(await world.issued(name)).serial_number for name in names}
    for number in range(5):
        await world.request_with("Issued", f"c{number}")
    assert len(serials) == 5
    assert world.cdn.calls[POST] == len(world.cdn.certificates) == 10
    assert world.controller.metric("cdn_issuer_requests_total", issuer_namespace=world.namespace) == 10


async def test_another_issuer_of_the_cluster_signs_one_by_a_child_in_the_namespace_of_the_issuer(
    world: Signing,
) -> None:
    install_other(world.plane)
    other_issuer(world, "far")
    await issuer_of(world, stand_for("far", **OTHER))
    annotations = {"experimental.cert-manager.io/private-key-secret-name": "cloudflare"}
    name = world.ask("one", annotations=annotations)
    await world.until(lambda: len(children(world)) == 1, "a child")
    (made,) = children(world)
    owner = made["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("CertificateSigningRequest", name)
    assert not [key for key in made["metadata"]["annotations"] if "secret" in key]
    speak(world, made["metadata"]["name"])
    answer(world, made, sign(made))
    await world.issued(name)
    assert world.told(name, AUTHORITY)[2] == "far signed"


async def test_a_certificate_that_the_api_server_cannot_read_is_the_end_of_its_request(world: Signing) -> None:
    install_other(world.plane)
    other_issuer(world, "far")
    await issuer_of(world, stand_for("far", **OTHER))
    name = world.ask("one")
    await world.until(lambda: len(children(world)) == 1, "a child")
    (made,) = children(world)
    speak(world, made["metadata"]["name"])
    answer(world, made, unreadable(sign(made)))
    reason, message = await world.failed(name)
    assert reason == "CertificateRefused"
    assert message.startswith("the API server does not take the certificate of authority far: ")
    assert "subject key identifier" in message
    finding = await told(world, "CertificateRefused", "csr", name)
    assert finding["sentence"].startswith(message)


async def test_a_child_that_nobody_answers_goes_once_its_signing_request_has_ended(world: Signing) -> None:
    install_other(world.plane)
    other_issuer(world, "far")
    world.plane.apply(objects.ca_secret("backup-ca", world.namespace))
    backup = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}
    await issuer_of(world, stand_for("far", turn="2s", **OTHER), backup)
    name = world.ask("one")
    await world.until(lambda: len(children(world)) == 1, "a child")
    await world.issued(name)
    assert world.told(name, AUTHORITY)[2].startswith("backup signed; before it, far")
    await world.until(lambda: children(world) == [], "no child", TIDIED)


@pytest.mark.parametrize(("number", "named"), [(1, "certificatesigningrequests/status"), (2, "sign")])
async def test_a_right_that_is_missing_is_named_in_the_log(world: Signing, number: int, named: str) -> None:
    grant(world.plane, [rule for place, rule in enumerate(RULES) if place != number])
    await world.issuer()
    name = world.ask("one")

    def refused() -> bool:
        return any(named in line["error"] for line in world.controller.log(event="status not written"))

    await world.until(refused, f"{named} in the log")
    grant(world.plane)
    await world.issued(name)
    assert world.cdn.calls[POST] == 1


async def test_who_may_not_list_them_is_not_ready_and_says_which_right_is_missing(world: Signing) -> None:
    world.controller.server.kill()
    world.plane.call("DELETE", LEASE)
    grant(world.plane, RULES[1:])
    world.controller = world.replica("blind")
    world.controller.server.start()
    named = 'cannot list resource \\"certificatesigningrequests\\"'
    await world.until(lambda: named in world.controller.server.log.read_text(), f"{named} in the log")
    await world.until(lambda: "certificatesigningrequests" in world.controller.unready(), "it says what it waits for")
    grant(world.plane)
    await world.until(world.controller.is_ready, "ready", 60)


async def test_without_the_flag_nobody_looks_at_them(world: Signing) -> None:
    await world.issuer()
    world.controller.server.kill()
    with contextlib.suppress(httpx.HTTPError):
        world.plane.call("DELETE", LEASE)
    world.controller = Controller(world.plane, f"off-{world.namespace}")
    world.controller.start()
    name = world.ask("one")
    csr = objects.signing_request(["two.example.com"])
    create(world, objects.certificate_request("two", csr, namespace=world.namespace, issuer="web"))
    speak(world, "two")
    await world.request_with("Issued", "two")
    assert [one["type"] for one in world.status(name)["conditions"]] == ["Approved"]
