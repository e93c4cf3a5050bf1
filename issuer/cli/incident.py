"""The incident as a play in seven phases, and what is counted of it.

Each phase creates requests, waits for their end, and says in one sentence what happened. The timeouts of the demo's
issuers are short, so that an outage which took hours in real life takes seconds; everything else is as in a cluster.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from issuer.api.duration import human
from issuer.api.request import signer_of
from issuer.pki.csr import parse_pem
from issuer.sandbox import objects
from issuer.sandbox.cdn import Token
from issuer.sandbox.others import OtherIssuers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from issuer.api.request import CertificateRequest
    from issuer.cli.stage import Stage

FAST: Final = {
    "timeouts": {"connect": "1s", "read": "1500ms", "attempt": "1500ms", "turn": "5s"},
    "retry": {"attempts": 3, "minBackoff": "50ms", "maxBackoff": "500ms"},
    "circuitBreaker": {"consecutiveFailures": 3, "openFor": "2s", "maxOpenFor": "4s"},
    "limits": {"requestsPerSecond": 200, "burst": 100, "inFlight": 20},
}
DOOMED_TOKEN: Final = "doomed-sandbox-token"  # noqa: S105 - the mock's
SECOND_TOKEN: Final = "another-sandbox-token"  # noqa: S105 - the mock's
DEADLINE: Final = 6.0
"""Seconds after which the requests of the phase with two dead authorities have to be Failed."""
PATIENCE: Final = 25.0
"""Seconds that one phase may take."""


OTHERS: Final = {"edge": "letsencrypt", "backup": "zerossl"}
"""Authorities of the phase without a CDN, and the issuers of cert-manager's that they stand for."""
OTHER_TURN: Final = "3s"


PHASES: Final = {
    "all well": "20 requests, and nothing is wrong",
    "provider hangs": "the provider takes calls and does not answer them",
    "credential refused": "the provider refuses the token of one issuer",
    "hostname rejected": "one request is for a name that the provider does not know",
    "no CDN at all": "two issuers of cert-manager's, and the first takes requests and does not answer",
    "both down": "the provider answers 503, and this issuer has no other one",
    "provider back": "the provider works again; one request at a time probes it",
}
"""Title and plot of each phase."""


@dataclass(slots=True)
class Phase:
    """One phase, and what has come of it so far.

    Attributes:
        title: its name.
        requests: how many were made.
        by_authority: how many of them each authority has signed.
        failed: how many are Failed.
        pending: how many have not ended.
        seconds: how long it takes, or took.
        story: the plot, and when it is over, what happened.
        ok: whether it went as it should.
    """

    title: str
    requests: int = 0
    by_authority: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    pending: int = 0
    seconds: float = 0.0
    story: str = ""
    ok: bool = False


