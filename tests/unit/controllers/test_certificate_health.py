"""Certificates are judged, counted, and told of once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
from structlog.testing import capture_logs

from issuer.api.certmanager import CertManager
from issuer.api.meta import format_time
from issuer.api.risks import CODES
from issuer.controllers import certificatehealth as module
from issuer.controllers.certificatehealth import CertificateHealthController, WatchedCertificate
from issuer.controllers.certificates import Carrier, Held
from issuer.kube.errors import UnreachableError
from issuer.observe import families

if TYPE_CHECKING:
    import pytest

    from issuer.api.meta import ObjectKey
    from issuer.kube.events import ObjectReference

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
OURS = {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}
NEVER = {"privateKey": {"rotationPolicy": "Never"}}
SHORT = {"revisionHistoryLimit": 1}


def certificate(
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    *,
    name: str = "site",
    uid: str = "",
    generation: int = 1,
) -> WatchedCertificate:
    """One as the cache keeps it."""
    meta = {"name": name, "namespace": "shop", "uid": uid or f"uid-{name}", "generation": generation}
    spec = {"secretName": f"{name}-tls", "issuerRef": OURS, "revisionHistoryLimit": 2, **(spec or {})}
    manifest = {"metadata": meta, "spec": spec, "status": {"revision": 1, **(status or {})}}
    return msgspec.convert(manifest, WatchedCertificate).trimmed()


class Cluster:
    """A controller, what is in its caches, and the events that it has emitted."""

    def __init__(self, *kinds: str) -> None:
        self.there: list[WatchedCertificate] = []
        self.chain: tuple[datetime, datetime] | None = None
        self.emitted: list[tuple[str, str, str, str, str]] = []
        self.schemas: dict[str, Any] | None = None
        entry = SimpleNamespace(kinds=frozenset(kinds or ("cloudflare",)))
        self.controller = CertificateHealthController(
            client=cast("Any", SimpleNamespace(read=self._read)),
            namespaces=("",),
            book=cast("Any", SimpleNamespace(find=lambda id_: entry if id_.key.name == "web" else None)),
            census=cast("Any", SimpleNamespace(held_of=self._held)),
            events=cast("Any", SimpleNamespace(emit=self._emit)),
            now=lambda: NOW,
        )
        self.controller._certificates = cast(
            "Any", SimpleNamespace(items=lambda: list(self.there), last_contact=float("-inf"))
        )

    async def look(self, *there: WatchedCertificate) -> list[tuple[str, str]]:
        """Look at these; name and reason of each event that comes of it."""
        self.there, self.emitted = list(there), []
        await self.controller.look()
        return [(name, reason) for name, _, reason, _, _ in self.emitted]

    @property
    def version(self) -> CertManager | None:
        return self.controller._version

    def counted(self) -> dict[str, float]:
        found = [one for one in self.controller.measures() if one.family is families.CERTIFICATE_FINDINGS]
        return {one.labels[0]: one.value for one in found if one.value}

    def _held(self, _key: ObjectKey) -> Held | None:
        if self.chain is None:
            return None
        ends, above = self.chain
        return Held(("CDNIssuer", "shop", "web", "edge"), ends, Carrier(_key, "uid", None), above)

    def _emit(self, about: ObjectReference, type_: str, reason: str, message: str, *, once: str) -> None:
        assert (about.kind, about.api_version) == ("Certificate", "cert-manager.io/v1")
        self.emitted.append((about.name, type_, reason, message, once))

    async def _read(self, _path: str) -> bytes:
        if self.schemas is None:
            raise UnreachableError("away")
        return msgspec.json.encode(self.schemas)


async def test_one_that_is_well_counts_nowhere_and_has_no_event() -> None:
    cluster = Cluster()
    assert cluster.counted() == {}
    assert await cluster.look(certificate()) == []
    assert cluster.counted() == {}
    assert {one.labels[0] for one in cluster.controller.measures()} == set(CODES), "zeros, once it has looked"


async def test_each_finding_is_told_once_and_counts_for_as_long_as_it_is_there() -> None:
    cluster = Cluster()
    both, short = certificate({**NEVER, **SHORT}), certificate(SHORT, name="mail")
    assert await cluster.look(both, short) == [
        ("site", "HistoryTooShort"),
        ("site", "KeyNotRotated"),
        ("mail", "HistoryTooShort"),
    ]
    assert cluster.counted() == {"HistoryTooShort": 2, "KeyNotRotated": 1}
    assert await cluster.look(both, short) == []
    assert cluster.counted() == {"HistoryTooShort": 2, "KeyNotRotated": 1}
    assert await cluster.look(short) == []
    assert cluster.counted() == {"HistoryTooShort": 1}


async def test_an_event_says_what_to_do_and_a_key_that_is_kept_is_no_warning() -> None:
    cluster = Cluster()
    await cluster.look(certificate({**NEVER, **SHORT}))
    (_, warning, _, history, _), (_, normal, _, key, _) = cluster.emitted
    assert (warning, normal) == ("Warning", "Normal")
    assert history.startswith("With revisionHistoryLimit 1 it is not Ready")
    assert history.endswith("; set spec.revisionHistoryLimit to 2")
    assert key.endswith("; set spec.privateKey.rotationPolicy to Always")


async def test_a_renewal_tells_nothing_of_the_specification_again_and_a_change_of_it_does() -> None:
    cluster = Cluster()
    assert await cluster.look(certificate(NEVER)) == [("site", "KeyNotRotated")]
    assert await cluster.look(certificate(NEVER, {"revision": 2})) == []
    assert await cluster.look(certificate(NEVER, generation=2)) == [("site", "KeyNotRotated")]
    assert await cluster.look(certificate(NEVER, uid="another")) == [("site", "KeyNotRotated")]


async def test_what_went_away_and_came_back_at_the_same_generation_is_not_told_again() -> None:
    cluster = Cluster()
    cluster.controller._version = CertManager(keeps_keys=True)
    assert await cluster.look(certificate()) == [("site", "KeyNotRotated")]
    cluster.controller._version = None
    assert await cluster.look(certificate()) == []
    cluster.controller._version = CertManager(keeps_keys=True)
    assert await cluster.look(certificate()) == []


async def test_the_next_process_gives_the_event_the_same_name_and_another_finding_another() -> None:
    names = []
    for spec, generation in ((NEVER, 1), (NEVER, 1), (NEVER, 2), (SHORT, 1)):
        cluster = Cluster()
        await cluster.look(certificate(spec, generation=generation))
        names.append(cluster.emitted[0][-1])
    first, again, *others = names
    assert first == again
    assert len({first, *others}) == 3
    assert first.isalnum()
    assert first == first.lower()


async def test_a_renewal_that_fails_is_told_for_each_certificate_that_it_was_to_replace() -> None:
    late = {"notAfter": format_time(NOW + timedelta(days=2)), "renewalTime": format_time(NOW - timedelta(days=1))}
    cluster = Cluster()
    assert await cluster.look(certificate(status=late)) == [("site", "ExpiresSoon")]
    assert await cluster.look(certificate(status=late)) == []
    assert await cluster.look(certificate(status={**late, "revision": 2})) == [("site", "ExpiresSoon")]
    over = {**late, "notAfter": format_time(NOW - timedelta(days=1))}
    assert await cluster.look(certificate(status={**over, "revision": 2})) == [("site", "Expired")]


async def test_near_its_end_a_failure_or_an_issuance_under_way_is_told_before_it_is_overdue() -> None:
    near = {"notAfter": format_time(NOW + timedelta(days=2)), "renewalTime": format_time(NOW - timedelta(minutes=1))}
    failed = {"lastFailureTime": format_time(NOW), "failedIssuanceAttempts": 1}
    issuing = {"conditions": [{"type": "Issuing", "status": "True", "reason": "Renewing", "message": "x"}]}
    cluster = Cluster()
    assert await cluster.look(certificate(status=near)) == []
    assert await cluster.look(certificate(status={**near, **failed})) == [("site", "ExpiresSoon")]
    assert await Cluster().look(certificate(status={**near, **issuing})) == [("site", "ExpiresSoon")]


async def test_a_chain_that_ends_first_is_told() -> None:
    cluster = Cluster()
    cluster.chain = NOW + timedelta(days=5475), NOW + timedelta(days=999)
    assert await cluster.look(certificate()) == [("site", "ChainEndsFirst")]
    cluster.chain = NOW + timedelta(days=90), NOW + timedelta(days=29)
    assert await cluster.look(certificate()) == [("site", "ChainExpires")]
    assert cluster.counted() == {"ChainExpires": 1}


async def test_a_history_of_one_does_no_harm_without_cloudflare_or_an_issuer() -> None:
    assert await Cluster("ca").look(certificate(SHORT)) == []
    assert await Cluster().look(certificate({**SHORT, "issuerRef": {**OURS, "name": "gone"}})) == []


async def test_one_that_cannot_be_judged_costs_only_itself_and_the_log_names_it_once() -> None:
    strange = certificate({**NEVER, "secretName": ""}, {"notAfter": "0001-01-01T00:00:00+14:00"}, name="strange")
    unread = certificate(status={"notAfter": "soon", "renewalTime": "yesterday", "revision": 7}, name="unread")
    cluster = Cluster()
    with capture_logs() as lines:
        assert await cluster.look(strange, unread, certificate(NEVER)) == [("site", "KeyNotRotated")]
        assert await cluster.look(strange, unread, certificate(NEVER)) == []
    assert [(line["event"], line["name"]) for line in lines] == [("Certificate not judged", "strange")]


async def test_many_are_told_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EVENTS", 2)
    monkeypatch.setattr(module, "SLICE", 2)
    cluster = Cluster()
    many = [certificate(NEVER, name=f"site-{number}") for number in range(5)]
    told = [[name for name, _ in await cluster.look(*many)] for _ in range(4)]
    assert told == [["site-0", "site-1"], ["site-2", "site-3"], ["site-4"], []]
    assert cluster.counted() == {"KeyNotRotated": 5}
    assert cluster.controller._news.is_set(), "or the rest would wait for a minute"


async def test_while_the_schema_of_cert_manager_cannot_be_read_what_was_read_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "VERSION_EVERY", 0.0)
    cluster = Cluster()
    await cluster.controller._read_version()
    assert cluster.version is None
    named = [{"group": "cert-manager.io", "version": "v1", "kind": "Certificate"}]
    limit = {"revisionHistoryLimit": {"description": "Default value is `1`."}}
    schema = {"properties": {"spec": {"properties": limit}}, "x-kubernetes-group-version-kind": named}
    for cluster.schemas in ({"components": {"schemas": {"x": schema}}}, None, {"components": {}}):
        await cluster.controller._read_version()
        assert cluster.version == CertManager(keeps_one=True)


def test_what_is_kept_in_memory_is_enough_to_judge_by_and_no_more() -> None:
    meta = {"name": "site", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3}
    told = [{"type": "Ready", "status": "True", "message": "x" * 1000}, {"type": "Issuing", "status": "True"}]
    manifest = {
        "metadata": {**meta, "annotations": {"kubectl": "x" * 1000}},
        "spec": {"issuerRef": OURS, "dnsNames": ["x" * 1000], **NEVER},
        "status": {"conditions": told, "revision": 4},
    }
    kept = msgspec.convert(manifest, WatchedCertificate).trimmed()
    assert len(msgspec.json.encode(kept)) < 800
    assert kept.is_renewing
    assert (kept.metadata.resource_version, kept.metadata.generation, kept.status.revision) == ("7", 3, 4)
    assert kept.spec.private_key.rotation_policy == "Never"
