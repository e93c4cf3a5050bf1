"""Reading a specification: from the JSON a user applied to values that every other room may trust.

The API server enforces the same rules by the CRD. They are enforced here again, because an object may have been stored
under an older CRD, and because the sandbox knows no schemas.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import inspect

from issuer.api.duration import Duration, InvalidDurationError
from issuer.api.issuer import MAX_AUTHORITIES, AuthorityCommon, AuthoritySpec, IssuerSpec, SpecCommon

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

T = TypeVar("T", bound=msgspec.Struct)


class InvalidSpecError(ValueError):
    """The specification is nonsense; the text names the field and says what is wrong with it."""


def parse(raw: bytes | msgspec.Raw, kinds: Collection[str]) -> IssuerSpec:
    """Decode and check the specification of an issuer; `kinds` are the authority types that are registered.

    Raises:
        InvalidSpecError: with the field's path.
    """
    wire = _object(raw, "spec")
    entries = _decode(wire.pop("authorities", msgspec.Raw(b"[]")), list[msgspec.Raw], "spec.authorities")
    common = convert(_plain(wire), SpecCommon, "spec")
    if not 1 <= len(entries) <= MAX_AUTHORITIES:
        raise InvalidSpecError(f"spec.authorities: 1 to {MAX_AUTHORITIES} are needed, there are {len(entries)}")
    authorities = tuple(_authority(entry, kinds, f"spec.authorities[{i}]") for i, entry in enumerate(entries))
    names = [authority.name for authority in authorities]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InvalidSpecError(f"spec.authorities: the name {repeated!r} is used more than once")
    for i, authority in enumerate(authorities):
        attempt = authority.common.timeouts.attempt
        if attempt > common.deadline:
            raise InvalidSpecError(
                f"spec.authorities[{i}].timeouts.attempt: {attempt} is longer than spec.deadline ({common.deadline})"
            )
    return IssuerSpec(authorities=authorities, deadline=common.deadline, failover=common.failover)


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
        converted = msgspec.convert(value, type_, dec_hook=_dec_hook)
    except msgspec.ValidationError as error:
        raise InvalidSpecError(_located(str(error), path)) from None
    _check_bounds(converted, path)
    return converted


def _authority(raw: msgspec.Raw, kinds: Collection[str], path: str) -> AuthoritySpec:
    wire = _object(raw, path)
    known = {field.encode_name for field in msgspec.structs.fields(AuthorityCommon)}
    unknown = sorted(set(wire) - known - set(kinds))
    if unknown:
        raise InvalidSpecError(f"{path}: unknown field {unknown[0]!r}; authority types are {_listed(kinds)}")
    given = sorted(kind for kind in kinds if kind in wire and bytes(wire[kind]) != b"null")
    if len(given) != 1:
        raise InvalidSpecError(f"{path}: exactly one of {_listed(kinds)} is needed, there are {len(given)}")
    common = convert(_plain({name: value for name, value in wire.items() if name in known}), AuthorityCommon, path)
    if common.ca_bundle and common.ca_bundle_secret_ref:
        raise InvalidSpecError(f"{path}: caBundle and caBundleSecretRef exclude each other")
    return AuthoritySpec(common=common, kind=given[0], config=wire[given[0]])


def _object(raw: bytes | msgspec.Raw, path: str) -> dict[str, msgspec.Raw]:
    return _decode(raw, dict[str, msgspec.Raw], path)


V = TypeVar("V")


def _decode(raw: bytes | msgspec.Raw, type_: type[V], path: str) -> V:
    try:
        return msgspec.json.decode(raw, type=type_)
    except msgspec.DecodeError as error:
        raise InvalidSpecError(_located(str(error), path)) from None


def _plain(wire: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(value) for name, value in wire.items()}


def _dec_hook(type_: type, value: Any) -> Any:
    if type_ is not Duration:
        raise NotImplementedError(type_)
    if not isinstance(value, str):
        raise InvalidDurationError("a duration is a string such as 90s, 1h30m or 500ms")
    return Duration(value)


def _check_bounds(struct: msgspec.Struct, path: str) -> None:
    """Durations against the bounds that their fields declare; msgspec itself cannot compare a type of ours."""
    described = inspect.type_info(type(struct))
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        value, where = getattr(struct, field.name), f"{path}.{field.encode_name}"
        if isinstance(value, msgspec.Struct):
            _check_bounds(value, where)
        elif isinstance(value, Duration) and isinstance(field.type, inspect.Metadata) and field.type.extra:
            low, high = field.type.extra["minimum"], field.type.extra["maximum"]
            if not Duration(low) <= value <= Duration(high):
                raise InvalidSpecError(f"{where}: {value} is not between {low} and {high}")


def _located(message: str, path: str) -> str:
    """Msgspec says `Expected ... - at `$.limits.burst``; say `spec.limits.burst: Expected ...`."""
    found = re.fullmatch(r"(?s)(.*) - at `\$(.*)`", message)
    return f"{path}{found[2]}: {found[1]}" if found else f"{path}: {message}"


def _listed(kinds: Collection[str]) -> str:
    return ", ".join(sorted(kinds))
