"""The status of a CDNIssuer or CDNClusterIssuer, as the controller writes it.

Like the specification it is a source of the CRDs (`issuer.api.schema`). One that cannot be read counts as empty: it is
ours to write, and may be of another version.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct

from issuer.api.condition import Condition

MAX_AUTHORITIES: Final = 8
"""Of one issuer."""

RehearsalResult = Literal["Succeeded", "Failed"]
State = Literal[
    "Available",
    "Degraded",
    "Open",
    "Untested",
    "Unauthorized",
    "SecretNotFound",
    "Misconfigured",
    "IssuerNotFound",
    "IssuerNotReady",
    "Unknown",
    "Draining",
    "Disabled",
]


class RehearsalStatus(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """How the last rehearsal of an authority went."""

    time: Annotated[str, Meta(description="When it ended.", extra_json_schema={"format": "date-time"})]
    result: Annotated[
        str, Meta(description="Succeeded or Failed.", extra_json_schema={"enum": list(get_args(RehearsalResult))})
    ]
    duration: Annotated[str, Meta(description="How long it took.", extra_json_schema={"maxLength": 32})] = ""
    message: Annotated[
        str, Meta(description="Why it failed, and what to do about it.", extra_json_schema={"maxLength": 32768})
    ] = ""
    requested_at: Annotated[
        str,
        Meta(
            description="The annotation cdn-issuer.io/rehearse-at that it has seen to.",
            extra_json_schema={"maxLength": 64},
        ),
    ] = ""


class AuthorityStatus(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The state of one authority as its issuer shows it."""

    name: Annotated[
        str, Meta(description="Name of the authority in spec.authorities.", extra_json_schema={"maxLength": 63})
    ]
    state: Annotated[
        str, Meta(description="Whether it can sign now.", extra_json_schema={"enum": list(get_args(State))})
    ]
    message: Annotated[
        str, Meta(description="What is wrong, and what to do about it.", extra_json_schema={"maxLength": 32768})
    ] = ""
    last_success_time: Annotated[
        str | None, Meta(description="When it last signed.", extra_json_schema={"format": "date-time"})
    ] = None
    last_failure_time: Annotated[
        str | None, Meta(description="When it last failed.", extra_json_schema={"format": "date-time"})
    ] = None
    last_rehearsal: Annotated[RehearsalStatus | None, Meta(description="How its last rehearsal went.")] = None
    certificates_left: Annotated[
        int | None,
        Meta(
            description="While it is Draining: Certificates whose present certificate it signed.",
            extra_json_schema={"format": "int32"},
        ),
    ] = None


class IssuerStatus(Struct, frozen=True, rename="camel"):
    """What the controller says of the issuer.

    The limits of a status are for the API server alone: what it took must stay readable here.
    """

    conditions: Annotated[
        tuple[Condition, ...], Meta(description="The Ready condition.", extra_json_schema={"maxItems": 16})
    ] = ()
    active: Annotated[
        str,
        Meta(
            description="The first authority that can sign now; empty if none can.", extra_json_schema={"maxLength": 63}
        ),
    ] = ""
    authorities: Annotated[
        tuple[AuthorityStatus, ...],
        Meta(description="The state of each authority.", extra_json_schema={"maxItems": MAX_AUTHORITIES}),
    ] = ()
    controller: Annotated[
        str,
        Meta(
            description="Who wrote this: namespace and name of the controller's Lease. Two that alternate "
            "are two controllers that serve the same issuer.",
            extra_json_schema={"maxLength": 512},
        ),
    ] = ""
