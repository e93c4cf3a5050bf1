"""Reading a specification: from the JSON a user applied to values that every other room may trust.

The API server enforces the same rules by the CRD. They are enforced here again, because an object may have been stored
under an older CRD, and because the sandbox knows no schemas. A field that is null counts as absent, as it does there.
A field that is not known counts as absent too: it comes from the CRD of a newer version. So does one about calls at an
authority that makes none, which an older CRD took: this version's CRD refuses it, and what was stored stays in service.

A default that nobody wrote makes nothing invalid. Where it contradicts what was written it gives way, in either
direction: with `deadline: 30s` alone an attempt takes 30s, with `openFor: 10m` alone `maxOpenFor` is 10m. Only two
fields that were both written can contradict each other.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, get_args

import msgspec
from msgspec import inspect

from issuer.api import duration
from issuer.api.duration import Duration, InvalidDurationError
from issuer.api.fields import ordered_durations
from issuer.api.issuer import (
    CALLS_ONLY,
    IN_PROCESS,
    AuthorityCommon,
    AuthorityMode,
    AuthoritySpec,
    FailbackMode,
    FailoverCause,
    IssuerSpec,
    SpecCommon,
    Timeouts,
    Trust,
    no_effect,
)
from issuer.api.issuerstatus import MAX_AUTHORITIES
from issuer.api.meta import without_nulls

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

T = TypeVar("T", bound=msgspec.Struct)

MAX_QUOTED: Final = 200
"""Characters of a problem that are shown; it may quote what the user wrote, at any length."""


class InvalidSpecError(ValueError):
    """The specification is nonsense; the text names the field and says what is wrong with it."""


def parse(raw: bytes | msgspec.Raw, kinds: Collection[str]) -> IssuerSpec:
    """Decode and check the specification of an issuer; `kinds` are the authority types that are registered.

    Raises:
        InvalidSpecError: with the field's path.
    """
    wire = _object(raw, "spec")
    entries = _decode(wire.pop("authorities", msgspec.Raw(b"[]")), list[msgspec.Raw], "spec.authorities")
    plain = _plain(wire, SpecCommon, "spec")
    ignored = [*_unknown_names(wire, SpecCommon, "spec"), *_unknown_causes(plain)]
    ignored += _unknown_value(plain, "trust", get_args(Trust), "spec")
    ignored += _unknown_value(plain.get("failback"), "mode", get_args(FailbackMode), "spec.failback")
    ignored += unknown_fields(plain, SpecCommon, "spec")
    common = convert(plain, SpecCommon, "spec")
    if not 1 <= len(entries) <= MAX_AUTHORITIES:
        raise InvalidSpecError(f"spec.authorities: 1 to {MAX_AUTHORITIES} are needed, there are {len(entries)}")
    read = [_authority(entry, kinds, common.deadline, f"spec.authorities[{i}]") for i, entry in enumerate(entries)]
    authorities = tuple(one.spec for one in read)
    names = [authority.name for authority in authorities]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InvalidSpecError(f"spec.authorities: the name {repeated!r} is used more than once")
    return IssuerSpec(
        authorities=authorities,
        deadline=common.deadline,
        failover=common.failover,
        trust=common.trust,
        rehearsal=common.rehearsal,
        recovery=common.recovery,
        failback=common.failback,
        cleanup=common.cleanup,
        ignored=(*ignored, *(path for one in read for path in one.ignored)),
        without_effect=tuple(clause for one in read for clause in one.without_effect),
    )


def unknown_fields(value: Any, type_: type[msgspec.Struct], path: str) -> tuple[str, ...]:
    """Paths of the fields, at any depth, that a struct does not have; `value` is decoded JSON."""
    return tuple(_unknown(_described(type_), value, path))


def decode_config(raw: msgspec.Raw, type_: type[T], path: str) -> T:
    """Decode the configuration of one kind of authority.

    Raises:
        InvalidSpecError: with the field's path.
    """
    return convert(_decode(raw, Any, path), type_, path)


def convert(value: Any, type_: type[T], path: str) -> T:
    """Turn decoded JSON into a struct, durations and their bounds included.

    Raises:
        InvalidSpecError: with the path of the field, `path` in front.
    """
    try:
        written = without_nulls(value)
        converted = msgspec.convert(written, type_, dec_hook=_dec_hook)
    except msgspec.ValidationError as error:
        raise InvalidSpecError(_located(str(error), path)) from None
    except RecursionError:
        raise InvalidSpecError(f"{path}: nested too deeply") from None
    _check(_described(type_), converted, path)
    return _in_order(converted, written, path)


class _Read(NamedTuple):
    """An authority as it was read, and what of it is passed over."""

    spec: AuthoritySpec
    ignored: Sequence[str]
    without_effect: Sequence[str]


def _authority(raw: msgspec.Raw, kinds: Collection[str], deadline: Duration, path: str) -> _Read:
    wire = _object(raw, path)
    given = sorted(kind for kind in kinds if kind in wire and bytes(wire[kind]) != b"null")
    unknown = sorted(set(wire) - _names(AuthorityCommon) - set(kinds))
    if unknown and not given:
        raise InvalidSpecError(
            f"{path}: unknown field {unknown[0][:MAX_QUOTED]!r}; authority types are {_listed(kinds)}"
        )
    if len(given) != 1:
        raise InvalidSpecError(f"{path}: exactly one of {_listed(kinds)} is needed, there are {len(given)}")
    plain = without_nulls(_plain(wire, AuthorityCommon, path))
    ignored = (
        *(f"{path}.{name}" for name in unknown),
        *_unknown_value(plain, "state", get_args(AuthorityMode), path),
        *unknown_fields(plain, AuthorityCommon, path),
    )
    common = convert(plain, AuthorityCommon, path)
    if common.ca_bundle and common.ca_bundle_secret_ref:
        raise InvalidSpecError(f"{path}: caBundle and caBundleSecretRef exclude each other")
    kind, without_effect = given[0], []
    if kind in IN_PROCESS:
        bare = convert({name: part for name, part in plain.items() if name not in CALLS_ONLY}, AuthorityCommon, path)
        without_effect = [
            f"{path}: {no_effect(kind, name)}" for name in CALLS_ONLY if getattr(common, name) != getattr(bare, name)
        ]
        common, plain = bare, {}
    timeouts = _fitted(common.timeouts, plain.get("timeouts", {}), deadline, f"{path}.timeouts")
    common = msgspec.structs.replace(common, timeouts=timeouts)
    return _Read(AuthoritySpec(common=common, kind=kind, config=wire[kind]), ignored, without_effect)


def _fitted(timeouts: Timeouts, written: Collection[str], deadline: Duration, path: str) -> Timeouts:
    """The timeouts with defaults that fit to what was written.

    An attempt and a turn that were both written are not compared: the turn ends the attempt.
    """
    if "attempt" not in written:
        return msgspec.structs.replace(timeouts, attempt=min(timeouts.attempt, timeouts.turn, deadline))
    if timeouts.attempt > deadline:
        raise InvalidSpecError(f"{path}.attempt: {timeouts.attempt} is longer than spec.deadline ({deadline})")
    if "turn" not in written:
        return msgspec.structs.replace(timeouts, turn=max(timeouts.turn, timeouts.attempt))
    return timeouts


def _unknown_names(wire: Mapping[str, Any], type_: type[msgspec.Struct], path: str) -> list[str]:
    return [f"{path}.{name[:MAX_QUOTED]}" for name in sorted(set(wire) - _names(type_))]


def _unknown_causes(spec: dict[str, Any]) -> list[str]:
    """Take the causes of failover that a newer version knows out of the specification, and name them."""
    failover = spec.get("failover")
    causes = failover.get("on") if isinstance(failover, dict) else None
    if not isinstance(failover, dict) or not isinstance(causes, list):
        return []
    unknown = [one for one in causes if isinstance(one, str) and one not in get_args(FailoverCause)]
    spec["failover"] = {**failover, "on": [one for one in causes if one not in unknown]}
    return [f"spec.failover.on {one[:MAX_QUOTED]!r}" for one in unknown]


def _unknown_value(part: Any, name: str, known: Collection[str], path: str) -> list[str]:
    """As `_unknown_causes`, for a field that holds one word."""
    value = part.get(name) if isinstance(part, dict) else None
    if not isinstance(value, str) or value in known:
        return []
    del part[name]
    return [f"{path}.{name} {value[:MAX_QUOTED]!r}"]


def _unknown(type_: inspect.Type, value: Any, path: str) -> Iterator[str]:
    match type_:
        case inspect.Metadata():
            yield from _unknown(type_.type, value, path)
        case inspect.UnionType():
            yield from _unknown(type_.types[0], value, path)
        case inspect.VarTupleType() if isinstance(value, list):
            for i, item in enumerate(value):
                yield from _unknown(type_.item_type, item, f"{path}[{i}]")
        case inspect.StructType() if isinstance(value, dict):
            fields = {field.encode_name: field for field in type_.fields}
            for name, inner in value.items():
                if name not in fields:
                    yield f"{path}.{name[:MAX_QUOTED]}"
                else:
                    yield from _unknown(fields[name].type, inner, f"{path}.{name}")
        case _:
            return


def _object(raw: bytes | msgspec.Raw, path: str) -> dict[str, msgspec.Raw]:
    return _decode(raw, dict[str, msgspec.Raw], path)


V = TypeVar("V")


def _decode(raw: bytes | msgspec.Raw, type_: type[V], path: str) -> V:
    try:
        return msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSpecError(_located(str(error), path)) from None
    except RecursionError:
        raise InvalidSpecError(f"{path}: nested too deeply") from None


def _plain(wire: Mapping[str, msgspec.Raw], type_: type[msgspec.Struct], path: str) -> dict[str, Any]:
    """The fields of the struct; what else there is stays undecoded."""
    return {name: _decode(wire[name], Any, f"{path}.{name}") for name in sorted(_names(type_) & set(wire))}


@cache
def _names(type_: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(type_))


@cache
def _fields(type_: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Kept for the same reason."""
    return msgspec.structs.fields(type_)


