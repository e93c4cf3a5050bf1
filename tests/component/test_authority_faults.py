"""The whole controller with each fault of the provider: every request ends, signed by whom it should be, and only once.

One controller over HTTP between the sandbox's two servers; only the time-outs are short. An outage is where a person
reads conditions and events, so their texts are part of what is tested.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from issuer.api.meta import parse_time
from issuer.api.request import signer_of
from issuer.pki.certificate import load_chain, public_key
from issuer.pki.csr import parse_pem
from issuer.sandbox import objects
from tests.component.harness import (
    BRISK,
    QUICK,
    at_work,
    ended,
    live,
    long_after,
    message,
    one_authority,
    pending,
    signatures,
    signer_story,
    sweep_once_back,
    swept,
    told,
    two_authorities,
    warned_of,
)

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

SIGNING = {"methods": ["POST"]}
"""The fault hits the signing alone: looking for lost certificates and revoking them still work."""

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@dataclass(frozen=True)
class Case:
    """A fault that makes the provider useless.

    Attributes:
        why: what a person has to read about it.
        answers: there is an HTTP answer, so its CF-Ray has to be told.
        found: the certificate is there and good though its answer was lost, so a look finds it.
    """

    fault: str
    why: str
    settings: dict[str, Any] = field(default_factory=dict)
    answers: bool = True
    found: bool = False

    def __str__(self) -> str:
        return "-".join([self.fault, *(str(value) for value in self.settings.values() if not isinstance(value, str))])


CASES = [
    Case("slow", "no answer within ", {"seconds": 600}, answers=False),
    Case("hang", "no answer within ", answers=False),
    Case("hang-after", "no answer within ", answers=False, found=True),
    Case("reset-before", "the connection was lost before the answer", answers=False),
    Case("reset-after", "the connection was lost before the answer", answers=False, found=True),
    Case("status", "HTTP 503", {"status": 503}),
    Case("status", "HTTP 503", {"status": 503, "done": True}, found=True),
    Case("status", "Cloudflare's edge could not reach the API", {"status": 522}),
    Case("status", "Cloudflare's edge could not reach the API", {"status": 522, "done": True}, found=True),
    Case("broken-json", "the answer is not JSON", found=True),
    Case("empty-errors", "the API refused the call and did not say why"),
    Case("huge", "the answer is longer than", found=True),
    Case("truncated", "wrong certificate: the answer is no certificate"),
    Case("foreign", "wrong certificate: the certificate is for another key than the request's"),
    Case("wrong-names", "wrong certificate: the certificate lacks 'www.example.com'"),
    Case("expired", "wrong certificate: the certificate expired at"),
    Case("rejected", "code 1100", {"code": 1100, "message": "Failed to write certificate to Database"}),
]
each_fault = pytest.mark.parametrize("case", CASES, ids=str)


def traced(text: str) -> bool:
    return "trace " in text and "-SBX" in text


@each_fault
async def test_where_only_signing_fails_a_lost_certificate_is_adopted_and_a_missing_one_is_signed_by_the_next(
    case: Case, new_stage: NewStage
) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        await at_work(stage)
        stage.cdn.faults.set(case.fault, **SIGNING, **case.settings)
        csr = await stage.ask("www", "web")
        request = await ended(stage, "www")
        await sweep_once_back(stage)
        if case.found:
            assert signer_of(request) == "edge"
            assert live(stage, csr) == 1
        else:
            assert signer_of(request) == "backup"
            await swept(stage, lambda: live(stage, csr) == 0)


@each_fault
async def test_the_second_authority_signs_and_tells_why_and_nothing_stays_alive_at_the_first(
    case: Case, new_stage: NewStage
) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        await at_work(stage)
        stage.cdn.faults.set(case.fault, **case.settings)
        csr = await stage.ask("www", "web")
        request = await ended(stage, "www")
        story = signer_story(request)
        assert signer_of(request) == "backup"
        assert story.startswith("backup signed; before it, edge: ")
        assert case.why in story
        assert traced(story) == case.answers
        assert story in await told(stage, "www", "CertificateIssued")
        await sweep_once_back(stage)
        await swept(stage, lambda: live(stage, csr) == 0)


@each_fault
async def test_with_one_authority_a_request_waits_until_the_provider_is_back_or_fails_at_its_deadline(
    case: Case, new_stage: NewStage
) -> None:
    async with new_stage(BRISK) as stage:
        await one_authority(stage)
        await one_authority(stage, "hasty", deadline="3s")
        await at_work(stage)
        stage.cdn.faults.set(case.fault, **case.settings)
        waiting = await stage.ask("www", "alone", "www.example.com")
        doomed = await stage.ask("doomed", "hasty", "www.example.com")

        request = await pending(stage, "www")
        assert case.why in message(request)
        assert traced(message(request)) == case.answers
        assert re.search(rf"; pending since {TIME}, \d+ attempts?; retrying until {TIME}$", message(request))
        assert request.status.failure_time is None
        await warned_of(stage, "www", "AuthorityUnavailable", message(request))

        failed = await ended(stage, "doomed")
        ending = parse_time(failed.status.failure_time)
        assert failed.approved_at is not None
        assert ending is not None
        assert ending - failed.approved_at >= timedelta(seconds=3)
        assert message(failed).startswith("not signed within the deadline of 3s after approval: edge: ")
        assert case.why in message(failed)
        assert traced(message(failed)) == case.answers
        await warned_of(stage, "doomed", "DeadlineExceeded", message(failed))

        await sweep_once_back(stage)
        assert signer_of(await ended(stage, "www")) == "edge"
        await swept(stage, lambda: live(stage, waiting) == 1 and live(stage, doomed) == 0)


async def test_a_slow_provider_within_the_timeout_is_no_trouble(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        stage.cdn.faults.set("slow", seconds=0.1)
        csr = await stage.ask("www", "web")
        request = await ended(stage, "www")
        assert signer_of(request) == "edge"
        assert signer_story(request) == "edge signed"
        assert signatures(stage) == live(stage, csr) == 1


async def test_what_a_slow_provider_signs_after_the_failover_is_revoked(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        stage.cdn.faults.set("slow", seconds=1.5, **SIGNING)
        csr = await stage.ask("www", "web")
        assert signer_of(await ended(stage, "www")) == "backup"
        sent = signatures(stage)
        key = parse_pem(csr).public_key
        async with asyncio.timeout(10):
            await stage.cdn.until(lambda: len(stage.cdn.live(key)) == sent)
        long_after(stage)
        await sweep_once_back(stage)
        await swept(stage, lambda: live(stage, csr) == 0)


async def test_a_short_rate_limit_is_waited_out(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        stage.cdn.faults.set("rate-limited", seconds=1, count=1, **SIGNING)
        csr = await stage.ask("www", "web")
        assert signer_of(await ended(stage, "www")) == "edge"
        assert signatures(stage) == 2
        assert live(stage, csr) == 1


async def test_a_long_rate_limit_sends_requests_to_the_next_authority_without_a_second_call(
    new_stage: NewStage,
) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        stage.cdn.faults.set("rate-limited", seconds=600, **SIGNING)
        first = await stage.ask("first", "web")
        request = await ended(stage, "first")
        assert signer_of(request) == "backup"
        assert "edge: Please slow down: too many requests (HTTP 429, code 971, trace " in signer_story(request)
        assert traced(signer_story(request))
        second = await stage.ask("second", "web")
        request = await ended(stage, "second")
        assert signer_of(request) == "backup"
        assert "edge: rate-limited until " in signer_story(request)
        assert signatures(stage) == 1
        assert live(stage, first) == live(stage, second) == 0


async def test_with_one_authority_a_long_rate_limit_keeps_a_request_pending_until_its_deadline(
    new_stage: NewStage,
) -> None:
    async with new_stage(BRISK) as stage:
        await one_authority(stage, deadline="4s")
        stage.cdn.faults.set("rate-limited", seconds=600, **SIGNING)
        await stage.ask("www", "alone")
        await pending(stage, "www")
        first = await told(stage, "www", "AuthorityRateLimited")
        assert "too many requests" in first
        assert traced(first)
        stage.program.request_controller.triggers.wake()
        request = await ended(stage, "www")
        assert request.status.failure_time
        assert "rate-limited until " in message(request)
        assert signatures(stage) == 1


async def test_with_one_authority_a_short_rate_limit_only_delays(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await one_authority(stage)
        stage.cdn.faults.set("rate-limited", seconds=1, count=2, **SIGNING)
        csr = await stage.ask("www", "alone")
        assert signer_of(await ended(stage, "www")) == "edge"
        assert live(stage, csr) == 1


async def test_a_refused_credential_sends_requests_to_the_next_authority_and_opens_no_breaker(
    new_stage: NewStage,
) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        stage.cdn.faults.set("unauthorized")
        names = [f"www-{number}" for number in range(5)]
        for name in names:
            await stage.ask(name, "web")
        await stage.finished(names)
        for request in stage.requests().values():
            assert signer_of(request) == "backup"
            assert "edge: Authentication error. The API token needs the permission " in signer_story(request)
            assert traced(signer_story(request))
        assert b'state="open"} 1.0' not in stage.metrics.render()[0]
        assert not stage.cdn.certificates


async def test_with_one_authority_a_refused_credential_keeps_a_request_pending_until_its_deadline(
    new_stage: NewStage,
) -> None:
    async with new_stage(BRISK) as stage:
        await one_authority(stage, deadline="4s")
        stage.cdn.faults.set("unauthorized")
        await stage.ask("www", "alone")
        request = await pending(stage, "www")
        assert "Authentication error" in message(request)
        assert traced(message(request))
        await warned_of(stage, "www", "AuthorityUnauthorized", message(request))
        request = await ended(stage, "www")
        assert request.status.failure_time
        assert "Authentication error" in message(request)
        assert traced(message(request))


@pytest.mark.parametrize("issuer", ["web", "alone"])
async def test_a_rejected_hostname_fails_at_once_with_what_the_provider_said(issuer: str, new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        await one_authority(stage)
        await stage.ask("elsewhere", issuer, "www.example.org")
        await stage.ask("www", issuer)
        request = await ended(stage, "elsewhere")
        assert request.status.failure_time
        assert "HTTP 400, code 1010, trace " in message(request)
        assert "Every hostname must be in a zone of the account" in message(request)
        assert message(request).count("www.example.org") == 1, "the provider has named it, so we do not"
        assert traced(message(request))
        await warned_of(stage, "elsewhere", "AuthorityRejected", message(request))
        assert signer_of(await ended(stage, "www")) == "edge"
        assert signatures(stage) == 2


async def test_an_open_breaker_lets_nothing_through(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        authority = stage.edge(
            timeouts=QUICK["timeouts"],
            retry={"attempts": 1},
            circuitBreaker={"consecutiveFailures": 2, "openFor": "10m", "maxOpenFor": "10m"},
            limits=QUICK["limits"],
        )
        await stage.apply(objects.issuer("web", [authority, stage.backup()], namespace=stage.namespace))
        stage.cdn.faults.set("status", status=503)
        for name in ("one", "two"):
            await stage.ask(name, "web")
            await ended(stage, name)
        asked = signatures(stage)
        names = [f"later-{number}" for number in range(20)]
        for name in names:
            await stage.ask(name, "web")
        await stage.finished(names)
        assert signatures(stage) == asked == 2
        for name in names:
            request = stage.requests()[name]
            assert signer_of(request) == "backup"
            assert "edge: circuit breaker open after 2 consecutive failures, next attempt at " in signer_story(request)
            assert "HTTP 503" in signer_story(request)
            assert traced(signer_story(request))


def usable(stage: Stage, csr: bytes) -> int:
    """Live certificates for the key of a CSR.

    One for a foreign key, in an answer that nobody waited for any more, is told by nothing that a look can see; nobody
    holds its key.
    """
    key = parse_pem(csr).public_key
    return sum(public_key(load_chain(one.certificate.encode())[0]) == key for one in stage.cdn.live(key))


async def test_many_requests_in_a_storm_of_faults_are_each_signed_once(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        await at_work(stage)
        for fault in ("hang-after", "reset-after", "broken-json", "foreign", "status", "reset-before"):
            stage.cdn.faults.set(fault, share=0.2)
        names = [f"www-{number}" for number in range(40)]
        keys = {name: await stage.ask(name, "web") for name in names}
        await stage.finished(names)
        signers = {name: signer_of(request) for name, request in stage.requests().items()}
        await sweep_once_back(stage)
        long_after(stage)
        await swept(stage, lambda: all(usable(stage, keys[name]) == (signers[name] == "edge") for name in names))
        assert stage.cdn.ledger.duplicates() == 0


TLD = "You cannot use this API for this TLD"


@pytest.mark.parametrize(
    ("fault", "settings", "why"),
    [
        ("error-field", {"message": TLD}, f"edge: {TLD}. Check that the Secret"),
        ("plain-text", {"message": "Authorization failed"}, "edge: Authorization failed. Check that the Secret"),
        ("rejected", {"code": 9106, "message": "Missing headers"}, "edge: Missing headers. Check that the Secret"),
    ],
)
async def test_a_refused_credential_is_told_in_the_words_of_the_provider_however_it_says_them(
    fault: str, settings: dict[str, Any], why: str, new_stage: NewStage
) -> None:
    async with new_stage(BRISK) as stage:
        await two_authorities(stage)
        await one_authority(stage)
        await at_work(stage)
        stage.cdn.faults.set(fault, **SIGNING, **settings)
        await stage.ask("www", "web")
        await stage.ask("waits", "alone")
        assert signer_of(await ended(stage, "www")) == "backup"
        story = signer_story(stage.requests()["www"])
        assert why in story
        assert traced(story)
        waiting = await pending(stage, "waits")
        assert why in message(waiting)
        await warned_of(stage, "waits", "AuthorityUnauthorized", message(waiting))
