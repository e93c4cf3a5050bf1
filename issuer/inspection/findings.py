"""What is found to be wrong: one sentence, and one command that leads to its end.

A code is for programs and stays the same; a sentence is for people and may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Severity = Literal["error", "warning", "note"]

Code = Literal[
    "MissingCRD",
    "OtherCRDs",
    "CertManagerTooOld",
    "NoController",
    "TwoControllers",
    "NotFound",
    "Unreadable",
    "WrongGroup",
    "WrongKind",
    "IssuerMissing",
    "InvalidSpec",
    "IssuerNotReady",
    "SecretMissing",
    "KeyMissing",
    "Misconfigured",
    "CredentialRefused",
    "BreakerOpen",
    "BreakerUntested",
    "RateLimited",
    "OtherIssuerMissing",
    "OtherIssuerNotReady",
    "ChildNotApproved",
    "NoActiveAuthority",
    "AuthorityDegraded",
    "AuthorityUnavailable",
    "CAExpired",
    "CAExpires",
    "FallbackNotTrusted",
    "NeverRehearsed",
    "NotApproved",
    "NotApprovedYet",
    "Denied",
    "NotTakenUp",
    "SigningRequestsOff",
    "Waiting",
    "InProgress",
    "Rejected",
    "InvalidRequest",
    "Unsupported",
    "DeadlineExceeded",
    "CertificateRefused",
    "NoRequest",
    "InBackoff",
    "Expired",
    "ExpiresSoon",
    "RenewalOverdue",
    "HistoryTooShort",
    "KeyNotRotated",
    "DurationNotOffered",
    "NotOurs",
    "MissingRight",
    "NotAll",
]
"""Every code there is; docs/commands.md tells each."""

ERROR: Final = "error"
"""Certificates are not issued, or will not be. `doctor` ends with 1."""
WARNING: Final = "warning"
"""It works, and will hurt."""
NOTE: Final = "note"
"""Worth knowing: what could not be looked at, say."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes:
        severity: error, warning or note.
        code: what it is, in a word that stays the same.
        object: which one it is about, as `Kind namespace/name`.
        sentence: what is wrong.
        fix: the command that helps, or leads on; empty if none does.
    """

    severity: Severity
    code: Code
    object: str
    sentence: str
    fix: str = ""

    @property
    def is_error(self) -> bool:
        """Whether it keeps certificates from being issued."""
        return self.severity == ERROR


def title(kind: str, namespace: str, name: str) -> str:
    """How findings name an object."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Each once, where it came first: an issuer's trouble is that of each of its Certificates."""
    return list(
        {(finding.code, finding.object, finding.sentence): finding for finding in reversed([*findings])}.values()
    )[::-1]


def summary(findings: Iterable[Finding]) -> str:
    """How many there are, in a line."""
    severities = [finding.severity for finding in findings]
    errors, warnings = severities.count(ERROR), severities.count(WARNING)
    if not errors and not warnings:
        return "no problems"
    counted = [(errors, "problem"), (warnings, "warning")]
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counted if count)
