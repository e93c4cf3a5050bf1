"""The controllers: when a request is looked at again, what is decided, and what is written."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_AGENDA: Final = "issuer/controllers/agenda.py"
_TRIGGERS: Final = "issuer/controllers/triggers.py"
_MEMORY: Final = "issuer/controllers/memory.py"
_REQUESTS: Final = "issuer/controllers/requests.py"
_TURNS: Final = "issuer/controllers/turns.py"
_DELIVERY: Final = "issuer/controllers/delivery.py"
_DECISION: Final = "issuer/controllers/decision.py"
_MANAGER: Final = "issuer/controllers/manager.py"


_AGENDA_TESTS: Final = ("unit/controllers/test_agenda.py",)
_TRIGGER_TESTS: Final = ("unit/controllers/test_triggers.py",)
_DECISION_TESTS: Final = ("unit/controllers/test_decision.py",)
_MANAGER_TESTS: Final = ("unit/controllers/test_manager.py",)


def _component(file: str, test: str, variant: str = "sandbox") -> tuple[str, ...]:
    return (f"component/{file}.py::{test}[{variant}]",)


_DELIVERY_TESTS: Final = ("unit/controllers/test_delivery.py",)
MUTATIONS: Final = (
    Mutation(
        "those whose certificate ends first may be taken up last",
        _TRIGGERS,
        "in sorted(self._requests.by_index(UNFINISHED, one), key=self._urgency):",
        "in self._requests.by_index(UNFINISHED, one):",
        _TRIGGER_TESTS,
    ),
    Mutation(
        "a look may be planned for later than in a minute",
        _AGENDA,
        old="min(result.look_again_at - asyncio.get_running_loop().time(), LATEST)",
        new="result.look_again_at - asyncio.get_running_loop().time()",
        tests=_AGENDA_TESTS,
    ),
    Mutation(
        "a request at its deadline queues behind the others of its issuer",
        _AGENDA,
        old="        self._rung.add(key)\n        self.changed(key, lane)\n",
        new="        self.changed(key, lane)\n",
        tests=_AGENDA_TESTS,
    ),
    Mutation(
        "an alarm that has rung too early does not ring again",
        _AGENDA,
        old="if at is not None and key not in self._rung and abs(at - deadline) < SAME:",
        new="if at is not None and abs(at - deadline) < SAME:",
        tests=_AGENDA_TESTS,
    ),
    Mutation(
        "a deadline that moves leaves its alarm behind",
        _AGENDA,
        old="if at is not None and key not in self._rung and abs(at - deadline) < SAME:",
        new="if at is not None and key not in self._rung:",
        tests=_AGENDA_TESTS,
    ),
    Mutation(
        "the alarm of a request that is over rings",
        _AGENDA,
        old="        _, alarm = self._alarms.pop(key, (0.0, None))\n        if alarm is not None:",
        new="        _, alarm = self._alarms.pop(key, (0.0, None))\n        if False and alarm:",
        tests=_AGENDA_TESTS,
    ),
    Mutation(
        "a lost look is not healed",
        _AGENDA,
        old="        if key not in self._queue:\n            broken = True\n            self.wake(key, lane)\n",
        new="",
        tests=_AGENDA_TESTS,
    ),
    Mutation(
        "a lost alarm is not healed",
        _AGENDA,
        old="            broken = True\n            self.expect(key, lane, deadline)\n",
        new="            pass\n",
        tests=_AGENDA_TESTS,
    ),
    Mutation(
        "what was approved before the start is not suspected",
        _TRIGGERS,
        old="            if request.is_approved:\n",
        new="            if False:\n",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "the engine is not told what was received in the cluster",
        "issuer/controllers/program.py",
        old="received=received.__contains__",
        new="received=lambda _: False",
        tests=_component(
            "test_restart", "test_what_a_former_process_delivered_is_not_revoked_for_another_request_with_the_same_key"
        ),
    ),
    Mutation(
        "what nobody had approved at the start is suspected",
        _TRIGGERS,
        old="            if request.is_approved:\n",
        new="            if True:\n",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "what was approved before the start and is seen later is not suspected",
        _TRIGGERS,
        old="if approved is None or approved < self._started.replace(microsecond=0):",
        new="if False:",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "our own writes of conditions hurry a request",
        _TRIGGERS,
        old="return old is None or new is None or decisive(old) != decisive(new)",
        new="return True",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "a resync passes over what the memory has lost",
        _TRIGGERS,
        old="            state = self._meet(request)\n            lost +=",
        new="            state = self._memory.get(request.metadata.uid)\n            lost +=",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "a resync passes over what the cache shows no more",
        _TRIGGERS,
        old="                lost += self._heal(state)\n",
        new="                pass\n",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "a wake of thousands holds the loop",
        _TRIGGERS,
        old="list(islice(self._woken, AT_A_TIME))",
        new="list(self._woken)",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "the recovery of one issuer wakes the requests of all",
        _TRIGGERS,
        old="self._requests.index_values(UNFINISHED) if issuer is None else (issuer,)",
        new="self._requests.index_values(UNFINISHED)",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "a request that has ended is taken up while the cache shows it unfinished",
        _MEMORY,
        old="            if uid in self._ended:\n                return None\n",
        new="",
        tests=_TRIGGER_TESTS,
    ),
    Mutation(
        "a request that a defect meets is never ended",
        _REQUESTS,
        old="        if request.is_approved and left <= 0:\n",
        new="        if False:\n",
        tests=_component("test_deadline_timer", "test_a_request_that_meets_a_defect_of_ours_ends_at_its_deadline"),
    ),
    Mutation(
        "what is signed is signed again when it is decided anew",
        _TURNS,
        old="            state.issued = outcome\n",
        new="            pass\n",
        tests=_component("test_request_agenda", "test_what_is_signed_is_not_signed_again_though_it_is_decided_anew"),
    ),
    Mutation(
        "at the deadline that there was no time hides what the authority had said",
        _TURNS,
        old="        outcome = outcome.after(state.last)\n",
        new="",
        tests=(
            (
                "unit/controllers/test_request_properties.py::"
                "test_goes_without_time_for_a_call_leave_the_message_what_the_last_call_came_to"
            ),
        ),
    ),
    Mutation(
        "a result whose write may have arrived is revoked",
        _REQUESTS,
        old="            state.perhaps_written |= perhaps_applied(error)\n",
        new="",
        tests=_component(
            "test_status_writes",
            "test_a_delivered_certificate_is_not_revoked_though_the_answer_was_lost_and_the_request_deleted",
            "sandbox-cut",
        ),
    ),
    Mutation(
        "any change of a request has its authorities asked before their time",
        _REQUESTS,
        old="            if state.turn_due > _loop_time() and state.only == decision.only:\n",
        new="            if False:\n",
        tests=_component("test_request_agenda", "test_a_change_that_allows_no_other_authority_hurries_no_request"),
    ),
    Mutation(
        "a Pending condition is written at each attempt",
        _REQUESTS,
        old="        if state.why == verdict.why or (",
        new="        if False and (",
        tests=_component("test_contract", "test_the_pending_condition_is_written_once_for_one_reason"),
    ),
    Mutation(
        "a stop sends new calls to the provider",
        _MANAGER,
        old="        if self._stopping:\n            raise StoppingError\n",
        new="",
        tests=_MANAGER_TESTS,
    ),
    Mutation(
        "what may be called is not asked of the lease",
        _MANAGER,
        old="            raise StoppingError\n        if self._elector is not None:\n",
        new="            raise StoppingError\n        if False and self._elector:\n",
        tests=_component(
            "test_leadership",
            "test_a_leader_that_was_stopped_past_its_lease_may_neither_call_nor_write_when_it_goes_on",
        ),
    ),
    Mutation(
        "what may be written is not asked of the lease",
        _MANAGER,
        old='        """\n        if self._elector is not None:\n            self._elector.check()\n\n    def snapshot',
        new='        """\n\n    def snapshot',
        tests=_component(
            "test_leadership",
            "test_a_leader_that_was_stopped_past_its_lease_may_neither_call_nor_write_when_it_goes_on",
        ),
    ),
    Mutation(
        "a takeover begins with a cache that may be minutes old",
        _MANAGER,
        old="            await asyncio.gather(*(informer.refresh() for informer in fresh))\n",
        new="",
        tests=_MANAGER_TESTS,
    ),
    Mutation(
        "a defect in a chore ends the work",
        _MANAGER,
        old="        except Exception:\n",
        new="        except TimeoutError:\n",
        tests=_MANAGER_TESTS,
    ),
    Mutation(
        "a stop takes as long as it likes",
        _MANAGER,
        old="            async with asyncio.timeout(self._grace):\n",
        new="            if True:\n",
        tests=_MANAGER_TESTS,
    ),
    Mutation(
        "a conflict is answered by writing what was decided before",
        _DELIVERY,
        old="            if decisive(latest) != decisive(current):\n",
        new="            if False:\n",
        tests=_DELIVERY_TESTS,
    ),
    Mutation(
        "an end that somebody else wrote is overwritten",
        _DELIVERY,
        old="            if latest.is_finished:\n",
        new="            if False:\n",
        tests=_DELIVERY_TESTS,
    ),
    Mutation(
        "one 404 is proof that a request is gone",
        _DELIVERY,
        old="            except (ConflictError, NotFoundError):\n",
        new="            except NotFoundError:\n                return Delivered(delivery=Delivery.GONE)\n"
        "            except ConflictError:\n",
        tests=_DELIVERY_TESTS,
    ),
    Mutation(
        "a 404 that does not name the request is believed",
        _DELIVERY,
        old="            if error.name == key.name:\n",
        new="            if True:\n",
        tests=_DELIVERY_TESTS,
    ),
    Mutation(
        "a result is written to a namesake",
        _DELIVERY,
        old="        return latest if latest.metadata.uid == uid else None\n",
        new="        return latest\n",
        tests=_DELIVERY_TESTS,
    ),
    Mutation(
        "our own write whose answer was lost is taken for somebody else's",
        _DELIVERY,
        old="Delivery.WRITTEN if self._kind(latest.metadata.key).carries(latest, verdict) else Delivery.ENDED",
        new="Delivery.ENDED",
        tests=_DELIVERY_TESTS,
    ),
    Mutation(
        "a server error is taken for a write that did not arrive",
        _DELIVERY,
        old="return isinstance(error, ServerError) or (",
        new="return (",
        tests=_DELIVERY_TESTS,
    ),
    Mutation(
        "a request is signed before it is approved",
        _DECISION,
        old="    if not request.is_approved:\n        return AwaitApproval()\n",
        new="",
        tests=_DECISION_TESTS,
    ),
    Mutation(
        "a denied request is signed",
        _DECISION,
        old="    if request.is_denied:\n",
        new="    if False:\n",
        tests=_DECISION_TESTS,
    ),
    Mutation(
        "a finished request is decided again",
        _DECISION,
        old="    if request.is_finished or request.metadata.deletion_timestamp:\n        return Leave()\n",
        new="",
        tests=_DECISION_TESTS,
    ),
    Mutation(
        "a deadline that has passed ends nothing",
        _DECISION,
        old="    if late and (history.had_turn or (last is not None and last.attempted)):\n",
        new="    if False:\n",
        tests=_DECISION_TESTS,
    ),
    Mutation(
        "a request that was late when it was first seen gets no turn",
        _DECISION,
        old="    if late and (history.had_turn or (last is not None and last.attempted)):\n",
        new="    if late:\n",
        tests=_DECISION_TESTS,
    ),
    Mutation(
        "an issuer that is away for a moment takes its deadline along",
        _DECISION,
        old="DEFAULT_DEADLINE if known is None else known",
        new="DEFAULT_DEADLINE",
        tests=_DECISION_TESTS,
    ),
    Mutation(
        "a request that is late when it is first seen is not given time for its issuer",
        _DECISION,
        old="return expires if seen < expires or history.seen is None else seen + LATE_ISSUER",
        new="return expires",
        tests=_DECISION_TESTS,
    ),
    Mutation(
        "a CSR that asks for a CA is signed",
        _DECISION,
        old="csr.parse(request.encoded_csr, is_ca=request.wants_ca)",
        new="csr.parse(request.encoded_csr, is_ca=True)",
        tests=_DECISION_TESTS,
    ),
)
