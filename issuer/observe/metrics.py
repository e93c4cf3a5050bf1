"""What Prometheus scrapes. Names and units follow Prometheus' conventions; nothing is labelled by request.

The rest of the program calls methods with plain values and never touches a Prometheus object, so names live here; but
what is counted at the moment of the scrape comes from a `Snapshot` that the program hands in, and there each controller
names its own `Measure`s.

Issuers have the same three labels everywhere, so that series can be joined. The causes of failures are the classes of
`issuer.authorities.errors`, in lower case.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from issuer import __version__
from issuer.api.issuer import CLUSTER_ISSUER_KIND, ISSUER_KIND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

TO_THE_END: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
"""Seconds from approval to the end of a request; a day is the longest that is told apart."""
CALL: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120)
"""Seconds of a call. A certificate with a hundred names has been seen to take 43."""
API_CALL: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds of a call to the Kubernetes API, which is given up after 10 by default."""
BREAKER_STATES: Final = ("closed", "half-open", "open")
MAX_ISSUERS: Final = 5000
"""Issuers that are told apart, of those that have called an authority, which only an issuer that exists can."""
MAX_NAMED: Final = 500
"""Issuers that are told apart, of those that were only named: a request may name one that does not exist, so users
could make any number. They take no place from those that exist."""
EVENT_LOSSES: Final = ("silenced", "queue_full", "failed", "stopped")
THE_REST: Final = "(others)"
"""The name of all issuers beyond that; no object of Kubernetes can have it."""

_ISSUER: Final = ("issuer_kind", "issuer_namespace", "issuer")


