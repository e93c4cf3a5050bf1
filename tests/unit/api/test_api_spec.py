"""Reading a specification: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from issuer.api.duration import Duration
from issuer.api.issuer import AuthorityCommon, Failover, Limits, Retry, Timeouts
from issuer.api.spec import InvalidSpecError, parse
from tests.unit.api.spec_documents import BACKUP, BAD, EDGE, GOOD, MEANINGLESS, NEWER, Bad, Meaningless, one, read, two

if TYPE_CHECKING:
    from typing import Any


def refusal(raw: bytes) -> str:
    with pytest.raises(InvalidSpecError) as caught:
        read(raw)
    return str(caught.value)


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_a_good_specification_is_taken(document: Any) -> None:
    parsed, configs = read(msgspec.json.encode(document))
    assert [authority.name for authority in parsed.authorities] == [entry["name"] for entry in document["authorities"]]
    assert len(configs) == len(parsed.authorities)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_specification_is_refused_and_the_field_is_named(bad: Bad) -> None:
    message = refusal(msgspec.json.encode(bad.document))
    assert bad.says in message
    assert message.startswith("spec")


@pytest.mark.parametrize("document", NEWER.values(), ids=NEWER)
def test_a_field_that_is_not_known_is_passed_over(document: Any) -> None:
    parsed, configs = read(msgspec.json.encode(document))
    assert len(parsed.authorities) == len(configs) == len(document["authorities"])
    assert parsed.authorities[0].common.limits == Limits()


@pytest.mark.parametrize(
    ("document", "ignored"),
    [
        (two(novelty={"mode": "Never"}), ("spec.novelty",)),
        (one(novelty="Draining"), ("spec.authorities[0].novelty",)),
        (one(state="Resting"), ("spec.authorities[0].state 'Resting'",)),
        (two(failback={"mode": "Sometimes"}), ("spec.failback.mode 'Sometimes'",)),
        (one(retry={"attempts": 1, "jitter": {"share": 0.5}}), ("spec.authorities[0].retry.jitter",)),
        (
            one(caBundleSecretRef={"name": "roots", "key": "ca.crt", "optional": True}),
            ("spec.authorities[0].caBundleSecretRef.optional",),
        ),
        (one(vault={}), ("spec.authorities[0].vault",)),
        (two(failover={"on": ["Unavailable", "Slow"], "after": 3}), ("spec.failover.on 'Slow'", "spec.failover.after")),
        (two(), ()),
    ],
)
def test_what_is_passed_over_is_named(document: Any, ignored: tuple[str, ...]) -> None:
    parsed, _ = read(msgspec.json.encode(document))
    assert parsed.ignored == ignored


def test_a_failure_that_a_newer_version_knows_leaves_the_others_in_force() -> None:
    parsed, _ = read(msgspec.json.encode(two(failover={"on": ["Unavailable", "Slow"]})))
    assert parsed.failover.on == ("Unavailable",)


def test_the_order_of_the_list_is_kept_and_each_entry_knows_its_kind() -> None:
    parsed, _ = read(msgspec.json.encode({"authorities": [BACKUP, EDGE]}))
    assert [(authority.name, authority.kind) for authority in parsed.authorities] == [
        ("backup", "ca"),
        ("edge", "cloudflare"),
    ]


def test_what_is_left_out_has_the_default() -> None:
    parsed, _ = read(msgspec.json.encode(one(retry={"attempts": 5})))
    assert parsed.deadline == Duration("1h")
    assert parsed.failover == Failover(("Unavailable", "RateLimited", "Unauthorized"))
    assert parsed.authorities[0].common == AuthorityCommon(
        name="edge", retry=Retry(attempts=5), timeouts=Timeouts(), limits=Limits()
    )


@pytest.mark.parametrize(
    ("document", "attempt", "turn"),
    [
        (two(deadline="30s"), "30s", "2m"),
        (two(deadline="90s"), "60s", "2m"),
        (one(timeouts={"turn": "20s"}), "20s", "20s"),
        (one(timeouts={"turn": "20s"}) | {"deadline": "10s"}, "10s", "20s"),
        (one(timeouts={"turn": "20s"}) | {"deadline": "40s"}, "20s", "20s"),
        (one(timeouts={"attempt": "5m"}), "5m", "5m"),
        (one(timeouts={"attempt": "5m", "turn": "1m"}), "5m", "1m"),
        (one(timeouts={"attempt": "30s"}) | {"deadline": "30s"}, "30s", "2m"),
        (one(timeouts={"attempt": None}) | {"deadline": "30s"}, "30s", "2m"),
        ({"deadline": "30s", "authorities": [BACKUP]}, "30s", "2m"),
    ],
)
def test_a_default_of_a_timeout_gives_way_to_what_was_written(document: Any, attempt: str, turn: str) -> None:
    parsed, _ = read(msgspec.json.encode(document))
    timeouts = parsed.authorities[0].common.timeouts
    assert (timeouts.attempt, timeouts.turn) == (Duration(attempt), Duration(turn))


@pytest.mark.parametrize(
    ("retry", "first", "last"),
    [
        ({"minBackoff": "30s"}, "30s", "30s"),
        ({"maxBackoff": "100ms"}, "100ms", "100ms"),
        ({"minBackoff": "1s"}, "1s", "20s"),
        ({"maxBackoff": "1s"}, "500ms", "1s"),
        ({"minBackoff": "30s", "maxBackoff": None}, "30s", "30s"),
    ],
)
def test_a_default_of_a_backoff_gives_way_to_what_was_written(retry: Any, first: str, last: str) -> None:
    parsed, _ = read(msgspec.json.encode(one(retry=retry)))
    found = parsed.authorities[0].common.retry
    assert (found.min_backoff, found.max_backoff, found.attempts) == (Duration(first), Duration(last), 3)


@pytest.mark.parametrize(
    ("breaker", "first", "longest"),
    [
        ({"openFor": "10m"}, "10m", "10m"),
        ({"maxOpenFor": "10s"}, "10s", "10s"),
        ({"openFor": "1m"}, "1m", "5m"),
        ({"maxOpenFor": "1m"}, "30s", "1m"),
    ],
)
def test_a_default_of_the_breaker_gives_way_to_what_was_written(breaker: Any, first: str, longest: str) -> None:
    parsed, _ = read(msgspec.json.encode(one(circuitBreaker=breaker)))
    found = parsed.authorities[0].common.circuit_breaker
    assert (found.open_for, found.max_open_for) == (Duration(first), Duration(longest))


@pytest.mark.parametrize("case", MEANINGLESS.values(), ids=MEANINGLESS)
def test_a_field_without_effect_that_was_stored_is_told_and_passed_over(case: Meaningless) -> None:
    parsed, _ = read(msgspec.json.encode(case.document))
    assert parsed.without_effect == case.says
    assert parsed.ignored == ()
    spec = parsed.authorities[-1].common
    assert spec.limits == Limits()
    assert (spec.timeouts.connect, spec.timeouts.turn) == (Timeouts().connect, Timeouts().turn)
    assert spec.timeouts.attempt == min(Timeouts().attempt, parsed.deadline)


def test_a_null_is_as_good_as_nothing() -> None:
    with_nulls = (
        b'{"authorities": [{"name": "x", "ca": {"secretRef": {"name": "y"}}, "cloudflare": null ,"retry": null}]}'
    )
    parsed, _ = read(with_nulls)
    assert parsed.authorities[0].kind == "ca"
    assert parsed.authorities[0].common.retry == Retry()


def test_only_the_given_kinds_are_known() -> None:
    with pytest.raises(InvalidSpecError, match="unknown field 'ca'; authority types are vault"):
        parse(msgspec.json.encode({"authorities": [BACKUP]}), ["vault"])


@pytest.mark.parametrize("raw", [b"", b"null", b"3", b'"x"', b"{", b"[]", b'{"authorities": [}', b"NaN", b"\xff"])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    assert refusal(raw).startswith("spec: ")


def test_numbers_that_no_machine_holds_are_refused() -> None:
    huge = msgspec.json.encode(one(limits={"requestsPerSecond": 77})).replace(b"77", b"1e999")
    assert refusal(huge) == "spec.authorities[0].limits[...]: Number out of range"


def test_a_text_that_is_not_unicode_is_refused() -> None:
    broken = msgspec.json.encode(two(deadline="XX")).replace(b"XX", b"\xff\xfe")
    assert refusal(broken).startswith("spec.deadline: ")


def test_deep_nesting_is_refused_wherever_it_is() -> None:
    deep = b"[" * 50_000 + b"]" * 50_000
    good = msgspec.json.encode(one(caBundle="HERE"))
    assert "nested too deeply" in refusal(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    assert "nested too deeply" in refusal(good.replace(b'"HERE"', deep))
    assert "nested too deeply" in refusal(b'{"authorities":' + deep + b"}")


def test_nesting_that_json_takes_is_still_refused() -> None:
    deep = b'{"a":' * 700 + b"1" + b"}" * 700
    assert refusal(b'{"authorities": [], "failover": ' + deep + b"}").startswith("spec")
    assert refusal(b'{"authorities": [], "failover": [[{"b": 1}]]}').startswith("spec.failover: ")


def test_a_refusal_does_not_repeat_a_flood() -> None:
    flood = "x" * 100_000
    unknown = {"authorities": [{"name": "edge", flood: {}}]}
    for document in (unknown, one(name=flood), one(retry={"attempts": flood}), two(deadline=flood)):
        assert len(refusal(msgspec.json.encode(document))) < 400
