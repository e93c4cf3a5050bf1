"""An outage of the mock CDN, played with the whole controller on the sandbox while a real Prometheus scrapes it.

Traffic goes on all the while: each round is a request for each issuer.

- `web` has the CDN first and a CA behind it: it fails over.
- `alone` has the CDN alone: its requests wait, and fail at their deadline.
- `doomed` has an account whose token is revoked, and a CA behind it.
- `vault` has a CA whose Secret is deleted, while a renewal of a certificate of a day is due.

Each part ends when Prometheus shows what it waits for, within bounds; nothing depends on how fast the machine is. What
was seen of alerts can be asked afterwards, since Prometheus keeps it as series.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from issuer.api.request import CERTIFICATE_NAME_ANNOTATION
from issuer.cli.stage import Stage
from issuer.controllers.program import utc_now
from issuer.controllers.rehearsals import FIRST_WITHIN
from issuer.observe.server import ObserveServer
from issuer.sandbox import objects
from issuer.sandbox.cdn import Token
from tests.alerts.prometheus import MINUTE, SCRAPE, Prometheus
from tests.component.harness import BRISK, QUICK

if TYPE_CHECKING:
    from collections.abc import Iterable

ROUND: Final = 0.5
"""Seconds between two rounds of traffic."""
DEADLINE: Final = 36 * MINUTE
"""Seconds; long enough that the alert on requests that wait fires before they fail."""
BOUND: Final = 60.0
"""Seconds that a part may take."""
MISTAKES: Final = {"unknown-zone": "www.example.org", "two-dots": "www..example.com"}
"""What a typo in a Certificate leads to, by the names of the requests."""
PENDING: Final = "CDNIssuerRequestPending"
PLAYED: Final = (
    "CDNIssuerRequestsFailedByOutage",
    PENDING,
    "CDNIssuerAuthorityDown",
    "CDNIssuerCredentialRefused",
    "CDNIssuerNoAuthorityAvailable",
    "CDNIssuerIssuingFromFallback",
    "CDNIssuerCertificateExpiresSoon",
)
"""The alerts that the outage makes fire, and that clear after it."""
NO_LEADER: Final = "CDNIssuerNoLeader"


@dataclass(slots=True)
class Marks:
    """When each part began, in Unix time."""

    began: float = 0.0
    mistakes: float = 0.0
    outage: float = 0.0
    recovery: float = 0.0
    stopped: float = 0.0
    ended: float = 0.0


async def play(prometheus: Prometheus, *, with_stop: bool = True) -> Marks:
    """All well, mistakes, the outage, recovery, and a controller that stops and comes back.

    Raises:
        TimeoutError: a part was not over in time; its note says which.
    """
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Stage(BRISK))
        scraped = _Scraped(stage, prometheus.target)
        await scraped.start()
        stack.push_async_callback(scraped.stop)
        outage = _Outage(stage, prometheus)
        await outage.set_up()
        traffic = asyncio.create_task(outage.traffic())
        stack.push_async_callback(_ended, traffic)
        marks = Marks(began=time.time())
        await outage.shown('count(cdn_issuer_requests_total{outcome="issued"}) >= 4', "signed by each issuer")
        await outage.shown("cdn_issuer_certificates", "certificates counted")
        await outage.rehearse()
        await outage.shown("cdn_issuer_last_rehearsal_success", "rehearsed")
        await outage.shown("absent(ALERTS)", "no alert, after that for the time before the first scrape")
        marks.mistakes = time.time()
        await outage.make_mistakes()
        marks.outage = time.time()
        await outage.begin()
        await outage.fired(PLAYED, marks.outage)
        last = f'ALERTS{{alertname="{PENDING}",issuer="vault",alertstate="firing"}}'
        await outage.shown(last, "the request for the vault waits, whose Secret was in a cache for half a minute")
        marks.recovery = time.time()
        await outage.end()
        await outage.cleared(PLAYED)
        marks.stopped = time.time()
        if with_stop:
            await _ended(traffic)
            await stage.stop_controller()
            await outage.fired([NO_LEADER], marks.stopped)
            await scraped.stop()
            await stage.start_controller()
            await scraped.start()
            await outage.cleared([NO_LEADER])
        marks.ended = time.time()
        return marks


class _Scraped:
    """The server of the controller's metrics, on the port that Prometheus knows."""

    def __init__(self, stage: Stage, port: int) -> None:
        self._stage = stage
        self._port = port
        self._server: ObserveServer | None = None

    async def start(self) -> None:
        self._server = ObserveServer(
            "127.0.0.1", self._port, self._stage.metrics, healthy=lambda: None, ready=lambda: None
        )
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()