@dataclass(frozen=True, slots=True)
class Measure:
    """One gauge of a controller.

    Attributes:
        name: without the prefix that all have, with the unit.
        help: what it is, as a sentence.
        value: in base units.
    """

    name: str
    help: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is counted when Prometheus asks.

    Attributes:
        measures: of all controllers.
        queue_depth: keys that wait, by queue.
        leading: whether this replica works.
        watch_silence_seconds: since the API server was last heard of, by resource.
    """

    measures: Sequence[Measure]
    queue_depth: dict[str, int]
    leading: bool
    watch_silence_seconds: dict[str, float]


class Metrics:
    """All metrics of one controller, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._issuers: set[tuple[str, str, str]] = set()
        self._named: set[tuple[str, str, str]] = set()
        self._requests = self._counter(
            "requests", "Certificate requests that have ended.", (*_ISSUER, "outcome", "authority")
        )
        self._to_the_end = self._histogram(
            "request_duration_seconds",
            "Time from the approval of a certificate request to its end.",
            ("outcome",),
            TO_THE_END,
        )
        self._calls = self._counter(
            "authority_calls", "Calls to authorities by what came of them.", (*_ISSUER, "authority", "call", "result")
        )
        self._call_duration = self._histogram(
            "authority_call_duration_seconds",
            "Time of a call to an authority, without the wait for our own limits.",
            (*_ISSUER, "authority", "call"),
            CALL,
        )
        # A series for each state, so that a query names the state instead of a number that needs a legend, and an
        # average over time is the share of it that was spent open.
        self._breaker = self._gauge(
            "breaker_state",
            "1 for the state that the circuit breaker of an account is in, 0 for the others.",
            ("account", "authority", "state"),
        )
        self._healed = self._counter("resync_healed", "Requests that a resync found lost; any is a defect.")
        self._failovers = self._counter(
            "failovers", "Certificates signed by a later authority of the list.", (*_ISSUER, "from", "to", "cause")
        )
        self._api_calls = self._counter("kube_api_calls", "Calls to the Kubernetes API.", ("verb", "resource", "code"))
        self._api_call_duration = self._histogram(
            "kube_api_call_duration_seconds",
            "Time of a call to the Kubernetes API; of a watch, until it began.",
            ("verb",),
            API_CALL,
        )
        self._events_written = self._counter("events_written", "Kubernetes Events written or counted up.", ())
        self._events_dropped = self._counter(
            "events_dropped", "Kubernetes Events that were given up, by the reason.", ("reason",)
        )
        for reason in EVENT_LOSSES:
            self._events_dropped.labels(reason)
        self._loop_lag = self._gauge(
            "event_loop_lag_seconds", "Longest time that the event loop was late within the last minute."
        )
        build = self._gauge("build_info", "Always 1; the labels say what runs.", ("version", "python"))
        build.labels(__version__, platform.python_version()).set(1)
        self._at_scrape = _AtScrape()
        self._registry.register(self._at_scrape)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def request_finished(
        self,
        *,
        issuer_kind: str,
        issuer_namespace: str,
        issuer: str,
        outcome: str,
        authority: str,
        seconds: float,
    ) -> None:
        """A request has ended.

        Args:
            issuer_kind: kind of the issuer it names.
            issuer_namespace: its namespace, empty for a cluster-scoped one.
            issuer: its name.
            outcome: `issued`, `failed` or `denied`.
            authority: who signed; empty if nobody did.
            seconds: since the approval.
        """
        labels = self._labels(issuer_kind, issuer_namespace, issuer, exists=bool(authority))
        self._requests.labels(*labels, outcome, authority).inc()
        self._to_the_end.labels(outcome).observe(seconds)

    def authority_call(self, *, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        """A call to an authority has ended.

        Args:
            issuer: `namespace/name`, or `name` of a cluster-scoped one; empty if it is not known.
            authority: its name in that issuer.
            call: `sign`, `find`, `revoke` or `check`.
            result: `ok`, or what went wrong, by the name of the error; shown in lower case.
            seconds: how long it took, without the wait for our own limits.
        """
        labels = self._labels_of(issuer)
        self._calls.labels(*labels, authority, call, result.lower()).inc()
        self._call_duration.labels(*labels, authority, call).observe(seconds)

    def breaker(self, *, account: str, authority: str = "", state: str) -> None:
        """The breaker of an account has changed.

        Args:
            account: endpoint and credential, without the credential itself.
            authority: the name under which an issuer used the account last.
            state: one of `BREAKER_STATES`.
        """
        self.forget_account(account=account)
        for known in BREAKER_STATES:
            self._breaker.labels(account, authority, known).set(known == state)

    def failover(self, *, issuer: str, from_: str, to: str, cause: str) -> None:
        """`to` has signed, because `from_` failed with `cause`; the issuer as for `authority_call`."""
        self._failovers.labels(*self._labels_of(issuer), from_, to, cause.lower()).inc()

    def resync(self, healed: int) -> None:
        """Requests were taken up again that nobody would have looked at any more."""
        self._healed.inc(healed)

    def api_call(self, verb: str, resource: object, result: int | str, seconds: float) -> None:
        """A call to the Kubernetes API has ended; has the form of `KubeClient`'s observer.

        Args:
            verb: `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
            resource: what its `str` says.
            result: the HTTP status, or the name of the error if there was none.
            seconds: how long it took.
        """
        self._api_calls.labels(verb, str(resource), str(result)).inc()
        self._api_call_duration.labels(verb).observe(seconds)

    def event(self, outcome: str) -> None:
        """A Kubernetes Event was written (`written`), or given up for one of the reasons in `EVENT_LOSSES`."""
        if outcome == "written":
            self._events_written.inc()
        else:
            self._events_dropped.labels(outcome).inc()

    def loop_lag(self, seconds: float) -> None:
        """How late the event loop was."""
        self._loop_lag.set(seconds)

    def forget_issuer(self, *, kind: str, namespace: str, name: str) -> None:
        """An issuer is gone; so are its series."""
        self._issuers.discard((kind, namespace, name))
        self._named.discard((kind, namespace, name))
        gone = dict(zip(_ISSUER, (kind, namespace, name), strict=True))
        for metric in (self._requests, self._calls, self._call_duration, self._failovers):
            metric.remove_by_labels(gone)

    def forget_account(self, *, account: str) -> None:
        """Nobody uses the account any more, because its credential was rotated: an open breaker would stay for ever."""
        self._breaker.remove_by_labels({"account": account})

    def watch(self, snapshot: Callable[[], Snapshot]) -> None:
        """Say where to ask for what is counted at the scrape; it replaces what was said before."""
        self._at_scrape.snapshot = snapshot

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page for Prometheus, and its content type.

        Args:
            accept: the header `Accept` of the scrape; by default the oldest text format, which everybody reads.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _labels_of(self, issuer: str) -> tuple[str, str, str]:
        """The labels of `namespace/name`. Only what has a namespace has a slash."""
        namespace, _, name = issuer.rpartition("/")
        kind = (ISSUER_KIND if namespace else CLUSTER_ISSUER_KIND) if issuer else ""
        return self._labels(kind, namespace, name, exists=True)

    def _labels(self, kind: str, namespace: str, name: str, *, exists: bool) -> tuple[str, str, str]:
        """The labels of an issuer, or those of the rest. One that was only named before may turn out to exist."""
        labels = (kind, namespace, name)
        if labels in self._issuers:
            return labels
        if exists and len(self._issuers) < MAX_ISSUERS:
            self._named.discard(labels)
            self._issuers.add(labels)
            return labels
        if labels in self._named or (not exists and len(self._named) < MAX_NAMED):
            self._named.add(labels)
            return labels
        return ("", "", THE_REST)

    def _counter(self, name: str, help_: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"cdn_issuer_{name}", help_, labels, registry=self._registry)

    def _gauge(self, name: str, help_: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"cdn_issuer_{name}", help_, labels, registry=self._registry)

    def _histogram(self, name: str, help_: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"cdn_issuer_{name}", help_, labels, buckets=buckets, registry=self._registry)


class _AtScrape(Collector):
    """Asks the program at each scrape, once there is one to ask."""

    def __init__(self) -> None:
        self.snapshot: Callable[[], Snapshot] | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: the program is not asked before it runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        if self.snapshot is None:
            return
        now = self.snapshot()
        leading = Measure("leader", "1 if this replica works, 0 if it stands by.", float(now.leading))
        for measure in (*now.measures, leading):
            yield GaugeMetricFamily(f"cdn_issuer_{measure.name}", measure.help, measure.value)
        yield _by("queue", "queue_depth", "Keys that wait for their turn.", now.queue_depth)
        yield _by(
            "resource",
            "watch_silence_seconds",
            "Time since a watch last heard from the API server.",
            now.watch_silence_seconds,
        )


def _by(label: str, name: str, help_: str, values: dict[str, int] | dict[str, float]) -> Metric:
    family = GaugeMetricFamily(f"cdn_issuer_{name}", help_, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
