"""What is wrong with a Certificate, of plain values; and cert-manager's defaults, from its schema."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from issuer.api.certmanager import CertManager, cert_manager
from issuer.api.risks import ending_chain, kept_key, running_out, short_history

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
OLD, NEW = CertManager(keeps_keys=True), CertManager(keeps_one=True)


def ahead(**span: float) -> datetime:
    return NOW + timedelta(**span)


@pytest.mark.parametrize(
    ("policy", "version", "is_kept"),
    [
        ("Never", None, True),
        ("Never", NEW, True),
        ("Always", OLD, False),
        ("", OLD, True),
        ("", NEW, False),
        ("", None, False),
        ("Sometimes", OLD, False),
    ],
)
def test_a_key_is_kept_where_it_is_said_or_where_cert_manager_does_by_default(
    policy: str, version: CertManager | None, is_kept: bool
) -> None:
    risk = kept_key(policy, version)
    assert (risk is not None) == is_kept
    if risk is not None:
        assert ("(the default)" in risk.sentence) == (policy == "")


@pytest.mark.parametrize(
    ("limit", "version", "with_cloudflare", "hurts"),
    [
        (1, None, True, True),
        (1, None, False, False),
        (2, NEW, True, False),
        (None, NEW, True, True),
        (None, NEW, False, False),
        (None, OLD, True, False),
        (None, None, True, False),
    ],
)
def test_a_history_of_one_hurts_where_cloudflare_signs(
    limit: int | None, version: CertManager | None, with_cloudflare: bool, hurts: bool
) -> None:
    assert (short_history(limit, version, with_cloudflare=with_cloudflare) is not None) == hurts


@pytest.mark.parametrize(
    ("ends", "due", "is_renewing", "code"),
    [
        (None, ahead(days=-1), True, None),
        (ahead(days=60), ahead(days=30), False, None),
        (ahead(seconds=0), ahead(days=-1), False, "Expired"),
        (ahead(days=20), ahead(minutes=-9), True, None),
        (ahead(days=20), ahead(minutes=-11), False, "RenewalOverdue"),
        (ahead(days=2), ahead(minutes=-11), False, "ExpiresSoon"),
        (ahead(days=2), ahead(minutes=-1), True, "ExpiresSoon"),
        (ahead(days=2), ahead(minutes=-1), False, None),
        (ahead(days=2), None, True, None),
    ],
)
def test_time_runs_out_once_a_renewal_does_not_come_through(
    ends: datetime | None, due: datetime | None, is_renewing: bool, code: str | None
) -> None:
    risk = running_out(ends, due, NOW, is_renewing=is_renewing, secret="site-tls")
    assert (risk.code if risk else None) == code


@pytest.mark.parametrize(
    ("ends", "above", "code"),
    [
        (ahead(days=90), None, None),
        (ahead(days=90), ahead(days=3650), None),
        (ahead(days=7), ahead(days=8), None),
        (ahead(days=90), ahead(days=90), None),
        (ahead(days=90), ahead(days=40), "ChainEndsFirst"),
        (ahead(days=90), ahead(days=29), "ChainExpires"),
        (ahead(days=20), ahead(days=20), "ChainExpires"),
        (ahead(days=90), ahead(days=-1), "ChainExpires"),
    ],
)
def test_a_chain_ends_first_or_with_its_certificate_and_soon(
    ends: datetime, above: datetime | None, code: str | None
) -> None:
    risk = ending_chain(ends, above, NOW)
    assert (risk.code if risk else None) == code


def document(**spec: Any) -> dict[str, Any]:
    named = [{"group": "cert-manager.io", "version": "v1", "kind": "Certificate"}]
    schema = {"properties": {"spec": {"properties": spec}}, "x-kubernetes-group-version-kind": named}
    return {"components": {"schemas": {"other": {}, "certificate": schema}}}


@pytest.mark.parametrize(
    ("told", "keeps"),
    [
        ("If set to `Never`, ...\nDefault is `Never` for backward compatibility.", True),
        ("If set to Never, ... Default\nis 'Never' for backward compatibility.", True),
        ("Default is `Always`.\nThe default was changed from `Never` to `Always` in cert-manager >=v1.18.0.", False),
        ("", False),
    ],
)
def test_the_default_of_the_rotation_stands_in_the_description(told: str, keeps: bool) -> None:
    key = {"properties": {"rotationPolicy": {"description": told}}}
    found = cert_manager(document(privateKey=key, literalSubject={}, secretName={}))
    assert found == CertManager(keeps_keys=keeps)


@pytest.mark.parametrize(
    "strange",
    [
        None,
        {},
        {"components": []},
        {"components": {"schemas": {"a": None, "b": 1, "c": {"x-kubernetes-group-version-kind": 1}}}},
        {"components": {"schemas": {"a": {"x-kubernetes-group-version-kind": ["Certificate", {"kind": 3}]}}}},
    ],
)
def test_of_a_document_that_is_none_nothing_is_known(strange: Any) -> None:
    assert cert_manager(strange) is None


def test_fields_of_the_schema_that_are_none_tell_nothing() -> None:
    assert cert_manager(document(privateKey=3, revisionHistoryLimit=[])) == CertManager()