class _Outage:
    def __init__(self, stage: Stage, prometheus: Prometheus) -> None:
        self._stage = stage
        self._prometheus = prometheus
        self._numbers = itertools.count()

    async def set_up(self) -> None:
        stage, namespace = self._stage, self._stage.namespace
        await stage.cluster.wait_for(lambda: stage.program.is_leading)
        edge, backup = stage.edge(**QUICK), stage.backup()
        await self._allow("first")
        await stage.apply(objects.ca_secret("vault-ca", namespace, "Vault"))
        doomed = stage.edge(**QUICK)
        doomed["cloudflare"] |= {"apiTokenSecretRef": {"name": "doomed", "key": "token"}}
        vault = {"name": "vault", "ca": {"secretRef": {"name": "vault-ca"}}}
        for name, authorities, deadline in (
            ("web", [edge, backup], "1h"),
            ("alone", [edge], f"{DEADLINE:.0f}s"),
            ("doomed", [doomed, backup], "1h"),
            ("vault", [vault], "1h"),
        ):
            rehearsal = {"rehearsal": {"dnsNames": ["rehearsal.example.com"]}} if name == "web" else {}
            manifest = objects.issuer(name, authorities, namespace=namespace, deadline=deadline, **rehearsal)
            await stage.apply(manifest)
        await stage.apply(
            {
                "apiVersion": "cert-manager.io/v1",
                "kind": "Certificate",
                "metadata": {"name": "careless", "namespace": namespace},
                "spec": {
                    "secretName": "careless-tls",
                    "dnsNames": ["careless.example.com"],
                    "issuerRef": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"},
                    "privateKey": {"rotationPolicy": "Never"},
                },
            }
        )

    async def traffic(self) -> None:
        """A request for each issuer, again and again, and the count of certificates that a chore makes each minute."""
        while True:
            number = next(self._numbers)
            for issuer in ("web", "alone", "doomed"):
                await self._stage.ask(f"{issuer}-{number}", issuer)
            if number % 4 == 0:
                renewed = {CERTIFICATE_NAME_ANNOTATION: "short-lived"}
                await self._stage.ask(f"vault-{number}", "vault", duration="24h", annotations=renewed)
            census = self._stage.program.request_controller._certificates
            assert census is not None
            await census.count()
            await asyncio.sleep(ROUND)

    async def rehearse(self) -> None:
        """The backup of `web` has not signed yet, and is rehearsed a while after its issuer was made."""
        rehearsals = self._stage.program.rehearsals
        rehearsals._now = lambda: utc_now() + FIRST_WITHIN
        await rehearsals.look()
        rehearsals._now = utc_now

    async def make_mistakes(self) -> None:
        """Typos in what is asked for, each refused at once; then as long as the slowest alert on authorities takes."""
        for name, hostname in MISTAKES.items():
            await self._stage.ask(name, "web", hostname)
        await self._stage.finished(MISTAKES)
        await self.shown('sum(cdn_issuer_requests_total{issuer="web",outcome="failed"}) >= 2', "mistakes")
        await asyncio.sleep(12 * MINUTE)

    async def begin(self) -> None:
        """A token is revoked; once that is seen the provider answers 503 to all, and a Secret is deleted."""
        del self._stage.cdn.tokens["first"]
        await self.shown('cdn_issuer_authority_state{state="Unauthorized"}', "the token is refused")
        self._stage.cdn.faults.set("status", status=503)
        self._stage.cdn.faults.set("slow", seconds=SCRAPE)  # so that a scrape sees the probes of a breaker
        await self._stage.cluster.delete("secrets", self._stage.namespace, "vault-ca")

    async def end(self) -> None:
        """All is well again; whoever looks after the doomed account has put a new token into its Secret."""
        self._stage.cdn.faults.clear()
        await self._allow("second")
        await self._stage.apply(objects.ca_secret("vault-ca", self._stage.namespace, "Vault"))

    async def _allow(self, token: str) -> None:
        self._stage.cdn.tokens[token] = Token()
        await self._stage.apply(objects.secret("doomed", self._stage.namespace, {"token": token.encode()}))

    async def fired(self, alerts: Iterable[str], since: float) -> None:
        """Wait until each of these alerts has fired since then."""
        for alert in alerts:
            seen = f'timestamp(ALERTS{{alertname="{alert}",alertstate="firing"}})'
            await self.shown(f"max_over_time(({seen})[1h:{SCRAPE * 1000:.0f}ms]) > {since}", f"{alert} fires")

    async def cleared(self, alerts: Iterable[str]) -> None:
        """Wait until none of these alerts fires any longer."""
        any_of = "|".join(alerts)
        firing = f'ALERTS{{alertname=~"{any_of}",alertstate="firing"}}'
        await self.shown(f"absent({firing})", "alerts clear")

    async def shown(self, expression: str, what: str) -> None:
        """Wait until Prometheus has an answer to an expression.

        Raises:
            TimeoutError: it has none, after a minute.
        """
        end = time.monotonic() + BOUND
        while not await self._prometheus.query(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {BOUND:.0f} s: {what}")
            await asyncio.sleep(0.1)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task; if it failed by itself, say so."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
