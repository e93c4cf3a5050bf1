"""Every metric that there is: its name, what it counts, and its labels. `docs/metrics.md` is written from here.

Issuers have the same three labels everywhere, so that series can be joined. Causes of failures are the classes of
`issuer.authorities.errors`, and for requests those of `decision.Fail`, in lower case.

States are told by a series for the present one alone, with the value 1: of eight states of each authority of each
issuer seven would be zeros. An alert on a state clears all the same, since Prometheus takes a series that is missing
from a scrape for ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "cdn_issuer_"
ISSUER: Final = ("issuer_kind", "issuer_namespace", "issuer")
AUTHORITY: Final = (*ISSUER, "authority")

TO_THE_END: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
"""Seconds from approval to the end of a request; a day is the longest that is told apart."""
CALL: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120)
"""Seconds of a call. A certificate with a hundred names has been seen to take 43."""
API_CALL: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds of a call to the Kubernetes API, which is given up after 10 by default."""
DAYS_LEFT: Final = (0, 1, 3, 7, 14, 30, 90)
"""Whole days until a certificate expires that are told apart."""

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        short: its name without the prefix that all have, and without a counter's `_total`.
        kind: its type.
        help: what it is, as a sentence.
        labels: their names.
        buckets: upper bounds of a histogram's.
        look: what to look for in it, or to alert on, for the documentation.
    """

    short: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    look: str = ""

    @property
    def base(self) -> str:
        """As prometheus_client wants it."""
        return PREFIX + self.short

    @property
    def name(self) -> str:
        """As a query has it."""
        return self.base + "_total" * (self.kind == "counter")


# Requests.
REQUESTS: Final = Family(
    "requests",
    "counter",
    "Certificate requests that have ended, by how: outcome is issued, failed or denied; cause says why it failed.",
    (*ISSUER, "outcome", "cause", "authority"),
    look="Alert on the causes of an outage (`CDNIssuerRequestsFailedByOutage`). `invalidrequest`, `rejected`, "
    "`unsupported` and `issuernotfound` are mistakes in a request.",
)
REQUEST_DURATION: Final = Family(
    "request_duration_seconds",
    "histogram",
    "Time from the approval of a certificate request to its end.",
    ("outcome", "authority"),
    TO_THE_END,
    look="A 99th percentile of minutes: authorities are slow or down, or limits are too low.",
)
PENDING: Final = Family(
    "pending_requests", "gauge", "Approved certificate requests that have not ended, where there are any.", ISSUER
)
OLDEST_PENDING: Final = Family(
    "oldest_pending_request_age_seconds",
    "gauge",
    "Time since the approval of the request that waits longest, where one waits.",
    ISSUER,
    look="Alert: `CDNIssuerRequestPending`.",
)
UNAPPROVED: Final = Family(
    "unapproved_requests",
    "gauge",
    "Certificate requests that no approver has spoken about.",
    look="Alert: `CDNIssuerRequestsUnapproved`.",
)
REQUEST_RETRIES: Final = Family(
    "request_retries",
    "counter",
    "Passes over the authorities of an issuer beyond the first of each request.",
    ISSUER,
    look="It rises while no authority signs.",
)
LATE_WRITES: Final = Family(
    "late_writes",
    "counter",
    "Ends of requests that the API server did not take at the first try, and took later.",
    look="It rises when the API server is slow or refuses writes; nothing was lost.",
)
CLEANED_UP: Final = Family(
    "cleaned_up_requests", "counter", "Failed requests that were deleted (`spec.cleanup`).", ISSUER
)
WRITE_FAILURES: Final = Family(
    "status_write_failures",
    "counter",
    "Writes of a request's status that failed and are tried again, by what was to be written.",
    ("verdict",),
)
DROPPED_RESULTS: Final = Family(
    "dropped_results",
    "counter",
    "Results that had no one to go to, because the request was gone or had ended without us.",
    ("reason",),
)
HEALED: Final = Family(
    "resync_healed",
    "counter",
    "Requests that a resync found lost; any is a defect.",
    look="Alert on any: `CDNIssuerHealedLook`.",
)

# Issuers and authorities, from the replica that leads.
ISSUER_READY: Final = Family(
    "issuer_ready",
    "gauge",
    "1 if some authority of the issuer can sign, or is not known not to, else 0.",
    ISSUER,
    look="Alert on 0: `CDNIssuerNoAuthorityAvailable`.",
)
ACTIVE_POSITION: Final = Family(
    "issuer_active_position",
    "gauge",
    "Place in the issuer's list of the first authority that can sign, 0 for the first choice; none while none can.",
    ISSUER,
    look="Alert on a fallback that goes on: `CDNIssuerIssuingFromFallback`.",
)
REHEARSALS: Final = Family(
    "rehearsals",
    "counter",
    "Rehearsals (`spec.rehearsal`), by how they went: result is succeeded or failed.",
    (*AUTHORITY, "result"),
)
LAST_REHEARSAL: Final = Family(
    "last_rehearsal_success",
    "gauge",
    "1 if the last rehearsal of an authority by this process succeeded, or it has signed since, 0 if it failed.",
    AUTHORITY,
    look="Alert on 0: `CDNIssuerRehearsalFailed`.",
)
AUTHORITY_STATE: Final = Family(
    "authority_state",
    "gauge",
    "1 for the state that an authority is in, as in status.authorities; other states have no series.",
    (*AUTHORITY, "state"),
    look="Alerts: `CDNIssuerAuthorityDown` on `Open`, `IssuerNotFound` and `IssuerNotReady`, "
    "`CDNIssuerCredentialRefused` on `Unauthorized`, `SecretNotFound` and `Misconfigured`.",
)
BREAKER_STATE: Final = Family(
    "breaker_state",
    "gauge",
    "1 for the state that an authority's circuit breaker is in (closed, half-open, open); others have no series.",
    (*AUTHORITY, "state"),
    look="Authorities with the same endpoint and credential share a breaker.",
)
LIMIT_USED: Final = Family(
    "authority_rate_limit_used_ratio",
    "gauge",
    "Share of limits.requestsPerSecond that was used lately (over about a minute), 1 if all of it.",
    AUTHORITY,
    look="Alert above 0.9: `CDNIssuerRateLimitNearlyUsed`.",
)
SUSPECTED_ORPHANS: Final = Family(
    "suspected_orphans",
    "gauge",
    "Requests that may have left a certificate at a provider that nobody received, because an answer was lost or is "
    "not settled yet.",
    AUTHORITY,
    look="No damage in itself: each lost answer counts until a look at the provider says what came of it, minutes "
    "later. One that stays for hours: the provider cannot be asked.",
)
ISSUERS_LEFT_OUT: Final = Family(
    "issuers_left_out",
    "gauge",
    "Issuers whose state has no series here, because there are more than are told apart.",
    look="Above 0: the gauges of issuers are not complete. Those with trouble come first.",
)

# Certificates, from the replica that leads.
CERTIFICATES: Final = Family(
    "certificates",
    "gauge",
    "Newest certificates of our requests in the cluster by signer, and by the least of the whole days that are left "
    "(expired, 0, 1, 3, 7, 14, 30, 90); counted once a minute.",
    (*AUTHORITY, "days_left"),
    look="Growing numbers at few days: renewals do not come through.",
)
FAILING_RENEWAL: Final = Family(
    "failing_renewal_expires_in_seconds",
    "gauge",
    "Time until the first certificate expires whose renewal waits or has failed; none while there is none.",
    ISSUER,
    look="Alert below three days: `CDNIssuerCertificateExpiresSoon`.",
)
CERTIFICATE_FINDINGS: Final = Family(
    "certificate_findings",
    "gauge",
    "Certificates of our issuers with something wrong, by what; an event on each says what to do.",
    ("finding",),
    look="Alert: `CDNIssuerChainExpires`. What each finding is: [troubleshooting](troubleshooting.md).",
)
AWAITING_RENEWAL: Final = Family(
    "certificates_awaiting_renewal",
    "gauge",
    "Certificates whose requests failed in an outage and that are not issued again yet.",
    ISSUER,
    look="It falls by up to recovery.perMinute once an authority signs again, and stays where none does.",
)
RENEWED: Final = Family(
    "certificates_renewed_after_outage",
    "counter",
    "Issuances that were started again because their request had failed in an outage, probes included.",
    ISSUER,
)

TO_MOVE: Final = Family(
    "certificates_awaiting_move",
    "gauge",
    "Certificates that are to be issued again by another authority than the one that signed them, as it is draining "
    "or an earlier one can sign again (`why`: draining, failback).",
    (*AUTHORITY, "why"),
    look="It falls by up to failback.perMinute; where it stays, no other authority can sign them.",
)
MOVED: Final = Family(
    "certificates_moved",
    "counter",
    "Issuances that were started so that another authority signs, by why.",
    (*ISSUER, "why"),
)

# Calls to authorities.
CALLS: Final = Family(
    "authority_calls",
    "counter",
    "Calls to authorities by what came of them.",
    (*AUTHORITY, "call", "result"),
    look='The share of `result!="ok"` of call `sign` is the error rate of the authority.',
)
CALL_DURATION: Final = Family(
    "authority_call_duration_seconds",
    "histogram",
    "Time of a call to an authority, without the wait for our own limits.",
    (*AUTHORITY, "call"),
    CALL,
)
RETRIES: Final = Family(
    "authority_retries",
    "counter",
    "Attempts at an authority that were repeated within a pass, by the cause of the failure before.",
    (*AUTHORITY, "cause"),
)
LIMIT_WAIT: Final = Family(
    "limit_wait_seconds",
    "counter",
    "Time that requests waited for a limit: `own` is limits of the issuer, `provider` a rate limit it has declared.",
    (*AUTHORITY, "limit"),
    look="Its rate is the number of requests that wait on average; raise limits if the provider allows more.",
)
BREAKER_OPENED: Final = Family(
    "breaker_opened",
    "counter",
    "Times that a circuit breaker opened, by the authority that used it last.",
    AUTHORITY,
    look="Openings that end between two scrapes are seen here only.",
)
FAILOVERS: Final = Family(
    "failovers",
    "counter",
    "Certificates signed by a later authority of the list.",
    (*ISSUER, "from", "to", "cause"),
    look="With `issuer_active_position`: `CDNIssuerIssuingFromFallback`.",
)
ADOPTED: Final = Family(
    "certificates_adopted",
    "counter",
    "Certificates whose answer was lost, found at the provider and delivered.",
    AUTHORITY,
)
ORPHANS: Final = Family(
    "orphaned_certificates",
    "counter",
    "Certificates that nobody received and that clean-up has dealt with: revoked, or unrevocable if the provider "
    "would not.",
    (*AUTHORITY, "outcome"),
)

# The controller itself.
LEADER: Final = Family(
    "leader", "gauge", "1 if this replica works, 0 if it stands by.", look="Alert on a sum of 0: `CDNIssuerNoLeader`."
)
QUEUE_DEPTH: Final = Family("queue_depth", "gauge", "Keys that wait for their turn.", ("queue",))
WATCH_SILENCE: Final = Family(
    "watch_silence_seconds",
    "gauge",
    "Time since a watch last heard from the API server.",
    ("resource",),
    look="Alert: `CDNIssuerWatchStale`. Below a minute and a half in ordinary operation, since the API server sends "
    "bookmarks.",
)
API_CALLS: Final = Family(
    "kube_api_calls",
    "counter",
    "Calls to the Kubernetes API.",
    ("verb", "resource", "code"),
    look="`403`: a right is missing.",
)
API_CALL_DURATION: Final = Family(
    "kube_api_call_duration_seconds",
    "histogram",
    "Time of a call to the Kubernetes API; of a watch, until it began.",
    ("verb",),
    API_CALL,
)
EVENTS_WRITTEN: Final = Family("events_written", "counter", "Kubernetes Events written or counted up.")
EVENTS_DROPPED: Final = Family(
    "events_dropped", "counter", "Kubernetes Events that were given up, by the reason.", ("reason",)
)
LOOP_LAG: Final = Family(
    "event_loop_lag_seconds", "gauge", "Longest time that the event loop was late within the last minute."
)
LABELS_CUT: Final = Family(
    "labels_cut",
    "counter",
    "Samples counted under the name (others), because there are more names than are told apart, by which.",
    ("label",),
    look="Above 0: counters of some issuers or authorities are mixed under (others); the log says so once.",
)
BUILD_INFO: Final = Family("build_info", "gauge", "Always 1; the labels say what runs.", ("version", "python"))

SECTIONS: Final[tuple[tuple[str, tuple[Family, ...]], ...]] = (
    (
        "Requests",
        (
            REQUESTS,
            REQUEST_DURATION,
            PENDING,
            OLDEST_PENDING,
            UNAPPROVED,
            REQUEST_RETRIES,
            LATE_WRITES,
            CLEANED_UP,
            WRITE_FAILURES,
            DROPPED_RESULTS,
            HEALED,
        ),
    ),
    (
        "Issuers and authorities",
        (
            ISSUER_READY,
            ACTIVE_POSITION,
            AUTHORITY_STATE,
            BREAKER_STATE,
            LIMIT_USED,
            LAST_REHEARSAL,
            REHEARSALS,
            SUSPECTED_ORPHANS,
            ISSUERS_LEFT_OUT,
        ),
    ),
    ("Certificates", (CERTIFICATES, FAILING_RENEWAL, CERTIFICATE_FINDINGS, AWAITING_RENEWAL, RENEWED, TO_MOVE, MOVED)),
    (
        "Calls to authorities",
        (CALLS, CALL_DURATION, RETRIES, LIMIT_WAIT, BREAKER_OPENED, FAILOVERS, ADOPTED, ORPHANS),
    ),
    (
        "The controller",
        (
            LEADER,
            QUEUE_DEPTH,
            WATCH_SILENCE,
            API_CALLS,
            API_CALL_DURATION,
            EVENTS_WRITTEN,
            EVENTS_DROPPED,
            LOOP_LAG,
            LABELS_CUT,
            BUILD_INFO,
        ),
    ),
)
"""All of them, as the documentation has them."""
FAMILIES: Final = tuple(family for _, families in SECTIONS for family in families)
