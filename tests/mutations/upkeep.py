"""What keeps an installation well for years: recovery, rehearsals, clean-up, and the look at how it is installed."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_CLEANUP: Final = "issuer/controllers/cleanup.py"
_CLEANUP_TESTS: Final = ("unit/controllers/test_cleanup_of_requests.py",)
_REHEARSALS: Final = "issuer/controllers/rehearsals.py"
_INSTALLATION: Final = "issuer/controllers/installation.py"
_INSTALLATION_TESTS: Final = ("unit/controllers/test_installation.py",)
_RECOVERY: Final = "issuer/controllers/recovery.py"
_ISSUANCE: Final = "issuer/controllers/issuance.py"
_FAILBACK: Final = "issuer/controllers/failback.py"
_MOVES: Final = "issuer/controllers/moves.py"
_FAILBACK_TESTS: Final = ("unit/controllers/test_failback.py",)
_RENEWAL: Final = "issuer/controllers/renewal.py"
_RENEWAL_TESTS: Final = ("unit/controllers/test_renewal.py",)
_RECOVERY_TESTS: Final = ("unit/controllers/test_recovery.py",)
_HEALTH: Final = "issuer/controllers/certificatehealth.py"
_HEALTH_TESTS: Final = ("unit/controllers/test_certificate_health.py",)
_RISKS: Final = "issuer/api/risks.py"
_RISKS_TESTS: Final = ("unit/api/test_api_risks.py",)


def _component(file: str, test: str, variant: str = "sandbox") -> tuple[str, ...]:
    return (f"component/{file}.py::{test}[{variant}]",)


MUTATIONS: Final = (
    Mutation(
        "the newest failed requests of a Certificate are deleted too",
        _CLEANUP,
        "newest_first[spec.keep :]",
        "newest_first",
        _CLEANUP_TESTS,
    ),
    Mutation(
        "a request that failed a moment ago is deleted",
        _CLEANUP,
        "if one.failed_at is not None and one.failed_at < before",
        "if one.failed_at is not None",
        _CLEANUP_TESTS,
    ),
    Mutation(
        "a request that has changed since it was looked at is deleted",
        "issuer/controllers/deletion.py",
        'preconditions = {"uid": meta.uid, "resourceVersion": meta.resource_version}',
        "preconditions = {}",
        _component("test_failed_requests", "test_one_that_has_changed_meanwhile_is_not_deleted"),
    ),
    Mutation(
        "what is rehearsed is never settled, so never revoked",
        _REHEARSALS,
        "self._engine.settle(order.uid, None)",
        "pass",
        _component("test_rehearsed", "test_each_authority_signs_for_nobody_and_what_it_signed_is_revoked"),
    ),
    Mutation(
        "a rehearsal that was asked for is repeated for ever",
        _REHEARSALS,
        " or (last and last.requested_at == value)",
        "",
        ("unit/controllers/test_rehearsals.py",),
    ),
    Mutation(
        "all are rehearsed where one was asked for",
        _REHEARSALS,
        'return value if not names or authority in names else ""',
        "return value",
        ("unit/controllers/test_rehearsals.py",),
    ),
    Mutation(
        "two rehearsals are under way at once",
        _REHEARSALS,
        "async with self._one:",
        "if True:",
        _component("test_rehearsed", "test_two_looks_rehearse_one_after_the_other"),
    ),
    Mutation(
        "an account without calls left is rehearsed",
        _REHEARSALS,
        'health.state == "Degraded" and not health.is_limited',
        'health.state == "Degraded"',
        ("unit/controllers/test_rehearsals.py",),
    ),
    Mutation(
        "a rehearsal that failed is forgotten by the issuer",
        _REHEARSALS,
        'state="Degraded", message=f"its rehearsal at',
        'state=health.state, message=f"its rehearsal at',
        ("unit/controllers/test_rehearsals.py",),
    ),
    Mutation(
        "every authority is rehearsed again after a restart",
        _REHEARSALS,
        "for one in issuer.status.authorities if one.name == authority), None)",
        "for one in ()), None)",
        _component("test_rehearsed", "test_what_a_former_process_rehearsed_is_not_rehearsed_again"),
    ),
    Mutation(
        "all go at once after an outage, before anything is signed",
        _RENEWAL,
        "proven = [one for one in due if one.failure.failed_at < signed_at]",
        "proven = due",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "there may be many probes",
        _RENEWAL,
        "if not due or state.probe is not None or time < state.next_probe:",
        "if not due or time < state.next_probe:",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "a probe of which nothing is heard holds up all others for ever",
        _RENEWAL,
        "if probe is not None and not probe.is_pending and time - probe.since > PATIENCE:",
        "if probe is None:",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "probes that fail follow one another without a pause",
        _RENEWAL,
        "state.next_probe = time + state.pause",
        "state.next_probe = time",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "the same Certificate is the probe again and again",
        _RENEWAL,
        "key=lambda one: (one.probes, *one.urgency)",
        "key=lambda one: one.urgency",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "renewals have no rate",
        _RENEWAL,
        "self._next[failure.line.issuer] = time + 60.0 / per_minute",
        "self._next[failure.line.issuer] = time",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "what expires first may come last",
        _RENEWAL,
        "return Turn(min(proven, key=lambda one: one.urgency), is_probe=False)",
        "return Turn(proven[0], is_probe=False)",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "an issuance is started twice for one failure",
        _RENEWAL,
        "if uid == failure.request.uid:",
        "if not uid and failure.request.uid == uid:",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "a Certificate that was made again is taken for the one that failed",
        _RENEWAL,
        "if certificate is None or certificate.metadata.uid != failure.certificate_uid:",
        "if certificate is None:",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "a Certificate that was issued since is issued again",
        _RENEWAL,
        "if certificate.revision + 1 != failure.revision:",
        "if certificate.revision + 1 > failure.revision + 9:",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "a Certificate that was changed since is issued again",
        _RENEWAL,
        "if issuing.observed_generation not in (None, certificate.metadata.generation):",
        "if issuing.observed_generation == -1:",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "an issuance is started in the second of the failure, which cert-manager then takes for its own",
        _RENEWAL,
        "if now.replace(microsecond=0) <= failure.failed_at:",
        "if now < failure.failed_at:",
        _RENEWAL_TESTS,
    ),
    Mutation(
        "whether the failed request is still there is left to a cache that lags",
        _RECOVERY,
        "if judgement is Judgement.RENEW and not await self._is_there(failure):",
        "if certificate is None:",
        _RECOVERY_TESTS,
    ),
    Mutation(
        "an issuance is started where no authority can sign",
        _RECOVERY,
        "return entry.recovery if (able & line.only if line.only else able) else None",
        "return entry.recovery",
        _RECOVERY_TESTS,
    ),
    Mutation(
        "an issuer that does without recovery has it",
        _RECOVERY,
        "if entry is None or entry.plan is None or not entry.recovery.renew_after_outage:",
        "if entry is None or entry.plan is None:",
        _RECOVERY_TESTS,
    ),
    Mutation(
        "a Certificate is written to whatever has become of it since it was judged",
        _ISSUANCE,
        "return patch(meta.resource_version, {",
        'return patch("", {',
        _RECOVERY_TESTS,
    ),
    Mutation(
        "a 404 of something in between is taken for the end of a Certificate",
        _ISSUANCE,
        "if error.name == key.name:",
        "if key.name:",
        _RECOVERY_TESTS,
    ),
    Mutation(
        "who writes over our status is nobody's business",
        _INSTALLATION,
        'if before != self.name or after in ("", self.name):',
        "if before or after:",
        _INSTALLATION_TESTS,
    ),
    Mutation(
        "a release that is no more is taken for one that works",
        _INSTALLATION,
        'if before != self.name or after in ("", self.name):',
        'if after in ("", self.name):',
        _INSTALLATION_TESTS,
    ),
    Mutation(
        "fields that the CRD lacks are not missed",
        _INSTALLATION,
        "fields - served[kind] for kind",
        "fields - fields for kind",
        _INSTALLATION_TESTS,
    ),
    Mutation(
        "what is wrong with a Certificate is told with each look",
        _HEALTH,
        "marks = (*marks, mark)",
        "marks = (*marks,)",
        _HEALTH_TESTS,
    ),
    Mutation(
        "what was told of a Certificate is forgotten with its next renewal",
        _HEALTH,
        "revision = 0 if risk.code in SPEC_CODES else certificate.status.revision",
        "revision = certificate.status.revision",
        _HEALTH_TESTS,
    ),
    Mutation(
        "a process that comes after this one makes a second event",
        _HEALTH,
        "risk.code, message, once=named",
        "risk.code, message",
        _component("test_certificate_health", "test_the_next_process_tells_it_no_second_time"),
    ),
    Mutation(
        "events on Certificates hold up those of requests",
        _HEALTH,
        "allowed -= 1",
        "allowed -= 0",
        _HEALTH_TESTS,
    ),
    Mutation(
        "one Certificate that cannot be judged ends the look at all others",
        _HEALTH,
        "            return []",
        "            raise",
        _HEALTH_TESTS,
    ),
    Mutation(
        "where Certificates may not be listed nothing is signed",
        _HEALTH,
        "    informers: Final = ()",
        "    informers = property(lambda self: (self._certificates,))",
        _component("test_certificate_health", "test_who_may_not_list_certificates_signs_all_the_same", "sandbox-403"),
    ),
    Mutation(
        "each certificate is told of whose CA ends before the next",
        _RISKS,
        "if above is None or above > ends:",
        "if above is None:",
        _RISKS_TESTS,
    ),
    Mutation(
        "a key that is kept by default is not told of",
        _RISKS,
        "by_default = not policy and version is not None and version.keeps_keys",
        "by_default = False",
        _RISKS_TESTS,
    ),
    Mutation(
        "a Certificate goes back to an authority that would pass it over again",
        _FAILBACK,
        "if told is not None and told.reason == PASSED_OVER:",
        "if False:",
        _FAILBACK_TESTS,
    ),
    Mutation(
        "a Certificate is moved although nobody else signs such a one",
        _MOVES,
        "and _supports(one, order)",
        "and order",
        _FAILBACK_TESTS,
    ),
    Mutation(
        "all Certificates go back at once to an authority that nobody has asked since it was down",
        _MOVES,
        "record.probes += 1",
        "return",
        _FAILBACK_TESTS,
    ),
    Mutation(
        "a failure does not make the time count anew in which an authority was steady",
        _MOVES,
        "record.since, record.last_failure = time, health.last_failure",
        "record.last_failure = health.last_failure",
        _FAILBACK_TESTS,
    ),
    Mutation(
        "a Certificate is moved that was issued since",
        _MOVES,
        "if certificate.revision != request.revision or certificate.failed_at is not None:",
        "if certificate.failed_at is not None:",
        _FAILBACK_TESTS,
    ),
    Mutation(
        "an authority that is disabled keeps requests open that all others refuse",
        "issuer/signing/failover.py",
        "    allowed = active\n",
        "",
        ("unit/signing/test_engine_failover.py",),
    ),
    Mutation(
        "a Certificate that cannot be read holds up all others of its issuer",
        _FAILBACK,
        "            self._tried[uid] = _loop_time() + AGAIN\n",
        "",
        _FAILBACK_TESTS,
    ),
)
