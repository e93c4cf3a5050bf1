"""CDNIssuer and CDNClusterIssuer: the specification a user writes. The status that we write is in `issuerstatus`.

These structs are the one source of the CRDs: `issuer.api.schema` turns them, with the descriptions, defaults and bounds
given here, into OpenAPI schemas, and `issuer.api.spec` reads objects with them. What is particular to one kind of
authority (`cloudflare`, `ca`) is declared in that authority's own module and joined in through the registry, so this
module does not change when a kind is added.

What another version of this project wrote is read as far as it can be: CRDs are installed before the controller that
goes with them, and stay when it is rolled back. A field that is not known here is passed over (the API server drops
what its schema does not know, so it is no typo), and so is a status that cannot be read: it is ours to write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from issuer.api import condition
from issuer.api.duration import Duration
from issuer.api.fields import bounds
from issuer.api.issuerstatus import IssuerStatus
from issuer.api.meta import ObjectMeta

if TYPE_CHECKING:
    from issuer.api.condition import Condition

GROUP: Final = "cdn-issuer.io"
VERSION: Final = "v1alpha1"
ISSUER_KIND: Final = "CDNIssuer"
CLUSTER_ISSUER_KIND: Final = "CDNClusterIssuer"
PLURALS: Final = {ISSUER_KIND: "cdnissuers", CLUSTER_ISSUER_KIND: "cdnclusterissuers"}

IN_PROCESS: Final = frozenset({"ca"})
"""Kinds of authority that make no call: nothing is waited for or spared there."""
CALLS_ONLY: Final = ("timeouts", "limits")
"""Fields that are about calls, by their names in YAML; they mean nothing for those kinds."""
REHEARSE_AT: Final = f"{GROUP}/rehearse-at"
"""Annotation of an issuer: when a rehearsal was asked for (RFC 3339). Each new value has each authority rehearsed once,
whatever clock it is from: what was seen to is in the status (`RehearsalStatus.requested_at`), as Flux has it."""
REHEARSE_AUTHORITIES: Final = f"{GROUP}/rehearse-authorities"
"""Annotation of an issuer: names of the authorities that `REHEARSE_AT` is about, with commas between; absent: all."""
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

FailoverCause = Literal["Unavailable", "RateLimited", "Unauthorized", "Rejected"]
Trust = Literal["Signer", "All"]
FailbackMode = Literal["Never", "WhenStable"]
AuthorityMode = Literal["Active", "Draining", "Disabled"]


def no_effect(kind: str, name: str) -> str:
    """What is said of a field about calls at an authority that makes none; the same in the CRD and in conditions."""
    return f"{name} have no effect on a {kind}, which signs in process; leave them out"


MAX_NAME: Final = 253
"""Characters of an object's name (Kubernetes: DNS subdomain names)."""
SecretName = Annotated[str, Meta(description="Name of the Secret.", min_length=1, max_length=MAX_NAME)]


class SecretReference(Struct, frozen=True):
    """Names a Secret, in the issuer's namespace or, for a CDNClusterIssuer, in the cluster resource namespace."""

    name: SecretName


class SecretKeyReference(Struct, frozen=True):
    """Names one key of a Secret."""

    name: SecretName
    key: Annotated[str, Meta(description="Key within the Secret.", min_length=1, max_length=253)]


class Timeouts(Struct, frozen=True):
    """How long a call to this authority may take."""

    connect: Annotated[
        Duration, bounds("100ms", "1m", "Longest wait for a connection, including the TLS handshake.")
    ] = Duration("5s")
    read: Annotated[
        Duration,
        bounds("100ms", "10m", "Longest silence while waiting for the answer. Many names take long to sign."),
    ] = Duration("60s")
    attempt: Annotated[
        Duration,
        bounds(
            "100ms",
            "10m",
            "Longest time for one attempt as a whole, not longer than the deadline. Unless given, 60s, or as long as "
            "the turn or the deadline if that is shorter.",
            yields=True,
        ),
    ] = Duration("60s")
    turn: Annotated[
        Duration,
        bounds(
            "100ms",
            "1h",
            "Longest time for all attempts of one go at this authority; it ends an attempt too. Unless given, 2m, or "
            "as long as the attempt if that is longer.",
            yields=True,
        ),
    ] = Duration("2m")


class Retry(Struct, frozen=True, rename="camel"):
    """How often and how fast an attempt is repeated within a turn, with full jitter."""

    attempts: Annotated[int, Meta(description="Attempts in one turn, the first included.", ge=1, le=10)] = 3
    min_backoff: Annotated[
        Duration,
        bounds(
            "1ms",
            "1m",
            "Upper bound of the first wait between attempts, not longer than maxBackoff. Unless given, 500ms, or as "
            "long as maxBackoff if that is shorter.",
            not_above="maxBackoff",
            yields=True,
        ),
    ] = Duration("500ms")
    max_backoff: Annotated[
        Duration,
        bounds(
            "1ms",
            "10m",
            "Upper bound of any wait between attempts. Unless given, 20s, or as long as minBackoff if that is longer.",
            yields=True,
        ),
    ] = Duration("20s")


