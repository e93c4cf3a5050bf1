"""What Prometheus scrapes. Names and units follow Prometheus' conventions; nothing is labelled by request.

The rest of the program calls methods with plain values and never touches a Prometheus object, so names live here alone.
What is counted at the moment of the scrape (pending requests, queue depth) comes from a `Snapshot` that the program
hands in.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from issuer import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.core import Metric

TO_THE_END: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
"""Seconds from approval to the end of a request; a day is the longest that is told apart."""
CALL: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120)
"""Seconds of a call. A certificate with a hundred names has been seen to take 43."""
BREAKER_STATES: Final = ("closed", "half-open", "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is counted when Prometheus asks.

    Attributes:
        pending: approved requests that have not ended.
        oldest_pending_seconds: age of the oldest of them, from its approval; 0 if there is none.
        unapproved: requests that no approver has spoken about.
        queue_depth: keys that wait, by queue.
        orphans: certificates that may exist at a provider and were not delivered.
        leading: whether this replica works.
        watch_silence_seconds: since the API server was last heard of, by resource.
    """

    pending: int
    oldest_pending_seconds: float
    unapproved: int
    queue_depth: dict[str, int]
    orphans: int
    leading: bool
    watch_silence_seconds: dict[str, float]


class Metrics:
    """All metrics of one controller, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        issuer = ("issuer_kind", "issuer_namespace", "issuer")
        self._requests = self._counter(
            "requests", "Certificate requests that have ended.", (*issuer, "outcome", "authority")
        )
        self._to_the_end = Histogram(
            "cdn_issuer_request_duration_seconds",
            "Time from the approval of a certificate request to its end.",
            ("outcome",),
            buckets=TO_THE_END,
            registry=self._registry,
        )
        self._calls = self._counter(
            "authority_calls", "Calls to authorities by what came of them.", ("issuer", "authority", "call", "result")
        )
        self._call_duration = Histogram(
            "cdn_issuer_authority_call_duration_seconds",
            "Time of a call to an authority, without the wait for our own limits.",
            ("issuer", "authority", "call"),
            buckets=CALL,
            registry=self._registry,
        )
        self._breaker = Gauge(
            "cdn_issuer_breaker_state",
            "1 for the state that the circuit breaker of an account is in, 0 for the others.",
            ("account", "state"),
            registry=self._registry,
        )
        self._failovers = self._counter(
            "failovers", "Certificates signed by a later authority of the list.", ("issuer", "from", "to", "cause")
        )
        self._api_calls = self._counter("kube_api_calls", "Calls to the Kubernetes API.", ("verb", "resource", "code"))
        self._loop_lag = Gauge(
            "cdn_issuer_event_loop_lag_seconds",
            "Longest time that the event loop was late within the last minute.",
            registry=self._registry,
        )
        build = Gauge("cdn_issuer_build_info", "Always 1.", ("version", "python"), registry=self._registry)
        build.labels(__version__, platform.python_version()).set(1)
        ProcessCollector(registry=self._registry)

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
        """A request has ended; `seconds` since its approval."""
        self._requests.labels(issuer_kind, issuer_namespace, issuer, outcome, authority).inc()
        self._to_the_end.labels(outcome).observe(seconds)

    def authority_call(self, *, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        """A call to an authority has ended."""
        self._calls.labels(issuer, authority, call, result).inc()
        self._call_duration.labels(issuer, authority, call).observe(seconds)

    def breaker(self, *, account: str, state: str) -> None:
        """The breaker of an account has changed."""
        for known in BREAKER_STATES:
            self._breaker.labels(account, known).set(known == state)

    def failover(self, *, issuer: str, from_: str, to: str, cause: str) -> None:
        """A later authority has signed."""
        self._failovers.labels(issuer, from_, to, cause).inc()

    def api_call(self, verb: str, resource: object, result: int | str, seconds: float) -> None:  # noqa: ARG002
        """A call to the Kubernetes API has ended; has the form of `KubeClient`'s observer."""
        self._api_calls.labels(verb, str(resource), str(result)).inc()

    def loop_lag(self, seconds: float) -> None:
        """How late the event loop was."""
        self._loop_lag.set(seconds)

    def forget_issuer(self, *, kind: str, namespace: str, name: str) -> None:
        """An issuer is gone; so are its series."""
        self._requests.remove_by_labels({"issuer_kind": kind, "issuer_namespace": namespace, "issuer": name})
        where = f"{namespace}/{name}" if namespace else name
        for metric in (self._calls, self._call_duration, self._failovers):
            metric.remove_by_labels({"issuer": where})

    def watch(self, snapshot: Callable[[], Snapshot]) -> None:
        """Say where to ask for what is counted at the scrape."""
        self._registry.register(_AtScrape(snapshot))

    def render(self) -> tuple[bytes, str]:
        """The page for Prometheus, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, help_: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"cdn_issuer_{name}", help_, labels, registry=self._registry)


class _AtScrape(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: the program is not asked before it runs."""
        return ()

    def collect(self) -> Iterable[Metric]:
        now = self._snapshot()
        plain = (
            ("pending_requests", "Approved certificate requests that have not ended.", now.pending),
            (
                "oldest_pending_request_age_seconds",
                "Time since the approval of the request that waits longest.",
                now.oldest_pending_seconds,
            ),
            ("unapproved_requests", "Certificate requests that no approver has spoken about.", now.unapproved),
            ("possible_orphans", "Certificates that may exist at a provider undelivered.", now.orphans),
            ("leader", "1 if this replica works, 0 if it stands by.", float(now.leading)),
        )
        for name, help_, value in plain:
            yield GaugeMetricFamily(f"cdn_issuer_{name}", help_, value)
        depth = GaugeMetricFamily("cdn_issuer_queue_depth", "Keys that wait for their turn.", labels=["queue"])
        for queue, count in now.queue_depth.items():
            depth.add_metric([queue], count)
        yield depth
        silence = GaugeMetricFamily(
            "cdn_issuer_watch_silence_seconds",
            "Time since a watch last heard from the API server.",
            labels=["resource"],
        )
        for resource, seconds in now.watch_silence_seconds.items():
            silence.add_metric([resource], seconds)
        yield silence
