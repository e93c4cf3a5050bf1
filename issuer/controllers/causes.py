"""What the failures of a go at the authorities come to: in a word, for a program, and in sentences, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.authorities.errors import AuthorityError

CAUSES: Final = ("InProgress", "Unavailable", "RateLimited", "Unauthorized", "Rejected", "Unsupported")
"""Causes of `AuthorityError`, the one that is most likely to pass first."""


def cause_of(failures: Sequence[AuthorityError]) -> str:
    """Why nobody signed, in a word that a program can act on: the cause that is most likely to pass.

    Unavailable, RateLimited and Unauthorized are trouble of an authority, InProgress is none; Rejected and Unsupported
    are what the authorities think of the request. NotAsked: none could be asked in the time there was.
    """
    causes = {failure.cause for failure in failures}
    return next((cause for cause in CAUSES if cause in causes), "NotAsked")


def summary(failures: Sequence[AuthorityError]) -> str:
    """What each authority came to: the same for the same reasons, whatever the attempt."""
    return "; ".join(" ".join(filter(None, (one.authority, one.reason, one.code))) for one in failures)


def reasons(failures: Sequence[AuthorityError]) -> str:
    """What each authority said, for a request that waits."""
    return "; ".join(str(failure) for failure in failures) or "no authority may sign this request"


def final(failures: Sequence[AuthorityError]) -> str:
    """As `reasons`, for a request that has ended: nothing is tried again for it."""
    return "; ".join(failure.final for failure in failures) or "no authority may sign this request"


def event_of(failures: Sequence[AuthorityError]) -> str:
    """The reason of the event: the cause or a narrower word for it, where all authorities share one."""
    found = {failure.reason for failure in failures}
    return f"Authority{found.pop()}" if len(found) == 1 else "AuthoritiesFailed"