class CircuitBreaker(Struct, frozen=True, rename="camel"):
    """When this authority counts as down, and how long it is left alone then."""

    consecutive_failures: Annotated[
        int,
        Meta(
            description="Consecutive failures (timeouts, connection errors, 5xx) that open it.",
            ge=1,
            le=100,
        ),
    ] = 3
    open_for: Annotated[
        Duration,
        bounds(
            "100ms",
            "1h",
            "How long nothing is sent after the breaker opens, not longer than maxOpenFor; doubled after each failed "
            "probe. Unless given, 30s, or as long as maxOpenFor if that is shorter.",
            not_above="maxOpenFor",
            yields=True,
        ),
    ] = Duration("30s")
    max_open_for: Annotated[
        Duration,
        bounds(
            "100ms",
            "6h",
            "Longest time between two probes. Unless given, 5m, or as long as openFor if that is longer.",
            yields=True,
        ),
    ] = Duration("5m")


class Limits(Struct, frozen=True, rename="camel"):
    """How much is asked of this authority, over all issuers that use the same endpoint and credential."""

    requests_per_second: Annotated[float, Meta(description="Sustained calls a second.", ge=0.01, le=10000)] = 4.0
    burst: Annotated[int, Meta(description="Calls that may go out at once after a quiet time.", ge=1, le=10000)] = 8
    in_flight: Annotated[int, Meta(description="Calls that may be under way at the same time.", ge=1, le=1000)] = 10


class AuthorityCommon(Struct, frozen=True, kw_only=True, rename="camel"):
    """The fields that every kind of authority has."""

    name: Annotated[
        str,
        Meta(
            description="Name of this authority, unique in the list; shown in conditions, events and metrics.",
            min_length=1,
            max_length=63,
            pattern=NAME_PATTERN,
        ),
    ]
    timeouts: Annotated[
        Timeouts, Meta(description="How long a call may take. Not for a ca, which signs in process.")
    ] = Timeouts()
    retry: Annotated[Retry, Meta(description="How an attempt is repeated.")] = Retry()
    circuit_breaker: Annotated[CircuitBreaker, Meta(description="When this authority counts as down.")] = (
        CircuitBreaker()
    )
    limits: Annotated[
        Limits,
        Meta(
            description="How much is asked of this endpoint and credential, over all issuers that share them. Not for "
            "a ca, which signs in process."
        ),
    ] = Limits()
    ca_bundle: Annotated[
        str,
        Meta(
            description="Root certificates of this authority, as PEM or base64 of PEM. They become `ca.crt`, "
            "and what it signs must chain up to one of them. Without them, what the authority itself knows becomes "
            "`ca.crt`: the Origin CA's own roots at Cloudflare's endpoint, and what the Secret of a `ca` holds.",
            max_length=262144,
        ),
    ] = ""
    ca_bundle_secret_ref: Annotated[
        SecretKeyReference | None,
        Meta(description="The root certificates, from a Secret. Not together with caBundle."),
    ] = None
    state: Annotated[
        AuthorityMode,
        Meta(
            description="Active: it signs. Draining: it signs nothing new, and Certificates that it signed are issued "
            "again by the others, failback.perMinute of them; the status counts what is left. Disabled: it signs "
            "nothing, and its roots are no longer among those that `trust: All` gives."
        ),
    ] = "Active"


class Failover(Struct, frozen=True):
    """When the next authority is asked."""

    on: Annotated[
        tuple[Annotated[FailoverCause, Meta(description="A kind of failure.")], ...],
        Meta(description="Failures of an authority after which the next one is asked.", max_length=4),
    ] = ("Unavailable", "RateLimited", "Unauthorized")


class Recovery(Struct, frozen=True, rename="camel"):
    """What is done after an outage without anybody's typing a command."""

    renew_after_outage: Annotated[
        bool,
        Meta(
            description="Start the issuance of Certificates again whose requests failed because no authority could "
            "sign, once one can: cert-manager alone waits for 1 to 32 hours. One is the probe; when it is signed, "
            "the others follow."
        ),
    ] = True
    per_minute: Annotated[
        int, Meta(description="Certificates of this issuer that are started again in a minute.", ge=1, le=600)
    ] = 30


