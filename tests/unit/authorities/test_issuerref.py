"""Asking another issuer: what is made of it, and what comes of each way in which it can end."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import structs

from issuer.api.condition import Condition
from issuer.api.duration import Duration
from issuer.api.issuer import AuthorityCommon, AuthoritySpec, Timeouts
from issuer.api.meta import TypeMeta, format_time
from issuer.api.request import CertificateRequest, IssuerRef
from issuer.api.spec import InvalidSpecError
from issuer.authorities import issuerref
from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder
from issuer.authorities.delegation import (
    ChangedError,
    DelegationError,
    FoundIssuer,
    MissingRightError,
    RefusedError,
)
from issuer.authorities.errors import (
    AuthorityError,
    InProgress,
    IssuerUnusable,
    Rejected,
    Unauthorized,
    Unavailable,
    UnavailableHere,
)
from tests.unit.pki.pki_case import NOW, parsed

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.api.meta import ObjectMeta
    from issuer.authorities.issuerref import IssuerRefSession

TIMEOUTS = CallTimeouts(connect=1, read=1)
TURN = timedelta(minutes=10)
CSR = parsed("site.example.com")
ORDER = SigningOrder(
    uid="uid-1",
    namespace="shop",
    name="site-1",
    created=NOW,
    csr=CSR,
    duration=timedelta(days=10),
    usages=("server auth",),
    parent=TypeMeta("cert-manager.io/v1", "CertificateRequest"),
)
CHAIN = b"a chain"


@dataclass
class Cluster:
    """The other issuers of a cluster, and the children that they have."""

    issuers: dict[str, FoundIssuer] = field(default_factory=dict)
    objects: dict[tuple[str, str], CertificateRequest] = field(default_factory=dict)
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    now: datetime = NOW
    made: int = 0

    async def issuer(self, ref: IssuerRef, namespace: str, *, fresh: bool = False) -> FoundIssuer:
        self._call(f"issuer {namespace or '-'}/{ref.name}{' fresh' if fresh else ''}")
        return self.issuers.get(namespace, FoundIssuer(is_namespaced=ref.kind == "Issuer"))

    async def read(self, namespace: str, name: str) -> CertificateRequest | None:
        self._call("read")
        return self.objects.get((namespace, name))

    async def create(self, namespace: str, manifest: dict[str, Any]) -> CertificateRequest:
        self._call("create")
        self.made += 1
        meta = {**manifest["metadata"], "uid": f"child-{self.made}", "creationTimestamp": format_time(self.now)}
        raw = msgspec.json.encode({**manifest, "metadata": meta})
        made = msgspec.json.decode(raw, type=CertificateRequest)
        self.objects[namespace, made.metadata.name] = made
        return made

    async def delete(self, meta: ObjectMeta) -> None:
        self._call("delete")
        self.objects.pop((meta.namespace, meta.name), None)

    def say(self, *conditions: Condition, **status: Any) -> None:
        """Write the status of the only child."""
        ((key, child),) = self.objects.items()
        approved = () if status.pop("unapproved", False) else (Condition("Approved", "True"),)
        changed = structs.replace(child.status, conditions=(*approved, *conditions), **status)
        self.objects[key] = structs.replace(child, status=changed)

    def issue(self, chain: bytes = CHAIN) -> None:
        text = b64encode(chain).decode()
        self.say(Condition("Ready", "True", "Issued"), certificate=text, ca=b64encode(b"a root").decode())

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.errors.get(what.split(maxsplit=1)[0]):
            raise self.errors[what.split(maxsplit=1)[0]].pop(0)


def authority(
    cluster: Cluster | None, *, config: str = '{"name":"le"}', serves_all: bool = False, namespace: str = "shop"
) -> issuerref.IssuerRefAuthority:
    common = AuthorityCommon(name="public", timeouts=Timeouts(turn=Duration("10m")))
    spec = AuthoritySpec(common=common, kind="issuerRef", config=msgspec.Raw(config.encode()))
    context = AuthorityContext(
        namespace=namespace,
        secrets=None,  # type: ignore[arg-type]
        transport=None,  # type: ignore[arg-type]
        now=lambda: cluster.now if cluster else NOW,
        issuer="CDNIssuer shop/web",
        serves_all=serves_all,
        delegation=cluster,
    )
    return issuerref.build(spec, context)


async def asked(cluster: Cluster, *conditions: Condition, **status: Any) -> IssuerRefSession:
    """A session whose child was made a moment ago."""
    session = await authority(cluster).session()
    with pytest.raises(InProgress):
        await session.sign(ORDER, TIMEOUTS)
    if conditions or status:
        cluster.say(*conditions, **status)
    return session


async def failure(session: IssuerRefSession, kind: type[AuthorityError] = Unavailable) -> AuthorityError:
    with pytest.raises(kind) as raised:
        await session.sign(ORDER, TIMEOUTS)
    return raised.value


async def test_the_child_asks_for_the_same_and_belongs_to_the_request() -> None:
    cluster = Cluster()
    await asked(cluster)
    ((key, child),) = cluster.objects.items()
    assert key == ("shop", issuerref.child_name(ORDER, "public"))
    assert key[1].startswith("site-1-")
    assert child.issuer_ref == IssuerRef("le", "Issuer", "cert-manager.io")
    assert child.encoded_csr == b64encode(CSR.pem).decode()
    assert (child.spec.duration, child.spec.is_ca, child.spec.usages) == ("864000s", False, ("server auth",))
    (owner,) = child.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid) == ("CertificateRequest", "site-1", "uid-1")
    assert child.metadata.annotations == {
        "cdn-issuer.io/issuer": "CDNIssuer shop/web",
        "cdn-issuer.io/request": "CertificateRequest shop/site-1",
    }


async def test_a_request_has_one_child_at_each_authority() -> None:
    names = {issuerref.child_name(replace(ORDER, uid=uid), name) for uid in ("a", "b") for name in ("x", "y")}
    assert len(names) == 4
    odd = issuerref.child_name(replace(ORDER, name="rehearsal of Edge in web"), "x")
    assert odd.startswith("rehearsal-of-edge-in-web-")
    assert len(issuerref.child_name(replace(ORDER, name="n" * 253), "x")) <= 253


async def test_the_name_of_the_key_s_secret_goes_along_for_self_signed_issuers() -> None:
    order = replace(ORDER, key_secret="site-x7k2p")
    manifest = issuerref.child_of(order, "public", IssuerRef("own", "Issuer", "cert-manager.io"), "shop", "")
    assert manifest["metadata"]["annotations"]["cert-manager.io/private-key-secret-name"] == "site-x7k2p"


async def test_a_child_without_a_request_has_no_owner() -> None:
    manifest = issuerref.child_of(replace(ORDER, parent=None), "public", IssuerRef("le"), "shop", "")
    assert "ownerReferences" not in manifest["metadata"]


async def test_what_it_has_received_is_handed_on() -> None:
    cluster = Cluster()
    session = await asked(cluster)
    cluster.issue()
    signed = await session.sign(ORDER, TIMEOUTS)
    assert (signed.chain, signed.ca, signed.handle) == (CHAIN, b"a root", "")
    assert len(cluster.objects) == 1, "it stays, for whoever looks"


async def test_it_says_what_it_waits_for_and_when_to_look_again() -> None:
    cluster = Cluster()
    session = await asked(cluster, Condition("Ready", "False", "Pending", "Waiting on order"))
    error = await failure(session, InProgress)
    assert isinstance(error, InProgress)
    assert "waits: Waiting on order" in error.message
    assert (error.since, error.look_again_in) == (NOW, issuerref.LOOK_AGAIN)
    cluster.now += TURN - timedelta(seconds=3)
    error = await failure(session, InProgress)
    assert isinstance(error, InProgress)
    assert error.look_again_in == 3


async def test_denied_or_invalid_is_a_word_on_the_request() -> None:
    for conditions, says in (
        ((Condition("Denied", "True", "Policy", "not on a Friday"),), "was denied: not on a Friday"),
        ((Condition("Ready", "False", "Denied", "denied by x"),), "was denied: denied by x"),
        ((Condition("InvalidRequest", "True", "Bad", "no such names"),), "was marked as invalid: no such names"),
    ):
        cluster = Cluster()
        error = await failure(await asked(cluster, *conditions), Rejected)
        assert says in error.message
        assert "delete" not in cluster.calls


async def test_one_that_failed_is_deleted_and_the_next_turn_makes_another() -> None:
    cluster = Cluster()
    session = await asked(cluster, Condition("Ready", "False", "Failed", "the order is invalid"))
    error = await failure(session)
    assert isinstance(error, Unavailable)
    assert "failed: the order is invalid" in error.message
    assert not error.again, "the next authority has its turn"
    assert not error.counts, "a name that it refuses is not to shut it out for others"
    assert cluster.objects == {}
    await failure(session, InProgress)
    assert cluster.made == 2


async def test_after_its_turn_it_is_deleted() -> None:
    cluster = Cluster()
    session = await asked(cluster, Condition("Ready", "False", "Pending", "Waiting"))
    cluster.now += TURN
    assert "has not ended within 10m; it waits: Waiting" in (await failure(session)).message
    assert cluster.objects == {}


async def test_one_that_is_issued_while_it_is_deleted_is_adopted() -> None:
    cluster = Cluster(errors={"delete": [ChangedError("changed")]})
    session = await asked(cluster, Condition("Ready", "False", "Pending", "Waiting"))
    cluster.now += TURN
    pending = cluster.objects.copy()
    cluster.issue()
    issued = cluster.objects.copy()
    answers = iter([pending, issued])

    async def read(namespace: str, name: str) -> CertificateRequest | None:
        return next(answers).get((namespace, name))

    cluster.read = read  # type: ignore[method-assign]
    assert (await session.sign(ORDER, TIMEOUTS)).chain == CHAIN


async def test_one_that_nobody_approves_is_given_up_with_the_right_that_is_missing() -> None:
    cluster = Cluster()
    session = await asked(cluster)
    error = await failure(session, InProgress)
    assert isinstance(error, InProgress)
    assert error.look_again_in == issuerref.UNAPPROVED.total_seconds()
    cluster.now += issuerref.UNAPPROVED
    error = await failure(session, InProgress)
    says = "is not approved; its approver needs the right to approve for the signer issuers.cert-manager.io/*"
    assert says in error.message
    assert error.code == "NotApproved"
    cluster.now += issuerref.APPROVAL
    assert says in (await failure(session)).message
    assert cluster.objects == {}


async def test_what_was_refused_is_not_handed_on_again() -> None:
    cluster = Cluster()
    session = await asked(cluster)
    cluster.issue()
    await session.sign(ORDER, TIMEOUTS)
    again = await authority(cluster).session()
    assert (await again.sign(ORDER, TIMEOUTS)).chain == CHAIN, "another process adopts it"
    assert "no good" in (await failure(session)).message
    assert cluster.objects == {}


@pytest.mark.parametrize("certificate", [None, "", "&&&"])
async def test_issued_without_a_certificate_is_no_certificate(certificate: str | None) -> None:
    cluster = Cluster()
    session = await asked(cluster, Condition("Ready", "True", "Issued"), certificate=certificate)
    assert "no good" in (await failure(session)).message


async def test_a_request_of_somebody_else_under_that_name_is_left_alone() -> None:
    for change in ({"owner_references": ()},):
        cluster = Cluster()
        session = await asked(cluster)
        cluster.issue()
        ((key, child),) = cluster.objects.items()
        cluster.objects[key] = structs.replace(child, metadata=structs.replace(child.metadata, **change))
        assert "is not the one that was made for this request" in (await failure(session)).message
        assert len(cluster.objects) == 1


async def test_a_lost_answer_to_the_creation_finds_the_child() -> None:
    cluster = Cluster(errors={"create": [ChangedError("exists")]})
    session = await authority(cluster).session()
    other = Cluster()
    await asked(other)
    cluster.read = other.read  # type: ignore[method-assign]
    original = other.objects.copy()
    other.objects.clear()

    async def create(namespace: str, manifest: dict[str, Any]) -> CertificateRequest:
        assert (namespace, bool(manifest)) == ("shop", True)
        other.objects.update(original)
        raise ChangedError("it exists")

    cluster.create = create  # type: ignore[method-assign]
    await failure(session, InProgress)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (MissingRightError("no right to create"), Unauthorized, "no right to create"),
        (RefusedError("a policy says no"), UnavailableHere, "a policy says no"),
        (DelegationError("no answer"), Unavailable, "no answer"),
    ],
)
async def test_what_the_api_server_refuses(error: Exception, kind: type[AuthorityError], says: str) -> None:
    session = await authority(Cluster(errors={"create": [error]})).session()
    assert says in (await failure(session, kind)).message


async def test_one_that_has_not_said_that_it_is_ready_is_asked_and_its_check_says_so() -> None:
    cluster = Cluster(issuers={"shop": FoundIssuer(is_namespaced=True, doubt="le has not said yet")})
    session = await authority(cluster).session()
    with pytest.raises(Unavailable, match="le has not said yet"):
        await session.check(TIMEOUTS)
    with pytest.raises(InProgress):
        await session.sign(ORDER, TIMEOUTS)


@pytest.mark.parametrize("state", ["IssuerNotFound", "IssuerNotReady"])
async def test_an_issuer_that_is_not_there_or_not_ready_is_not_asked(state: Any) -> None:
    cluster = Cluster(issuers={"shop": FoundIssuer(state, "le is away", is_namespaced=True)})
    with pytest.raises(IssuerUnusable, match="le is away") as raised:
        await authority(cluster).session()
    assert raised.value.reason == state
    assert not raised.value.again


async def test_an_api_server_that_does_not_say_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no answer"):
        await authority(Cluster(errors={"issuer": [DelegationError("no answer")]})).session()


async def test_without_a_cluster_it_says_that_it_is_switched_off() -> None:
    with pytest.raises(IssuerUnusable, match="--no-issuer-refs"):
        await authority(None).session()


async def test_issuers_of_all_namespaces_are_told_apart() -> None:
    cluster = Cluster(issuers={"shop": FoundIssuer("IssuerNotReady", "le of shop is not ready", is_namespaced=True)})
    session = await authority(cluster, serves_all=True, namespace="system").session()
    assert session.differs
    assert "le of shop is not ready" in (await failure(session, UnavailableHere)).message
    with pytest.raises(InProgress):
        await session.sign(replace(ORDER, namespace="blog"), TIMEOUTS)
    assert list(cluster.objects) == [("blog", issuerref.child_name(ORDER, "public"))]


async def test_the_account_is_the_issuer() -> None:
    accounts = {
        (await authority(Cluster(), config=config, namespace=namespace).session()).account
        for config in ('{"name":"a"}', '{"name":"a","kind":"ClusterIssuer"}', '{"name":"b"}')
        for namespace in ("one", "two")
    }
    assert len(accounts) == 5, "a cluster-scoped one is the same in each namespace"


@pytest.mark.parametrize("config", ['{"name":""}', '{"name":"a","group":"cdn-issuer.io"}', '{"kind":"Issuer"}', "[]"])
async def test_nonsense_is_refused(config: str) -> None:
    with pytest.raises(InvalidSpecError):
        authority(Cluster(), config=config)


async def test_it_finds_nothing_and_revokes_nothing() -> None:
    session = await authority(Cluster()).session()
    assert [one async for one in session.find(ORDER, TIMEOUTS, since=0)] == []
    await session.revoke("x", TIMEOUTS)
    await session.check(TIMEOUTS)
    await authority(Cluster()).aclose()
    assert session.roots == b""


@pytest.mark.parametrize("call", ["read", "create"])
async def test_an_api_server_that_does_not_answer_is_not_the_issuer_s_fault(call: str) -> None:
    session = await authority(Cluster(errors={call: [DelegationError("no answer")]})).session()
    error = await failure(session)
    assert isinstance(error, Unavailable)
    assert (error.again, error.counts) == (True, False)
