"""How a snapshot is read: in pages, with few rights, and without taking a wrong clock for a dead controller."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from issuer.api import certmanager
from issuer.api.meta import ObjectKey
from issuer.inspection import collection, reader
from issuer.inspection.diagnosis import diagnose
from issuer.inspection.reader import Reader, Target, narrowed
from issuer.kube.errors import ForbiddenError, InvalidError, NotFoundError, UnauthorizedError, error_from
from issuer.sandbox import objects
from tests.unit.inspection.inspection_case import APPROVED, EDGE, LEASE, NOW, ago, codes, condition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from issuer.inspection.snapshot import Snapshot
    from issuer.kube.client import KubeClient
    from issuer.kube.resource import Resource

Item = dict[str, Any]


class Api:
    """An API server that has some objects and refuses some calls."""

    def __init__(self, **objects: list[Item]) -> None:
        self.objects = objects
        self.refused: dict[tuple[str, str], Exception] = {}
        self.reads: list[tuple[str, str, str, str]] = []
        self.queries: list[Mapping[str, str]] = []
        self.size = 500
        self.schemas: dict[str, Any] = {}

    async def list(self, resource: Resource, namespace: str, *, query: Mapping[str, str]) -> bytes:
        self._note("list", resource, namespace, "")
        self.queries.append(dict(query))
        if query.get("fieldSelector") and (refusal := self.refused.get(("select", resource.plural))):
            raise refusal
        items = [one for one in self.objects.get(resource.plural, []) if namespace in ("", space(one))]
        begin = int(query.get("continue", "0"))
        end = begin + self.size
        rest = {"continue": str(end)} if end < len(items) else {}
        return json.dumps({"metadata": rest, "items": items[begin:end]}).encode()

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        self._note("get", resource, namespace, name)
        for one in self.objects.get(resource.plural, []):
            if (space(one), one["metadata"]["name"]) == (namespace, name):
                return json.dumps(one).encode()
        raise NotFoundError(404, "NotFound", f"{name} not found", name=name)

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        self._note("create", resource, namespace, "")
        return json.dumps({"status": {"allowed": False}}).encode()

    async def read(self, path: str) -> bytes:
        return json.dumps(self.schemas.get(path, {})).encode()

    def _note(self, verb: str, resource: Resource, namespace: str, name: str) -> None:
        self.reads.append((verb, resource.plural, namespace, name))
        if refusal := self.refused.get((verb, resource.plural)):
            raise refusal


def space(item: Item) -> str:
    return str(item["metadata"].get("namespace", ""))


def issuer(name: str = "web", *authorities: Item, controller: str = str(LEASE)) -> Item:
    return {
        **objects.issuer(name, authorities or [EDGE], namespace="shop"),
        "status": {"controller": controller, "conditions": [condition("Ready", "True", "AuthoritiesAvailable")]},
    }


def request(name: str, *conditions: Item, owner: str = "www") -> Item:
    metadata = {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": ago(minutes=9)}
    metadata["annotations"] = {"cert-manager.io/certificate-name": owner}  # type: ignore[assignment]
    ref = {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}
    return {"metadata": metadata, "spec": {"issuerRef": ref}, "status": {"conditions": conditions}}


def lease(renewed: str) -> Item:
    spec = {"holderIdentity": "pod-1", "leaseDurationSeconds": 15, "renewTime": renewed}
    return {"metadata": {"name": LEASE.name, "namespace": LEASE.namespace}, "spec": spec}


async def read(api: Api, target: Target) -> Snapshot:
    return narrowed(await Reader(cast("KubeClient", api), lambda: NOW).read(target), target)


async def test_lists_are_read_in_pages_and_to_an_end() -> None:
    api = Api(certificaterequests=[request(f"r{number}") for number in range(7)])
    api.size = 3
    assert len((await read(api, Target("overview", "shop"))).requests) == 7
    assert [query.get("continue") for query in api.queries if "fieldSelector" in query] == [None, "3", "6"]


async def test_a_list_without_end_is_cut_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "MOST", 5)
    api = Api(certificaterequests=[request(f"r{number}") for number in range(9)])
    api.size = 3
    snapshot = await read(api, Target("overview", "shop"))
    assert (len(snapshot.requests), [one.code for one in snapshot.obstacles]) == (6, ["NotAll"])


async def test_an_older_crd_that_cannot_select_is_asked_for_all() -> None:
    api = Api(certificaterequests=[request("one")])
    api.refused["select", "certificaterequests"] = InvalidError(400, "BadRequest", "field label not supported")
    assert len((await read(api, Target("all", "shop"))).requests) == 1


async def test_what_may_not_be_read_is_named_and_the_rest_is_read() -> None:
    api = Api(cdnissuers=[issuer()], certificaterequests=[request("www-1")])
    for verb, plural in (
        ("get", "secrets"),
        ("get", "leases"),
        ("list", "certificates"),
        ("create", "subjectaccessreviews"),
    ):
        api.refused[verb, plural] = ForbiddenError(403, "Forbidden", "no")
    snapshot = await read(api, Target("all", "shop"))
    assert [(one.severity, one.sentence) for one in snapshot.obstacles] == [
        ("error", "you may not list certificates.cert-manager.io in namespace shop, so they were not looked at"),
        ("note", "you may not get secrets in namespace shop, so they were not looked at"),
        (
            "note",
            "you may not get leases.coordination.k8s.io in namespace cdn-issuer-system, so they were not looked at",
        ),
    ]
    assert (snapshot.secrets, snapshot.leases, snapshot.may_approve) == ({}, {}, {})
    assert codes(diagnose(snapshot))[:2] == ["MissingRight", "NotApproved"]


async def test_cluster_issuers_that_may_not_be_read_are_told_of_where_they_matter() -> None:
    api = Api(cdnissuers=[issuer()])
    api.refused["list", "cdnclusterissuers"] = ForbiddenError(403, "Forbidden", "no")
    assert [one.code for one in (await read(api, Target("issuer", "shop", "web"))).obstacles] == []
    assert [one.code for one in (await read(api, Target("all", "shop"))).obstacles] == ["MissingRight"]


def signing_request(name: str, signer: str = "cdnissuers.cdn-issuer.io/shop.web", *conditions: Item) -> Item:
    metadata = {"name": name, "uid": name, "creationTimestamp": ago(minutes=9)}
    return {"metadata": metadata, "spec": {"signerName": signer}, "status": {"conditions": conditions}}


SIGNING: list[Item] = [
    signing_request("shop"),
    signing_request("other", "cdnissuers.cdn-issuer.io/other.web"),
    signing_request("shared", "cdnclusterissuers.cdn-issuer.io/web"),
    signing_request("typo", "cdnissuer.cdn-issuer.io/shop.web"),
    signing_request("node", "kubernetes.io/kubelet-serving"),
    signing_request("look-alike", "cdnissuers.notcdn-issuer.io/shop.web"),
]


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (Target("all"), ["shop", "other", "shared", "typo"]),
        (Target("overview"), ["shop", "other", "shared", "typo"]),
        (Target("certificatesigningrequest"), ["shop", "other", "shared", "typo"]),
        (Target("certificatesigningrequest", "shop"), ["shop", "shared", "typo"]),
        (Target("certificatesigningrequest", "shop", "node"), ["node"]),
        (Target("all", "shop"), []),
        (Target("overview", "shop"), []),
        (Target("certificate"), []),
        (Target("issuer"), []),
        (Target("check"), []),
    ],
)
async def test_signing_requests_are_looked_at_where_they_are_meant_or_everything_is(
    target: Target, names: list[str]
) -> None:
    api = Api(certificatesigningrequests=SIGNING)
    assert [one.metadata.name for one in (await read(api, target)).signing_requests] == names
    assert bool(names) is any(plural == "certificatesigningrequests" for _, plural, _, _ in api.reads)


async def test_of_a_signing_request_the_issuer_is_read_in_the_namespace_that_its_signer_names() -> None:
    waits = signing_request("waits", "cdnissuers.cdn-issuer.io/shop.web", APPROVED)
    api = Api(certificatesigningrequests=[waits], cdnissuers=[issuer()])
    for verb, plural in (("list", "cdnclusterissuers"), ("get", "secrets"), ("get", "leases")):
        api.refused[verb, plural] = ForbiddenError(403, "Forbidden", "no")
    snapshot = await read(api, Target("certificatesigningrequest", "elsewhere", "waits"))
    assert (snapshot.namespace, [key.name for key in snapshot.issuers]) == ("shop", ["web"])
    assert ("list", "cdnissuers", "shop", "") in api.reads
    assert ("get", "secrets", "shop", "cloudflare") in api.reads
    assert {plural for _, plural, _, _ in api.reads}.isdisjoint({"certificates", "certificaterequests"})
    assert [one.sentence.partition(", so")[0] for one in snapshot.obstacles] == [
        "you may not get secrets in namespace shop",
        "you may not get leases.coordination.k8s.io in namespace cdn-issuer-system",
    ]


@pytest.mark.parametrize(
    ("signer", "plural"),
    [
        ("cdnissuers.cdn-issuer.io/shop.web", "cdnissuers"),
        ("cdnclusterissuers.cdn-issuer.io/web", "cdnclusterissuers"),
        ("kubernetes.io/kubelet-serving", ""),
    ],
)
async def test_of_a_signing_request_only_the_issuers_of_the_kind_that_it_names_are_missed(
    signer: str, plural: str
) -> None:
    api = Api(certificatesigningrequests=[signing_request("waits", signer, APPROVED)])
    for one in ("cdnissuers", "cdnclusterissuers"):
        api.refused["list", one] = ForbiddenError(403, "Forbidden", "no")
    snapshot = await read(api, Target("certificatesigningrequest", "elsewhere", "waits"))
    assert [one.sentence.split()[4].partition(".")[0] for one in snapshot.obstacles] == ([plural] if plural else [])


@pytest.mark.parametrize(
    ("verb", "target", "severity"),
    [
        ("list", Target("all"), "note"),
        ("list", Target("overview"), "note"),
        ("list", Target("certificatesigningrequest", "shop"), "error"),
        ("get", Target("certificatesigningrequest", "shop", "www"), "error"),
    ],
)
async def test_a_right_to_signing_requests_that_is_missing_is_an_error_where_they_are_meant(
    verb: str, target: Target, severity: str
) -> None:
    api = Api()
    api.refused[verb, "certificatesigningrequests"] = ForbiddenError(403, "Forbidden", "no")
    (finding,) = (await read(api, target)).obstacles
    assert (finding.severity, finding.code, finding.object) == (severity, "MissingRight", "Cluster")
    assert finding.fix == (
        f"kubectl create clusterrole read-certificatesigningrequests --verb {verb} "
        "--resource certificatesigningrequests.certificates.k8s.io"
    )


async def test_signing_requests_that_the_server_does_not_serve_are_none_unless_they_are_meant() -> None:
    api = Api()
    api.refused["list", "certificatesigningrequests"] = error_from(404, b"404 page not found")
    assert (await read(api, Target("all"))).obstacles == ()
    (finding,) = (await read(api, Target("certificatesigningrequest"))).obstacles
    assert (finding.code, finding.sentence) == ("NotFound", "the API server does not serve them")


async def test_a_resource_that_the_server_does_not_know_is_a_missing_crd() -> None:
    api = Api()
    api.refused["list", "cdnissuers"] = error_from(404, b"404 page not found")
    (finding,) = (await read(api, Target("issuer", "shop"))).obstacles
    assert (finding.code, finding.fix) == ("MissingCRD", "cdn-issuer crds | kubectl apply --server-side -f -")


async def test_a_credential_that_is_refused_ends_it() -> None:
    api = Api()
    api.refused["list", "cdnissuers"] = UnauthorizedError(401, "Unauthorized", "who")
    with pytest.raises(ExceptionGroup):
        await read(api, Target("all", "shop"))


async def test_of_a_secret_nothing_but_its_keys_and_an_end_is_kept() -> None:
    secret = objects.ca_secret("backup-ca", "shop")
    backup = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}
    snapshot = await read(Api(cdnissuers=[issuer("web", backup)], secrets=[secret]), Target("issuer", "shop"))
    (view,) = snapshot.secrets.values()
    assert view is not None
    assert view.keys == {"tls.crt", "tls.key"}
    assert view.ends is not None
    assert view.ends - NOW > timedelta(days=3000)
    assert "BEGIN" not in repr(snapshot)
    assert secret["data"]["tls.key"][:40] not in repr(snapshot)


async def test_a_secret_that_is_no_ca_has_no_end() -> None:
    secret = objects.secret("cloudflare", "shop", {"tls.crt": b"x", "token": b64encode(b"y")})
    snapshot = await read(Api(cdnissuers=[issuer()], secrets=[secret]), Target("issuer", "shop"))
    (view,) = snapshot.secrets.values()
    assert view is not None
    assert view.ends is None


@pytest.mark.parametrize(
    ("renewals", "stale"),
    [
        ([ago(seconds=1)], False),
        ([ago(minutes=5), ago(minutes=5)], True),
        ([ago(minutes=5), ago(minutes=4)], False),
        ([ago(minutes=-5), ago(minutes=-6)], False),
        ([ago(minutes=-5), ago(minutes=-5)], True),
    ],
)
async def test_a_lease_is_stale_only_if_nobody_writes_it_whatever_this_clock_says(
    renewals: list[str], stale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api(cdnissuers=[issuer()], leases=[lease(renewals[0])])

    async def sleep(seconds: float) -> None:
        assert seconds == reader.LOOK_AGAIN
        api.objects["leases"] = [lease(renewals[1])]

    monkeypatch.setattr("issuer.inspection.reader.asyncio.sleep", sleep)
    snapshot = await read(api, Target("issuer", "shop"))
    assert (snapshot.stale == {LEASE}) is stale


async def test_one_certificate_is_read_with_its_requests_and_no_others() -> None:
    ref = {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}
    www = {"metadata": {"name": "www", "namespace": "shop"}, "spec": {"issuerRef": ref}}
    api = Api(
        certificates=[www],
        certificaterequests=[request("www-1", APPROVED), request("api-1", APPROVED, owner="api")],
        cdnissuers=[issuer()],
    )
    snapshot = await read(api, Target("certificate", "shop", "www"))
    assert [one.metadata.name for one in snapshot.requests] == ["www-1"]
    assert ("get", "certificates", "shop", "www") in api.reads
    assert ObjectKey("shop", "cloudflare") in snapshot.secrets


async def test_an_object_that_cannot_be_read_is_told_and_costs_only_itself() -> None:
    broken = {**request("broken"), "spec": {"issuerRef": "web"}}
    snapshot = await read(Api(certificaterequests=[broken, request("fine")]), Target("overview", "shop"))
    assert [one.metadata.name for one in snapshot.requests] == ["fine"]
    assert [one.code for one in snapshot.obstacles] == ["Unreadable"]


async def test_the_version_of_cert_manager_shows_in_its_schema() -> None:
    def schema(**spec: Any) -> dict[str, Any]:
        kind = {"group": "cert-manager.io", "version": "v1", "kind": "Certificate"}
        properties = {"spec": {"properties": {"secretName": {}, **spec}}}
        return {"components": {"schemas": {"x": {"properties": properties, "x-kubernetes-group-version-kind": [kind]}}}}

    one = {"revisionHistoryLimit": {"description": "Default value is `1`."}, "literalSubject": {}}
    api = Api()
    for spec, too_old, keeps_one in (({}, True, False), ({"literalSubject": {}}, False, False), (one, False, True)):
        api.schemas[certmanager.OPENAPI] = schema(**spec)
        found = (await read(api, Target("all", "shop"))).cert_manager
        assert found is not None
        assert (found.too_old, found.keeps_one) == (too_old, keeps_one)
    api.schemas[certmanager.OPENAPI] = schema()
    del api.schemas[certmanager.OPENAPI]["components"]["schemas"]["x"]["properties"]["spec"]
    found = (await read(api, Target("all", "shop"))).cert_manager
    assert found is not None
    assert not found.too_old, "a schema that tells nothing of the fields"
    api.schemas.clear()
    assert (await read(api, Target("all", "shop"))).cert_manager is None
