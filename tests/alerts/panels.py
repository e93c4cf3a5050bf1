"""The panels of the Grafana dashboard, row by row: what an operator asks, in PromQL.

Counters that begin with the first mistake or failure are asked for as in the alerts: a series that is new counts from
0, which increase() alone cannot see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

INSTALLED: Final = 'job=~"$job"'
OF: Final = f'{INSTALLED},issuer_kind=~"$kind",issuer_namespace=~"$namespace",issuer=~"$issuer"'
ISSUER: Final = "{{issuer_namespace}}/{{issuer}}"
AUTHORITY: Final = f"{ISSUER} {{{{authority}}}}"
FAILED: Final = f'cdn_issuer_requests_total{{{OF},outcome="failed"}}'
BY_ISSUER: Final = "issuer_namespace, issuer"
BY_AUTHORITY: Final = f"{BY_ISSUER}, authority"
STATES: Final = {
    "0": {"text": "closed", "color": "green", "index": 0},
    "1": {"text": "half-open", "color": "yellow", "index": 1},
    "2": {"text": "open", "color": "red", "index": 2},
}


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: over it.
        about: what is seen, and what to do about it.
        queries: expression and legend of each.
        unit: one of Grafana's.
        kind: one of Grafana's: `timeseries`, `stat`, `table`, `state-timeline`.
        width: in columns of 24.
        bad_from: value from which a number is red, and below which it is green; None: no colour.
        mappings: texts of values.
    """

    title: str
    about: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    bad_from: float | None = None
    mappings: dict[str, Any] = field(default_factory=dict)


def new(metric: str) -> str:
    """How much a counter has grown, from 0 where its series is new."""
    return f"((({metric}) unless ({metric} offset $__rate_interval)) or increase({metric}[$__rate_interval]))"


