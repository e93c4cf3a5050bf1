"""Which combinations of a list's and a watch's query make sense, in the real server's words.

A watch with `sendInitialEvents=true` is a list and a watch in one ("watch list"): what is there comes as ADDED, then a
bookmark says that this was all, then the watch goes on. Newer clients ask for it first and fall back to a list if the
server refuses; one that ignores the parameter leaves them waiting for a bookmark that never comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from issuer.sandbox.cluster.errors import StatusError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_OLDER: Final = "NotOlderThan"
_TRUE: Final = ("1", "true", "True")


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Whether a parameter says yes."""
    return query.get(name, "") in _TRUE


def check(query: Mapping[str, str]) -> None:
    """See whether the parameters of a list or a watch fit each other.

    Raises:
        StatusError: 422, with every reason.
    """
    problems = _of_watch(query) if is_true(query, "watch") else _of_list(query)
    if not problems:
        return
    told = [f"{field}: {problem}" for field, problem in problems]
    text = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    raise StatusError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {text}')


def number(query: Mapping[str, str], name: str) -> int:
    """A parameter that is a number; 0 if it is not given.

    Raises:
        StatusError: 400, it is none.
    """
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def exact_version(query: Mapping[str, str]) -> int:
    """The revision of which a list has to be; 0: of now.

    Raises:
        StatusError: 400, the version is no number.
    """
    version = query.get("resourceVersion") or "0"
    if not version.isdecimal():
        raise bad_request(f"invalid resource version: {_no_version(version)}")
    return int(version) if query.get("resourceVersionMatch") == "Exact" else 0


def watched_version(query: Mapping[str, str]) -> str:
    """The revision since which a watch is; empty: not given.

    Raises:
        StatusError: 500, it is no number; the real server knows no better code.
    """
    version = query.get("resourceVersion", "")
    if version and not version.isdecimal():
        raise StatusError(500, "", _no_version(version))
    return version


def _no_version(text: str) -> str:
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def _of_watch(query: Mapping[str, str]) -> list[tuple[str, str]]:
    match, field = query.get("resourceVersionMatch", ""), "resourceVersionMatch"
    problems: list[tuple[str, str]] = []
    if "sendInitialEvents" in query and match != NOT_OLDER:
        problems.append((field, f"Forbidden: sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}"))
    if match and "sendInitialEvents" not in query:
        text = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        problems.append((field, text))
    if match and match != NOT_OLDER:
        problems.append((field, f'Unsupported value: "{match}": supported values: "{NOT_OLDER}"'))
    return problems


def _of_list(query: Mapping[str, str]) -> list[tuple[str, str]]:
    match, field = query.get("resourceVersionMatch", ""), "resourceVersionMatch"
    problems: list[tuple[str, str]] = []
    if match and not query.get("resourceVersion"):
        problems.append((field, "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if match and query.get("continue"):
        problems.append((field, "Forbidden: resourceVersionMatch is forbidden when continue is provided"))
    if match not in ("", "Exact", NOT_OLDER):
        supported = f'"Exact", "{NOT_OLDER}", ""'
        problems.append((field, f'Unsupported value: "{match}": supported values: {supported}'))
    if match == "Exact" and query.get("resourceVersion") == "0":
        problems.append((field, 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if "sendInitialEvents" in query:
        problems.append(("sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list"))
    return problems
