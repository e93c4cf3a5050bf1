from __future__ import annotations

import random

from issuer.signing.breaker import Admission, Breaker, BreakerSettings, BreakerState


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class Case:
    def __init__(self, failures: int = 3, open_for: float = 30.0, max_open_for: float = 100.0, seed: int = 7) -> None:
        self.clock = Clock()
        self.changes: list[BreakerState] = []
        self.breaker = Breaker(
            BreakerSettings(failures, open_for, max_open_for),
            clock=self.clock,
            random=random.Random(seed),
            changed=self.changes.append,
        )

    def admit(self) -> Admission:
        admission = self.breaker.admit()
        assert admission is not None
        return admission

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.admit().failed()

    def opened(self) -> Case:
        self.fail(self.breaker.settings.failures)
        return self

    def probe(self) -> Admission:
        self.clock.time = self.breaker.open_until
        admission = self.admit()
        assert admission.probe
        return admission


def test_it_opens_after_the_configured_failures_in_a_row_and_not_sooner() -> None:
    case = Case(failures=3)
    case.fail(2)
    assert case.breaker.closed
    case.fail()
    assert case.breaker.state is BreakerState.OPEN
    assert case.breaker.admit() is None


def test_a_success_starts_the_count_again() -> None:
    case = Case(failures=3)
    case.fail(2)
    case.admit().succeeded()
    case.fail(2)
    assert case.breaker.closed


def test_a_refusal_of_the_request_starts_the_count_again() -> None:
    case = Case(failures=3)
    case.fail(2)
    case.admit().answered()
    case.fail(2)
    assert case.breaker.closed


def test_a_call_that_says_nothing_leaves_the_count_alone() -> None:
    case = Case(failures=3)
    case.fail(2)
    case.admit().release()
    case.fail()
    assert not case.breaker.closed


def test_nothing_passes_before_the_open_time_is_over() -> None:
    case = Case(open_for=30).opened()
    case.clock.time += 29.9
    assert case.breaker.admit() is None
    assert 130.0 <= case.breaker.open_until <= 136.0


def test_then_exactly_one_probe_passes() -> None:
    case = Case().opened()
    case.probe()
    assert case.breaker.state is BreakerState.HALF_OPEN
    assert case.breaker.admit() is None


def test_a_probe_that_signs_closes_it() -> None:
    case = Case().opened()
    case.probe().succeeded()
    assert case.breaker.closed
    assert case.breaker.failures == 0
    assert case.changes == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_each_failed_probe_doubles_the_open_time_up_to_the_longest() -> None:
    case = Case(open_for=30, max_open_for=100).opened()
    spans = []
    for _ in range(4):
        case.probe().failed()
        spans.append(case.breaker.open_until - case.clock.time)
    assert 60 <= spans[0] <= 72
    assert spans[1:] == [100, 100, 100]


def test_breakers_that_opened_together_do_not_probe_together() -> None:
    ends = [Case(seed=seed).opened().breaker.open_until - 100 for seed in range(20)]
    assert len(set(ends)) == 20
    assert all(30 <= end <= 36 for end in ends)


def test_after_closing_the_open_time_starts_small_again() -> None:
    case = Case(open_for=30).opened()
    case.probe().failed()
    case.probe().succeeded()
    case.opened()
    assert case.breaker.open_until - case.clock.time <= 36


def test_a_cancelled_probe_frees_its_place_and_does_not_double() -> None:
    case = Case().opened()
    until = case.breaker.open_until
    case.probe().release()
    assert case.breaker.open_until == until
    assert case.admit().probe


def test_a_refused_request_as_the_probe_neither_closes_nor_doubles() -> None:
    case = Case().opened()
    case.probe().answered()
    assert not case.breaker.closed
    assert case.admit().probe


def test_a_late_success_from_before_it_opened_does_not_close_it() -> None:
    case = Case()
    early = case.admit()
    case.opened()
    assert not early.valid
    early.succeeded()
    assert case.breaker.state is BreakerState.OPEN


def test_a_late_failure_from_before_it_opened_does_not_count_after_it_closed() -> None:
    case = Case(failures=1)
    early = case.admit()
    case.opened()
    case.probe().succeeded()
    early.failed()
    assert case.breaker.closed


def test_only_the_first_word_of_a_call_counts() -> None:
    case = Case(failures=2)
    admission = case.admit()
    admission.failed()
    admission.failed()
    assert case.breaker.failures == 1


def test_a_longest_time_below_the_open_time_does_not_shorten_it() -> None:
    case = Case(open_for=30, max_open_for=1).opened()
    assert case.breaker.open_until == 130