def quantiles(histogram: str, by: str, legend: str) -> tuple[tuple[str, str], ...]:
    """Median and 99th percentile of a histogram."""
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({by}, le) (rate({histogram}[$__rate_interval])))",
            f"p{q * 100:.0f} {legend}",
        )
        for q in (0.5, 0.99)
    )


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Overview": (
        Panel(
            "Issuers that can sign",
            "Issuers with an authority that can sign, or is not known not to.",
            ((f"sum(cdn_issuer_issuer_ready{{{OF}}})", ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Issuers that cannot sign",
            "No authority of theirs can sign: requests wait, and fail at their deadline. Runbook: "
            "docs/alerts.md#cdnissuernoauthorityavailable",
            ((f"sum(1 - cdn_issuer_issuer_ready{{{OF}}})", ""),),
            kind="stat",
            width=4,
            bad_from=1,
        ),
        Panel(
            "Requests pending",
            "Approved requests that have not ended.",
            ((f"sum(cdn_issuer_pending_requests{{{OF}}}) or vector(0)", ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Oldest pending request",
            "Since its approval. Runbook: docs/alerts.md#cdnissuerrequestpending",
            ((f"max(cdn_issuer_oldest_pending_request_age_seconds{{{OF}}}) or vector(0)", ""),),
            unit="s",
            kind="stat",
            width=4,
            bad_from=900,
        ),
        Panel(
            "Requests not approved",
            "No approver has spoken about them. Runbook: docs/alerts.md#cdnissuerrequestsunapproved",
            ((f"max(cdn_issuer_unapproved_requests{{{INSTALLED}}})", ""),),
            kind="stat",
            width=4,
            bad_from=1,
        ),
        Panel(
            "Controllers that lead",
            "One for each installation. Runbook: docs/alerts.md#cdnissuernoleader",
            ((f"sum(cdn_issuer_leader{{{INSTALLED}}})", ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Failed requests by cause",
            "invalidrequest, rejected, unsupported, issuernotfound are mistakes in requests; the others are outages. "
            "Runbook: docs/alerts.md#cdnissuerrequestsfailedbyoutage",
            ((f"sum by (cause) ({new(FAILED)})", "{{cause}}"),),
            width=12,
        ),
        Panel(
            "Alerts",
            "Alerts that fire; what to do is in docs/alerts.md, by their names.",
            (
                (
                    (
                        "max by (alertname, authority, issuer_namespace, issuer) ("
                        f'ALERTS{{alertname=~"CDNIssuer.+",alertstate="firing",{INSTALLED}}})'
                    ),
                    f"{{{{alertname}}}} {ISSUER}",
                ),
            ),
            kind="state-timeline",
            width=12,
            mappings={"1": {"text": "fires", "color": "red", "index": 0}},
        ),
    ),
    "Authorities": (
        Panel(
            "State now",
            "As in status.authorities. Open: docs/alerts.md#cdnissuerauthoritydown. Unauthorized, SecretNotFound, "
            "Misconfigured: docs/alerts.md#cdnissuercredentialrefused",
            ((f"max by ({BY_AUTHORITY}, state) (cdn_issuer_authority_state{{{OF}}})", ""),),
            kind="table",
            width=12,
        ),
        Panel(
            "Circuit breakers",
            "Open: the authority is not called. Half-open: one request probes it. "
            "Runbook: docs/alerts.md#cdnissuerauthoritydown",
            (
                (
                    (
                        f'max by ({BY_AUTHORITY}) (2 * cdn_issuer_breaker_state{{{OF},state="open"}}'
                        f' or cdn_issuer_breaker_state{{{OF},state="half-open"}}'
                        f' or 0 * cdn_issuer_breaker_state{{{OF},state="closed"}})'
                    ),
                    AUTHORITY,
                ),
            ),
            kind="state-timeline",
            width=12,
            mappings=STATES,
        ),
        Panel(
            "Calls to sign, by outcome",
            "What is not ok by authority is its error rate.",
            (
                (
                    (
                        f"sum by ({BY_AUTHORITY}, result) "
                        f'(rate(cdn_issuer_authority_calls_total{{{OF},call="sign"}}[$__rate_interval]))'
                    ),
                    f"{AUTHORITY} {{{{result}}}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "Time of a call to sign",
            "Without the wait for our own limits.",
            quantiles(
                f'cdn_issuer_authority_call_duration_seconds_bucket{{{OF},call="sign"}}', BY_AUTHORITY, AUTHORITY
            ),
            unit="s",
        ),
        Panel(
            "Rate limit left",
            "Share of limits.requestsPerSecond that is free. Runbook: docs/alerts.md#cdnissuerratelimitnearlyused",
            ((f"1 - max by ({BY_AUTHORITY}) (cdn_issuer_authority_rate_limit_used_ratio{{{OF}}})", AUTHORITY),),
            unit="percentunit",
        ),
        Panel(
            "Requests that wait for a limit",
            "On average: own is limits of the issuer, provider a rate limit that it has declared.",
            (
                (
                    (
                        f"sum by ({BY_AUTHORITY}, limit) "
                        f"(rate(cdn_issuer_limit_wait_seconds_total{{{OF}}}[$__rate_interval]))"
                    ),
                    f"{AUTHORITY} {{{{limit}}}}",
                ),
            ),
        ),
        Panel(
            "Failovers",
            "Certificates signed by a later authority. Runbook: docs/alerts.md#cdnissuerissuingfromfallback",
            (
                (
                    f"sum by ({BY_ISSUER}, from, to, cause) ({new(f'cdn_issuer_failovers_total{{{OF}}}')})",
                    f"{ISSUER} {{{{from}}}} to {{{{to}}}}: {{{{cause}}}}",
                ),
            ),
        ),
        Panel(
            "Breakers opened",
            "Openings that end between two scrapes are seen here only.",
            ((f"sum by ({BY_AUTHORITY}) ({new(f'cdn_issuer_breaker_opened_total{{{OF}}}')})", AUTHORITY),),
        ),
        Panel(
            "Certificates that may be left behind",
            "An answer was lost, and no look at the provider has said yet what came of it. One that stays for hours: "
            "the provider cannot be asked.",
            ((f"sum by ({BY_AUTHORITY}) (cdn_issuer_suspected_orphans{{{OF}}})", AUTHORITY),),
        ),
    ),
    "Requests": (
        Panel(
            "Requests ended",
            "By how they ended, and who signed.",
            (
                (
                    f"sum by (outcome, authority) ({new(f'cdn_issuer_requests_total{{{OF}}}')})",
                    "{{outcome}} {{authority}}",
                ),
            ),
        ),
        Panel(
            "From approval to the end",
            "Of all issuers. A 99th percentile of minutes: authorities are slow or down, or limits are too low.",
            quantiles(
                f"cdn_issuer_request_duration_seconds_bucket{{{INSTALLED}}}",
                "outcome, authority",
                "{{outcome}} {{authority}}",
            ),
            unit="s",
        ),
        Panel(
            "Requests pending",
            "Approved and not ended. Runbook: docs/alerts.md#cdnissuerrequestpending",
            ((f"sum by ({BY_ISSUER}) (cdn_issuer_pending_requests{{{OF}}})", ISSUER),),
        ),
        Panel(
            "Age of the oldest pending request",
            "It fails at the deadline of its issuer.",
            (
                (
                    f"max by ({BY_ISSUER}) (cdn_issuer_oldest_pending_request_age_seconds{{{OF}}})",
                    ISSUER,
                ),
            ),
            unit="s",
        ),
        Panel(
            "Passes repeated",
            "Passes over the authorities of an issuer beyond the first of each request: they rise while none signs.",
            ((f"sum by ({BY_ISSUER}) ({new(f'cdn_issuer_request_retries_total{{{OF}}}')})", ISSUER),),
        ),
        Panel(
            "Attempts repeated within a pass",
            "By authority, and by the cause of the failure before.",
            (
                (
                    f"sum by ({BY_AUTHORITY}, cause) ({new(f'cdn_issuer_authority_retries_total{{{OF}}}')})",
                    f"{AUTHORITY} {{{{cause}}}}",
                ),
            ),
        ),
    ),
    "Certificates": (
        Panel(
            "Certificates by signer",
            "The newest of each Certificate in the cluster.",
            ((f"sum by ({BY_AUTHORITY}) (cdn_issuer_certificates{{{OF}}})", AUTHORITY),),
        ),
        Panel(
            "Certificates by days left",
            "The least of the whole days that are left. Growing numbers at few days: renewals do not come through.",
            ((f"sum by (days_left) (cdn_issuer_certificates{{{OF}}})", "{{days_left}}"),),
        ),
        Panel(
            "First end of a certificate whose renewal fails",
            "None while no renewal waits or has failed. Runbook: docs/alerts.md#cdnissuercertificateexpiressoon",
            (
                (
                    f"min by ({BY_ISSUER}) (cdn_issuer_failing_renewal_expires_in_seconds{{{OF}}})",
                    ISSUER,
                ),
            ),
            unit="s",
        ),
        Panel(
            "What is wrong with Certificates",
            "An event on each says what to do; KeyNotRotated is for information. Runbook: "
            "docs/alerts.md#cdnissuerchainexpires",
            ((f"max by (finding) (cdn_issuer_certificate_findings{{{INSTALLED}}}) > 0", "{{finding}}"),),
            width=24,
        ),
    ),
    "The controller": (
        Panel(
            "Leader",
            "1 for the replica that works. Runbook: docs/alerts.md#cdnissuernoleader",
            ((f"max by (namespace, pod) (cdn_issuer_leader{{{INSTALLED}}})", "{{namespace}}/{{pod}}"),),
        ),
        Panel(
            "Silence of watches",
            "Below a minute and a half in ordinary operation. Runbook: docs/alerts.md#cdnissuerwatchstale",
            ((f"max by (pod, resource) (cdn_issuer_watch_silence_seconds{{{INSTALLED}}})", "{{pod}} {{resource}}"),),
            unit="s",
        ),
        Panel(
            "Queues",
            "Keys that wait for their turn.",
            ((f"max by (pod, queue) (cdn_issuer_queue_depth{{{INSTALLED}}})", "{{pod}} {{queue}}"),),
        ),
        Panel(
            "Calls to the Kubernetes API",
            "403: a right is missing. 409: another client has changed the object; it is read again.",
            (
                (
                    f"sum by (verb, code) (rate(cdn_issuer_kube_api_calls_total{{{INSTALLED}}}[$__rate_interval]))",
                    "{{verb}} {{code}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "Time of a write to the Kubernetes API",
            "Statuses, Events and the Lease.",
            quantiles(
                f'cdn_issuer_kube_api_call_duration_seconds_bucket{{{INSTALLED},verb=~"create|update|patch"}}',
                "verb",
                "{{verb}}",
            ),
            unit="s",
        ),
        Panel(
            "Requests found by the resync",
            "Any is a defect. Runbook: docs/alerts.md#cdnissuerhealedlook",
            ((f"sum by (pod) (increase(cdn_issuer_resync_healed_total{{{INSTALLED}}}[$__rate_interval]))", "{{pod}}"),),
        ),
        Panel(
            "Lag of the event loop",
            "The longest within a minute. Above a second: the CPU limit is too low, or the node is busy.",
            ((f"max by (pod) (cdn_issuer_event_loop_lag_seconds{{{INSTALLED}}})", "{{pod}}"),),
            unit="s",
        ),
        Panel(
            "Memory",
            "Resident; it grows with the requests and Secrets that are cached.",
            ((f"max by (pod) (process_resident_memory_bytes{{{INSTALLED}}})", "{{pod}}"),),
            unit="bytes",
        ),
        Panel(
            "CPU",
            "Cores in use; one is the most.",
            ((f"max by (pod) (rate(process_cpu_seconds_total{{{INSTALLED}}}[$__rate_interval]))", "{{pod}}"),),
        ),
    ),
}
