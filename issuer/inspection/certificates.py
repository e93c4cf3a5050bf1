"""What is wrong with a Certificate beside what is wrong with its request.

Its time runs out, cert-manager waits, or it is set up so that a renewal hurts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer.api import condition
from issuer.api.duration import Duration, InvalidDurationError
from issuer.api.meta import format_time, parse_time
from issuer.api.risks import kept_key, running_out, short_history
from issuer.authorities.cloudflare_order import VALIDITIES
from issuer.inspection.findings import ERROR, WARNING, Finding, title
from issuer.inspection.requests import renew

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from issuer.api.issuer import IssuerSpec
    from issuer.inspection.snapshot import Certificate, Snapshot

KIND: Final = "Certificate"
ISSUING: Final = "Issuing"
FIRST_BACKOFF: Final = timedelta(hours=1)
MOST_DOUBLINGS: Final = 5
"""cert-manager's, unless it is told otherwise: 1 h up to 32 h (`pkg/controller/certificates/trigger`)."""
REQUESTED: Final = timedelta(seconds=60)
"""How long cert-manager may take to make a request."""
DAY: Final = 86400.0


def backoff_ends(certificate: Certificate) -> datetime | None:
    """Until when cert-manager waits after a failure, with its own settings; None if nothing has failed."""
    failed, attempts = parse_time(certificate.status.last_failure_time), certificate.status.failed_issuance_attempts
    if failed is None or attempts < 1:
        return None
    waits: timedelta = FIRST_BACKOFF * 2 ** min(attempts - 1, MOST_DOUBLINGS)
    return failed + waits


def certificate_trouble(certificate: Certificate, snapshot: Snapshot, *, explained: bool) -> Iterator[Finding]:
    """What has come of it.

    Args:
        certificate: one of ours.
        snapshot: of the cluster.
        explained: whether an error was found that keeps it from being issued.
    """
    about, name = title(KIND, *certificate.metadata.key), certificate.metadata.key
    status = certificate.status
    if not explained:
        yield from _without_request(certificate, snapshot)
    until = backoff_ends(certificate)
    is_issuing = condition.is_true(status.conditions, ISSUING)
    if until is not None and until > snapshot.now and not is_issuing:
        times = "once" if status.failed_issuance_attempts == 1 else f"{status.failed_issuance_attempts} times"
        yield Finding(
            severity=WARNING if explained else ERROR,
            code="InBackoff",
            object=about,
            sentence=f"issuing it has failed {times}, and cert-manager does not try again before "
            f"{format_time(until)} unless it is told to",
            fix=renew(*name),
        )
    yield from _time_left(certificate, snapshot, is_renewing=is_issuing or until is not None)


def certificate_risks(certificate: Certificate, issuer: IssuerSpec | None, snapshot: Snapshot) -> Iterator[Finding]:
    """What is set up so that it will hurt. `issuer` is the specification of its issuer, if that can be read."""
    about, name, spec = title(KIND, *certificate.metadata.key), certificate.metadata.key, certificate.spec
    with_cloudflare = issuer is not None and any(authority.kind == "cloudflare" for authority in issuer.authorities)
    version = snapshot.cert_manager
    for risk in (
        short_history(spec.revision_history_limit, version, with_cloudflare=with_cloudflare),
        kept_key(spec.private_key.rotation_policy, version),
    ):
        if risk is not None:
            yield Finding(
                severity=WARNING, code=risk.code, object=about, sentence=risk.sentence, fix=_patch(*name, risk.patch)
            )
    if with_cloudflare:
        yield from _duration(certificate, about)


def _patch(namespace: str, name: str, patch: str) -> str:
    return f"kubectl patch certificates --namespace {namespace} {name} --type merge --patch '{patch}'"


def _without_request(certificate: Certificate, snapshot: Snapshot) -> Iterator[Finding]:
    created = certificate.metadata.created
    if not certificate.status.conditions and created is not None and snapshot.now - created > REQUESTED:
        yield Finding(
            severity=ERROR,
            code="NoRequest",
            object=title(KIND, *certificate.metadata.key),
            sentence=f"cert-manager has not looked at it since {format_time(created)}: its controller does not run",
            fix="kubectl get pods --namespace cert-manager",
        )
        return
    issuing = condition.find(certificate.status.conditions, ISSUING)
    if issuing is None or issuing.status != condition.TRUE or issuing.since is None:
        return
    if any(not request.is_finished for request in snapshot.requests_of(certificate)):
        return
    if snapshot.now - issuing.since > REQUESTED:
        yield Finding(
            severity=ERROR,
            code="NoRequest",
            object=title(KIND, *certificate.metadata.key),
            sentence=f"cert-manager wants it issued since {format_time(issuing.since)} and has made no request: its "
            "controller does not run, or cannot write",
            fix="kubectl get pods --namespace cert-manager",
        )


def _time_left(certificate: Certificate, snapshot: Snapshot, *, is_renewing: bool) -> Iterator[Finding]:
    status = certificate.status
    risk = running_out(
        status.ends,
        parse_time(status.renewal_time),
        snapshot.now,
        is_renewing=is_renewing,
        secret=certificate.spec.secret_name,
    )
    if risk is not None:
        yield Finding(
            severity=WARNING if risk.code == "RenewalOverdue" else ERROR,
            code=risk.code,
            object=title(KIND, *certificate.metadata.key),
            sentence=risk.sentence,
            fix=renew(*certificate.metadata.key),
        )


def _duration(certificate: Certificate, about: str) -> Iterator[Finding]:
    text = certificate.spec.duration
    try:
        days = Duration(text).seconds / DAY if text else None
    except InvalidDurationError:
        return
    if days is None or days in VALIDITIES:
        return
    offered = ", ".join(map(str, VALIDITIES))
    longer = next((validity for validity in VALIDITIES if validity >= days), None)
    gets = f"gets {longer} days" if longer else "is not signed there"
    nearest = longer or VALIDITIES[-1]
    yield Finding(
        severity=WARNING,
        code="DurationNotOffered",
        object=about,
        sentence=f"spec.duration {text} is none that Cloudflare offers ({offered} days), so it {gets}",
        fix=_patch(*certificate.metadata.key, f'{{"spec":{{"duration":"{nearest * 24}h"}}}}'),
    )