@cache
def _described(type_: type) -> inspect.Type:
    """Kept: it takes a millisecond, and hundreds of issuers may change at once."""
    return inspect.type_info(type_)


def _dec_hook(type_: type, value: Any) -> Any:
    if type_ is not Duration:
        raise NotImplementedError(type_)
    if not isinstance(value, str):
        raise InvalidDurationError("a duration is a string such as 90s, 1h30m or 500ms")
    parsed = Duration(value)
    if len(value) > duration.MAX_LENGTH or not re.fullmatch(duration.PATTERN, value):
        raise InvalidDurationError(f"not a duration such as 90s, 1h30m or 500ms: {value[:40]!r}")
    return parsed


def _check(type_: inspect.Type, value: Any, path: str) -> None:
    """What msgspec itself cannot check: bounds of a type of ours, and patterns to the letter."""
    match type_:
        case _ if value is None:
            return
        case inspect.Metadata(type=inspect.CustomType(), extra={"minimum": low, "maximum": high}):
            if not Duration(low) <= value <= Duration(high):
                raise InvalidSpecError(f"{path}: {value} is not between {low} and {high}")
        case inspect.Metadata(extra={"refused": bad, "message": message}) if value == bad:
            raise InvalidSpecError(f"{path}: {message}")
        case inspect.Metadata():
            _check(type_.type, value, path)
        case inspect.UnionType():
            _check(type_.types[0], value, path)
        case inspect.VarTupleType():
            for i, item in enumerate(value):
                _check(type_.item_type, item, f"{path}[{i}]")
        case inspect.StrType() if type_.pattern and value.endswith("\n"):
            # `$` matches before a last line break here, and not in the API server.
            raise InvalidSpecError(f"{path}: a line break is not allowed at the end")
        case inspect.StructType():
            for field in type_.fields:
                _check(field.type, getattr(value, field.name), f"{path}.{field.encode_name}")
        case _:
            return