class Cleanup(Struct, frozen=True, rename="camel"):
    """Which failed requests are deleted."""

    failed_after: Annotated[
        Duration, bounds("1h", "8760h", "How long after its failure a request of a Certificate is deleted.")
    ] = Duration("24h")
    keep: Annotated[
        int, Meta(description="The newest failed requests of each Certificate that stay, however old.", ge=1, le=100)
    ] = 3


class Failback(Struct, frozen=True, rename="camel"):
    """What is done with Certificates that another authority should have signed."""

    mode: Annotated[
        FailbackMode,
        Meta(
            description="WhenStable: Certificates whose present certificate was signed by a later authority are issued "
            "again once an earlier one has been able to sign for stableFor. Never: they stay until their renewal."
        ),
    ] = "Never"
    stable_for: Annotated[
        Duration, bounds("10s", "168h", "How long an authority must have been able to sign without a failure.")
    ] = Duration("15m")
    per_minute: Annotated[
        int,
        Meta(
            description="Certificates of this issuer that are issued again in a minute, for failback and draining.",
            ge=1,
            le=600,
        ),
    ] = 10


class Rehearsal(Struct, frozen=True, kw_only=True, rename={"dns_names": "dnsNames"}):
    """A signature that nobody needs, to see that an authority signs before it has to."""

    dns_names: Annotated[
        tuple[Annotated[str, Meta(description="A hostname.", min_length=1, max_length=253)], ...],
        Meta(
            description="Hostnames that every authority of the issuer may sign, in a zone of yours and used by nobody. "
            "The key is thrown away, and the certificate is revoked where the authority can do that.",
            min_length=1,
            max_length=10,
        ),
    ]
    every: Annotated[
        Duration, bounds("1h", "720h", "Time without a signature after which an authority signs one for nobody.")
    ] = Duration("24h")


class SpecCommon(Struct, frozen=True):
    """Which authorities sign, and for how long they are tried.

    The fields of a specification beside its list of authorities.
    """

    deadline: Annotated[
        Duration,
        bounds("1s", "720h", "Time from the approval after which a request that nobody could sign is Failed."),
    ] = Duration("1h")
    failover: Annotated[Failover, Meta(description="When the next authority is asked.")] = Failover()
    trust: Annotated[
        Trust,
        Meta(
            description="Whose roots go into ca.crt: those of the authority that signed (Signer), or of all of them, "
            "the signer's first (All), so that who trusts ca.crt alone survives a failover and the way back."
        ),
    ] = "Signer"
    recovery: Annotated[Recovery, Meta(description="What is done once an authority can sign again.")] = Recovery()
    failback: Annotated[
        Failback, Meta(description="What is done with Certificates that another authority should have signed.")
    ] = Failback()
    cleanup: Annotated[Cleanup, Meta(description="Which failed requests are deleted.")] = Cleanup()
    rehearsal: Annotated[
        Rehearsal | None,
        Meta(description="Have each authority that has not signed for a while sign for nobody. Off unless given."),
    ] = None


class AuthoritySpec(Struct, frozen=True, kw_only=True):
    """One entry of the list: the common fields, and the configuration of its kind, not yet decoded."""

    common: AuthorityCommon
    kind: str
    config: msgspec.Raw

    @property
    def name(self) -> str:
        """The authority's name."""
        return self.common.name


class IssuerSpec(Struct, frozen=True, kw_only=True):
    """A specification that has passed every check that needs no cluster."""

    authorities: tuple[AuthoritySpec, ...]
    deadline: Duration
    failover: Failover
    trust: Trust = "Signer"
    recovery: Recovery = Recovery()
    failback: Failback = Failback()
    cleanup: Cleanup = Cleanup()
    rehearsal: Rehearsal | None = None
    ignored: tuple[str, ...] = ()
    """What this version does not know: paths of fields, and values. They come from the CRD of another version."""
    without_effect: tuple[str, ...] = ()
    """Fields that mean nothing where they are, each in a clause. An older CRD took them."""


class Issuer(Struct, frozen=True):
    """A CDNIssuer or CDNClusterIssuer. What it holds stays raw, so that nonsense is a value, not a crash."""

    metadata: ObjectMeta
    spec: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"{}"))
    raw_status: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"{}"), name="status")

    @property
    def status(self) -> IssuerStatus:
        """What was said of it last; empty if nothing was, or if it cannot be read."""
        try:
            return msgspec.json.decode(self.raw_status, type=IssuerStatus)
        except msgspec.DecodeError:
            return IssuerStatus()

    @property
    def kind(self) -> str:
        """CDNIssuer if it has a namespace, CDNClusterIssuer if not."""
        return ISSUER_KIND if self.metadata.namespace else CLUSTER_ISSUER_KIND

    @property
    def ready(self) -> Condition | None:
        """Its Ready condition."""
        return condition.find(self.status.conditions, condition.READY)
