"""What Prometheus scrapes. Names and units follow Prometheus' conventions; nothing is labelled by request.

The rest of the program calls methods with plain values and never touches a Prometheus object. The metrics themselves
are declared in `families`; what is counted at the moment of the scrape comes from a `Snapshot` that the program hands
in, with the `Measure`s of each controller.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from issuer import __version__
from issuer.api.issuer import CLUSTER_ISSUER_KIND, ISSUER_KIND
from issuer.observe import families
from issuer.observe.labels import BoundedLabels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from issuer.observe.families import Family

EVENT_LOSSES: Final = ("silenced", "queue_full", "failed", "stopped")

# A series for the begin of each other one is a tenth of the page, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Measure:
    """One sample of a gauge.

    Attributes:
        family: of which, from `families`.
        value: in base units.
        labels: values, in the order of the family's.
    """

    family: Family
    value: float
    labels: tuple[str, ...] = ()


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
        self._cut = self._counter(families.LABELS_CUT)
        for label in ("issuer", "authority"):
            self._cut.labels(label)
        self._bounded = BoundedLabels(lambda label: self._cut.labels(label).inc())
        self._requests = self._counter(families.REQUESTS)
        self._to_the_end = self._histogram(families.REQUEST_DURATION)
        self._request_retries = self._counter(families.REQUEST_RETRIES)
        self._renewed = self._counter(families.RENEWED)
        self._moved = self._counter(families.MOVED)
        self._cleaned_up = self._counter(families.CLEANED_UP)
        self._late_writes = self._counter(families.LATE_WRITES)
        self._write_failures = self._counter(families.WRITE_FAILURES)
        self._dropped_results = self._counter(families.DROPPED_RESULTS)
        self._healed = self._counter(families.HEALED)
        self._calls = self._counter(families.CALLS)
        self._call_duration = self._histogram(families.CALL_DURATION)
        self._retries = self._counter(families.RETRIES)
        self._limit_wait = self._counter(families.LIMIT_WAIT)
        self._breaker_opened = self._counter(families.BREAKER_OPENED)
        self._failovers = self._counter(families.FAILOVERS)
        self._adopted = self._counter(families.ADOPTED)
        self._orphans = self._counter(families.ORPHANS)
        self._rehearsals = self._counter(families.REHEARSALS)
        self._api_calls = self._counter(families.API_CALLS)
        self._api_call_duration = self._histogram(families.API_CALL_DURATION)
        self._events_written = self._counter(families.EVENTS_WRITTEN)
        self._events_dropped = self._counter(families.EVENTS_DROPPED)
        for reason in EVENT_LOSSES:
            self._events_dropped.labels(reason)
        self._loop_lag = self._gauge(families.LOOP_LAG)
        self._gauge(families.BUILD_INFO).labels(__version__, platform.python_version()).set(1)
        self._of_issuers = (
            self._requests,
            self._request_retries,
            self._cleaned_up,
            self._renewed,
            self._moved,
            self._calls,
            self._call_duration,
            self._retries,
            self._limit_wait,
            self._breaker_opened,
            self._failovers,
            self._adopted,
            self._orphans,
            self._rehearsals,
        )
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
        cause: str = "",
        authority: str = "",
        seconds: float,
    ) -> None:
        """A request has ended.

        Args:
            issuer_kind: kind of the issuer it names.
            issuer_namespace: its namespace, empty for a cluster-scoped one.
            issuer: its name.
            outcome: `issued`, `failed` or `denied`.
            cause: why nobody signed, as `decision.Fail` has it; shown in lower case; empty if somebody did.
            authority: who signed; empty if nobody did.
            seconds: since the approval.
        """
        labels = self._bounded.issuer(issuer_kind, issuer_namespace, issuer, exists=bool(authority))
        who = self._bounded.authority(authority)
        self._requests.labels(*labels, outcome, cause.lower(), who).inc()
        self._to_the_end.labels(outcome, who).observe(seconds)

    def request_retried(self, *, issuer_kind: str, issuer_namespace: str, issuer: str) -> None:
        """A pass over the authorities of an issuer that exists has ended, and it was not the first for its request."""
        self._request_retries.labels(*self._bounded.issuer(issuer_kind, issuer_namespace, issuer, exists=True)).inc()

    def renewed(self, *, issuer_kind: str, issuer_namespace: str, issuer: str) -> None:
        """The issuance of a Certificate was started again after an outage."""
        self._renewed.labels(*self._bounded.issuer(issuer_kind, issuer_namespace, issuer, exists=True)).inc()

    def moved(self, *, issuer_kind: str, issuer_namespace: str, issuer: str, why: str) -> None:
        """The issuance of a Certificate was started so that another authority signs it."""
        labels = self._bounded.issuer(issuer_kind, issuer_namespace, issuer, exists=True)
        self._moved.labels(*labels, why).inc()

    def cleaned_up(self, *, kind: str, namespace: str, name: str) -> None:
        """A failed request was deleted; of the issuer that it named."""
        self._cleaned_up.labels(*self._bounded.issuer(kind, namespace, name, exists=True)).inc()

    def write_failed(self, verdict: str) -> None:
        """A status could not be written; the verdict is `pend`, `fail` or `issue`."""
        self._write_failures.labels(verdict.lower()).inc()

    def written_late(self) -> None:
        """The end of a request is written, after a failed try."""
        self._late_writes.inc()

    def result_dropped(self, reason: str) -> None:
        """A result had no one to go to."""
        self._dropped_results.labels(reason).inc()

    def authority_call(self, *, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        """A call to an authority has ended.

        Args:
            issuer: `namespace/name`, or `name` of a cluster-scoped one; empty if it is not known.
            authority: its name in that issuer.
            call: `sign`, `find`, `revoke` or `check`.
            result: `ok`, or what went wrong, by the name of the error; shown in lower case.
            seconds: how long it took, without the wait for our own limits.
        """
        labels = self._authority(issuer, authority)
        self._calls.labels(*labels, call, result.lower()).inc()
        self._call_duration.labels(*labels, call).observe(seconds)

    def retried(self, *, issuer: str, authority: str, cause: str) -> None:
        """An attempt is repeated within a pass; the issuer as for `authority_call`."""
        self._retries.labels(*self._authority(issuer, authority), cause.lower()).inc()

    def waited(self, *, issuer: str, authority: str, limit: str, seconds: float) -> None:
        """A request has waited for a limit, `own` or `provider`."""
        self._limit_wait.labels(*self._authority(issuer, authority), limit).inc(seconds)

    def breaker_opened(self, *, issuer: str, authority: str) -> None:
        """The breaker of an account has opened, which this authority used last."""
        self._breaker_opened.labels(*self._authority(issuer, authority)).inc()

    def failover(self, *, issuer: str, from_: str, to: str, cause: str) -> None:
        """`to` has signed, because `from_` failed with `cause`; the issuer as for `authority_call`."""
        names = self._bounded.authority(from_), self._bounded.authority(to)
        self._failovers.labels(*self._labels_of(issuer), *names, cause.lower()).inc()

    def adopted(self, *, issuer: str, authority: str) -> None:
        """A certificate whose answer was lost was found, and is delivered."""
        self._adopted.labels(*self._authority(issuer, authority)).inc()

    def orphan(self, *, issuer: str, authority: str, outcome: str) -> None:
        """A certificate that nobody received is `revoked`, or is `unrevocable`."""
        self._orphans.labels(*self._authority(issuer, authority), outcome).inc()

    def rehearsed(self, *, issuer: str, authority: str, result: str) -> None:
        """A rehearsal has `Succeeded` or `Failed`."""
        self._rehearsals.labels(*self._authority(issuer, authority), result.lower()).inc()

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
        self._bounded.forget((kind, namespace, name))
        gone = dict(zip(families.ISSUER, (kind, namespace, name), strict=True))
        for metric in self._of_issuers:
            metric.remove_by_labels(gone)

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

    def _authority(self, issuer: str, authority: str) -> tuple[str, str, str, str]:
        """The labels of an authority of an issuer."""
        return (*self._labels_of(issuer), self._bounded.authority(authority))

    def _labels_of(self, issuer: str) -> tuple[str, str, str]:
        """The labels of `namespace/name`."""
        return self._bounded.issuer(*issuer_labels(issuer), exists=True)

    def _counter(self, family: Family) -> Counter:
        return Counter(family.base, family.help, family.labels, registry=self._registry)

    def _gauge(self, family: Family) -> Gauge:
        return Gauge(family.base, family.help, family.labels, registry=self._registry)

    def _histogram(self, family: Family) -> Histogram:
        return Histogram(family.base, family.help, family.labels, buckets=family.buckets, registry=self._registry)


def issuer_labels(issuer: str) -> tuple[str, str, str]:
    """Kind, namespace and name of `namespace/name`. Only what has a namespace has a slash."""
    namespace, _, name = issuer.rpartition("/")
    kind = (ISSUER_KIND if namespace else CLUSTER_ISSUER_KIND) if issuer else ""
    return kind, namespace, name


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
        measures = [
            *now.measures,
            Measure(families.LEADER, float(now.leading)),
            *(Measure(families.QUEUE_DEPTH, depth, (queue,)) for queue, depth in now.queue_depth.items()),
            *(Measure(families.WATCH_SILENCE, quiet, (what,)) for what, quiet in now.watch_silence_seconds.items()),
        ]
        found: dict[str, GaugeMetricFamily] = {}
        for measure in measures:
            family = measure.family
            gauge = found.get(family.base)
            if gauge is None:
                gauge = found[family.base] = GaugeMetricFamily(family.base, family.help, labels=family.labels)
            gauge.add_metric(measure.labels, measure.value)
        yield from found.values()