class Incident:
    """Plays the incident on a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._csrs: dict[str, bytes] = {}
        self._names: list[str] = []
        self._began: float | None = None
        self.phases: list[Phase] = []

    async def play(self, told: Callable[[Phase], None] | None = None) -> None:
        """All phases; `told` is called after each."""
        await self._set_up()
        acts = (
            self._all_well,
            self._provider_hangs,
            self._credential_refused,
            self._hostname_rejected,
            self._between_issuers,
            self._both_down,
            self._provider_back,
        )
        for title, act in zip(PHASES, acts, strict=True):
            await self._play(title, act)
            if told:
                told(self.phases[-1])

    def count(self) -> None:
        """Bring the phase that is played up to date."""
        if self._began is None:
            return
        phase, requests = self.phases[-1], self._stage.requests()
        made = [requests[name] for name in self._names if name in requests]
        states = Counter(_state(request) for request in made)
        phase.requests, phase.failed, phase.pending = len(made), states["failed"], states["pending"]
        phase.by_authority = dict(Counter(signer for request in made if (signer := signer_of(request))))
        phase.seconds = round(time.monotonic() - self._began, 1)

    def counts(self) -> dict[str, int]:
        """Requests by state, for the live view."""
        requests = self._stage.requests().values()
        counts = Counter(_state(request) for request in requests)
        return {state: counts[state] for state in ("issued", "pending", "failed")}

    def authorities(self) -> list[tuple[str, str, str]]:
        """Name, state and message of each authority as the controller sees it now."""
        return [
            (f"{entry.id.key.name}/{health.name}", health.state, health.message)
            for entry in self._stage.program.book.entries()
            if entry.plan is not None
            for health in self._stage.program.engine.states(entry.plan)
        ]

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        requests = self._stage.requests().values()
        states = Counter(_state(request) for request in requests)
        signers = Counter(signer for request in requests if (signer := signer_of(request)))
        return {
            "requests": len(requests),
            "issued": states["issued"],
            "failed": states["failed"],
            "pending": states["pending"],
            "by_authority": {"edge": signers["edge"], "backup": signers["backup"]},
            "duplicates": self._duplicates(),
            "phases": [asdict(phase) for phase in self.phases],
        }

    def ended_well(self, summary: dict[str, Any]) -> bool:
        """Whether every request ended, none was signed twice, and each phase went as it should."""
        return not summary["pending"] and not summary["duplicates"] and all(phase.ok for phase in self.phases)

    async def _set_up(self) -> None:
        stage = self._stage
        edge, backup, namespace = stage.edge(**FAST), stage.backup(), stage.namespace
        await stage.apply(objects.issuer("web", [edge, backup], namespace=namespace, deadline="1h"))
        await stage.apply(objects.issuer("doomed", [await self._account(DOOMED_TOKEN), backup], namespace=namespace))
        second = await self._account(SECOND_TOKEN) | {"name": "second"}
        await stage.apply(objects.issuer("fragile", [edge, second], namespace=namespace, deadline=f"{DEADLINE:.0f}s"))

    async def _account(self, token: str) -> objects.Manifest:
        """An entry for the CDN with a token of its own, so with a breaker and limits of its own."""
        self._stage.cdn.tokens[token] = Token()
        await self._stage.apply(objects.secret(token, self._stage.namespace, {"token": token.encode()}))
        entry = self._stage.edge(**FAST)
        entry["cloudflare"] |= {"apiTokenSecretRef": {"name": token, "key": "token"}}
        return entry

    async def _play(self, title: str, act: Callable[[Phase], Awaitable[None]]) -> None:
        phase = Phase(title, story=PHASES[title])
        self.phases.append(phase)
        self._names, self._began = [], time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await act(phase)
        except TimeoutError:
            phase.story = f"not over after {PATIENCE:.0f} s"
        self.count()
        self._began = None

    async def _all_well(self, phase: Phase) -> None:
        requests = await self._round("well", 20)
        phase.ok = _signed_by(requests, "edge") == len(requests)
        phase.story = "the provider signs"

    async def _provider_hangs(self, phase: Phase) -> None:
        self._stage.cdn.faults.set("hang")
        first = await self._round("hang", 10)
        began = time.monotonic()
        later = await self._round("open", 10)
        quick = time.monotonic() - began
        phase.ok = _signed_by([*first, *later], "backup") == len(first) + len(later)
        self._stage.cdn.faults.clear()
        more = await self._recovered("recovered")
        phase.story = f"time-outs open the breaker, then 10 take {human(quick)}; edge is back after {more} more"

    async def _credential_refused(self, phase: Phase) -> None:
        before = await self._round("accepted", 2, issuer="doomed")
        del self._stage.cdn.tokens[DOOMED_TOKEN]
        after = await self._round("refused", 5, issuer="doomed")
        phase.ok = _signed_by(before, "edge") == len(before) and _signed_by(after, "backup") == len(after)
        phase.story = "the token is revoked: backup signs, no breaker opens"

    async def _hostname_rejected(self, phase: Phase) -> None:
        good = self._round("zone", 4)
        bad = self._round("elsewhere", 1, hostname="www.example.org")
        signed, refused = await asyncio.gather(good, bad)
        told = refused[0].ready
        failed_at_once = told is not None and told.reason == "Failed" and "1010" in told.message
        phase.ok = failed_at_once and _signed_by(signed, "edge") == len(signed)
        phase.story = "a name in no zone of the account is Failed at once"

    async def _between_issuers(self, phase: Phase) -> None:
        stage = self._stage
        others = OtherIssuers(stage.cluster)
        signing = asyncio.create_task(others.run())
        try:
            for name in OTHERS.values():
                await stage.apply(_other_issuer(name, stage.namespace))
            entries = [
                {"name": authority, "issuerRef": {"name": name}, **FAST, "timeouts": {"turn": OTHER_TURN}}
                for authority, name in OTHERS.items()
            ]
            await stage.apply(objects.issuer("public", entries, namespace=stage.namespace))
            first = await self._round("public", 3, issuer="public")
            others.silent.add(OTHERS["edge"])
            later = await self._round("silent", 3, issuer="public")
        finally:
            signing.cancel()
            await asyncio.gather(signing, return_exceptions=True)
        phase.ok = _signed_by(first, "edge") == len(first) and _signed_by(later, "backup") == len(later)
        phase.story = f"{OTHERS['edge']} falls silent: {OTHERS['backup']} signs"
        await stage.cluster.delete("cdnissuers", stage.namespace, "public")

    async def _both_down(self, phase: Phase) -> None:
        self._stage.cdn.faults.set("status", status=503)
        began = time.monotonic()
        requests = await self._round("dead", 5, issuer="fragile")
        took = time.monotonic() - began
        phase.ok = (
            all(_state(request) == "failed" for request in requests)
            and took >= DEADLINE - 1
            and all(request.status.failure_time for request in requests)
        )
        phase.story = f"Pending until the deadline of {DEADLINE:.0f} s, then Failed"

    async def _provider_back(self, phase: Phase) -> None:
        self._stage.cdn.faults.clear()
        asked = await self._recovered("probe")
        requests = await self._round("back", 10)
        phase.ok = _signed_by(requests, "edge") == len(requests)
        phase.story = f"request {asked} probes edge and closes its breaker, the next 10 go to edge"

    async def _recovered(self, name: str) -> int:
        """Ask for one certificate after the other until the provider signs again; how many it took."""
        for attempt in range(1, 61):
            requests = await self._round(f"{name}-{attempt}", 1)
            if _signed_by(requests, "edge"):
                break
            await asyncio.sleep(0.5)
        return attempt

    async def _round(
        self, name: str, count: int, *, issuer: str = "web", hostname: str | None = None
    ) -> list[CertificateRequest]:
        """Ask for so many certificates at once and wait until each request has ended."""
        names = [f"{name}-{number}" for number in range(count)]
        for request in names:
            self._names.append(request)
            self._csrs[request] = await self._stage.ask(request, issuer, hostname)
        await self._stage.finished(names, timeout=PATIENCE)
        requests = self._stage.requests()
        return [requests[request] for request in names]

    def _duplicates(self) -> int:
        """Requests for which more than one certificate is alive, over both authorities."""
        requests = self._stage.requests()
        twice = 0
        for name, csr in self._csrs.items():
            live = len(self._stage.cdn.live(parse_pem(csr).public_key)) + (signer_of(requests[name]) == "backup")
            twice += live > 1
        return twice


def _other_issuer(name: str, namespace: str) -> objects.Manifest:
    """An Issuer of cert-manager's, as far as anybody looks at it here."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": metadata, "spec": {}}


def _state(request: CertificateRequest) -> str:
    if not request.is_finished:
        return "pending"
    return "issued" if signer_of(request) else "failed"


def _signed_by(requests: Iterable[CertificateRequest], authority: str) -> int:
    return sum(signer_of(request) == authority for request in requests)
