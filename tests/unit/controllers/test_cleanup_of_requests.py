"""Which failed requests of a Certificate may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from issuer.api import request as api
from issuer.api.condition import FALSE, READY, Condition
from issuer.api.duration import Duration
from issuer.api.issuer import Cleanup
from issuer.api.meta import ObjectMeta, OwnerReference, format_time
from issuer.api.request import CertificateRequest, RequestSpec, RequestStatus
from issuer.controllers.cleanup import expendable

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SPEC = Cleanup(failed_after=Duration("24h"), keep=2)


def failed(revision: int, hours: float | None) -> CertificateRequest:
    """A request for a revision that failed so many hours ago."""
    meta = ObjectMeta(
        name=f"www-{revision}",
        namespace="shop",
        uid=f"uid-{revision}-{hours}",
        annotations={api.REVISION_ANNOTATION: str(revision)},
        owner_references=(OwnerReference(kind="Certificate", name="www", uid="certificate", controller=True),),
    )
    when = format_time(NOW - timedelta(hours=hours)) if hours is not None else None
    conditions = (Condition(READY, FALSE, api.REASON_FAILED),)
    return CertificateRequest(meta, RequestSpec(), RequestStatus(conditions, failure_time=when))


def names(found: list[CertificateRequest]) -> list[str]:
    return [one.metadata.name for one in found]


def test_old_ones_go_oldest_first_and_the_newest_stay_however_old() -> None:
    assert names(expendable([failed(n, 200 - n) for n in (3, 1, 4, 2)], SPEC, NOW)) == ["www-1", "www-2"]


def test_one_that_failed_lately_stays() -> None:
    assert names(expendable([failed(1, 25), failed(2, 23), failed(3, 5), failed(4, 1)], SPEC, NOW)) == ["www-1"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_more_than_are_kept_are_left_alone(count: int) -> None:
    assert expendable([failed(n, 1000) for n in range(count)], SPEC, NOW) == []


def test_the_newest_is_that_of_the_newest_issuance_whenever_it_failed() -> None:
    assert names(expendable([failed(9, 500), failed(8, 30), failed(7, 40)], SPEC, NOW)) == ["www-7"]


def test_one_whose_failure_has_no_time_stays() -> None:
    assert expendable([failed(1, None), failed(2, 30), failed(3, 30)], SPEC, NOW) == []


def test_what_is_needed_to_judge_it_is_kept_in_memory() -> None:
    kept = failed(3, 30).trimmed()
    assert kept.has_failed
    assert (kept.revision, kept.owner, kept.failed_at) == (3, failed(3, 30).owner, NOW - timedelta(hours=30))