def _in_order(struct: T, written: Mapping[str, Any], path: str) -> T:
    """The struct with durations in their order: a default gives way to the one that was written.

    Raises:
        InvalidSpecError: both were written.
    """
    changed: dict[str, Any] = {}
    for field in _fields(type(struct)):
        part = getattr(struct, field.name)
        if isinstance(part, msgspec.Struct):
            changed[field.name] = _in_order(part, written.get(field.encode_name, {}), f"{path}.{field.encode_name}")
    for shorter, longer in ordered_durations(type(struct)):
        short, long = getattr(struct, shorter.name), getattr(struct, longer.name)
        if short <= long:
            continue
        if shorter.encode_name not in written:
            changed[shorter.name] = long
        elif longer.encode_name not in written:
            changed[longer.name] = short
        else:
            raise InvalidSpecError(
                f"{path}.{shorter.encode_name}: {short} is longer than {longer.encode_name} ({long})"
            )
    return msgspec.structs.replace(struct, **changed)


def _located(message: str, path: str) -> str:
    """Msgspec says `Expected ... - at `$.limits.burst``; say `spec.limits.burst: Expected ...`."""
    found = re.fullmatch(r"(?s)(.*) - at `\$(.*)`", message)
    problem = found[1] if found else message
    cut = problem if len(problem) <= MAX_QUOTED else problem[: MAX_QUOTED - 1] + "…"
    return f"{path}{found[2]}: {cut}" if found else f"{path}: {cut}"


def _listed(kinds: Collection[str]) -> str:
    return ", ".join(sorted(kinds))
