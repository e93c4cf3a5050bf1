"""What is wrong with a Certificate: its time runs out, its chain ends, or it is set up so that a renewal hurts.

The judgement alone, of plain values: `doctor` makes findings of it, the controller events and a metric. A code is for
programs and stays the same, a sentence is for people and may change.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, TypeVar, get_args

from issuer.api.duration import human
from issuer.api.meta import format_time

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.api.certmanager import CertManager

TimeCode = Literal["Expired", "ExpiresSoon", "RenewalOverdue"]
ChainCode = Literal["ChainExpires", "ChainEndsFirst"]
SpecCode = Literal["HistoryTooShort", "KeyNotRotated"]
RiskCode = TimeCode | ChainCode | SpecCode
Code_co = TypeVar("Code_co", bound=RiskCode, covariant=True)

SPEC_CODES: Final[tuple[SpecCode, ...]] = get_args(SpecCode)
"""What a renewal does not change."""
CODES: Final[tuple[RiskCode, ...]] = (*get_args(TimeCode), *get_args(ChainCode), *SPEC_CODES)
NEAR: Final = timedelta(days=3)
"""Of what is left of a certificate whose renewal fails: less than this is an error."""
OVERDUE: Final = timedelta(minutes=10)
"""How long after its renewal time a Certificate may be without a new certificate and nothing be said."""
CA_ENDS: Final = timedelta(days=30)
"""How long before its end a CA is told of."""


class Risk(NamedTuple, Generic[Code_co]):
    """One thing that is wrong with a Certificate.

    Attributes:
        code: what it is.
        sentence: what is wrong.
        remedy: what to do about it, as an imperative.
        patch: a merge patch of the Certificate that does it; empty if none does.
    """

    code: Code_co
    sentence: str
    remedy: str
    patch: str = ""


def kept_key(policy: str, version: CertManager | None) -> Risk[SpecCode] | None:
    """The same key with each renewal.

    Args:
        policy: `spec.privateKey.rotationPolicy`; empty where there is none.
        version: of cert-manager; None: not known, so nothing is said of its default.
    """
    by_default = not policy and version is not None and version.keeps_keys
    if policy != "Never" and not by_default:
        return None
    return Risk(
        "KeyNotRotated",
        f"with privateKey.rotationPolicy Never{' (the default)' if by_default else ''} each renewal has the same key, "
        "and what has failed with it can keep cert-manager from trying again",
        "set spec.privateKey.rotationPolicy to Always",
        '{"spec":{"privateKey":{"rotationPolicy":"Always"}}}',
    )


def short_history(limit: int | None, version: CertManager | None, *, with_cloudflare: bool) -> Risk[SpecCode] | None:
    """One request is kept, and the authority changes what was asked for.

    Args:
        limit: `spec.revisionHistoryLimit`.
        version: of cert-manager; None: not known, so nothing is said of its default.
        with_cloudflare: an authority of the issuer is Cloudflare.
    """
    by_default = limit is None and version is not None and version.keeps_one
    if not with_cloudflare or (limit != 1 and not by_default):
        return None
    return Risk(
        "HistoryTooShort",
        f"with revisionHistoryLimit 1{' (the default)' if by_default else ''} it is not Ready for as long "
        "as a renewal takes, since Cloudflare sets the common name; 2 keeps it Ready",
        "set spec.revisionHistoryLimit to 2",
        '{"spec":{"revisionHistoryLimit":2}}',
    )


def running_out(
    ends: datetime | None, due: datetime | None, now: datetime, *, is_renewing: bool, secret: str
) -> Risk[TimeCode] | None:
    """The certificate in use has ended, or its renewal does not come through.

    Args:
        ends: when it ends; None: there is none, or it is not known.
        due: when cert-manager was to renew it.
        now: the time.
        is_renewing: cert-manager has it issued, or waits after a failure.
        secret: where the certificate is.
    """
    if ends is None:
        return None
    left, remedy = ends - now, "see why with `cdn-issuer doctor`, and renew it with `cmctl renew`"
    if left <= timedelta(0):
        return Risk("Expired", f"the certificate in Secret {secret} has ended at {format_time(ends)}", remedy)
    if due is None or not (now - due > OVERDUE or (left < NEAR and is_renewing and due < now)):
        return None
    return Risk(
        "ExpiresSoon" if left < NEAR else "RenewalOverdue",
        f"its renewal was due at {format_time(due)} and has not come through; the certificate in Secret "
        f"{secret} ends in {human(left.total_seconds())}, at {format_time(ends)}",
        remedy,
    )


def ending_chain(ends: datetime, above: datetime | None, now: datetime) -> Risk[ChainCode] | None:
    """A CA of the chain ends before the certificate does, or with it and soon: then no renewal lasts.

    Args:
        ends: when the certificate ends.
        above: when the first of the CAs above it ends; None: not known.
        now: the time.
    """
    if above is None or above > ends:
        return None
    left = above - now
    if left < CA_ENDS:
        told = f"ends in {human(left.total_seconds())}, at" if left > timedelta(0) else "has ended at"
        return Risk(
            "ChainExpires",
            f"a CA of its chain {told} {format_time(above)}, and no verifier takes the certificate after that",
            "replace that CA, or have another authority sign, and renew it with `cmctl renew`",
        )
    if above == ends:
        return None
    return Risk(
        "ChainEndsFirst",
        f"a CA of its chain ends at {format_time(above)}, before the certificate itself, at {format_time(ends)}, and "
        "cert-manager goes by the later one",
        "set a spec.duration with which it is renewed before that CA ends",
    )
