"""Specifications, good and bad, on which the CRDs and `issuer.api.spec` have to agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from issuer.api import spec
from issuer.authorities import registry

if TYPE_CHECKING:
    from issuer.api.issuer import IssuerSpec

EDGE: Final = {"name": "edge", "cloudflare": {"apiTokenSecretRef": {"name": "cloudflare", "key": "token"}}}
BACKUP: Final = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}


class Bad(NamedTuple):
    """A specification that is nonsense.

    Attributes:
        document: it.
        says: what the message has to contain: the field, and what is wrong.
    """

    document: Any
    says: str


def two(**more: Any) -> dict[str, Any]:
    """A specification with two authorities."""
    return {"authorities": [EDGE, BACKUP], **more}


def one(**more: Any) -> dict[str, Any]:
    """A specification with one authority that has more fields."""
    return {"authorities": [EDGE | more]}


def cloudflare(**more: Any) -> dict[str, Any]:
    """A specification with one cloudflare entry that has more fields."""
    return {"authorities": [{"name": "edge", "cloudflare": EDGE["cloudflare"] | more}]}  # type: ignore[operator]


def read(raw: bytes) -> tuple[IssuerSpec, list[Any]]:
    """Read a specification as the program does: itself, then the configuration of each authority by its kind.

    Raises:
        InvalidSpecError: it is nonsense.
    """
    parsed = spec.parse(raw, registry.KINDS)
    configs = registry.configs()
    return parsed, [
        spec.decode_config(authority.config, configs[authority.kind], f"spec.authorities[{i}].{authority.kind}")
        for i, authority in enumerate(parsed.authorities)
    ]


GOOD: Final[dict[str, Any]] = {
    "one authority": one(),
    "two authorities": two(),
    "only a ca": {"authorities": [BACKUP]},
    "two of the same kind": {"authorities": [EDGE, EDGE | {"name": "edge-2"}]},
    "as many as may be": {"authorities": [EDGE | {"name": f"edge-{i}"} for i in range(8)]},
    "all defaults written out": {
        "authorities": [
            {
                "name": "edge",
                "cloudflare": {
                    "apiTokenSecretRef": {"name": "cloudflare", "key": "token"},
                    "endpoint": "https://api.cloudflare.com/client/v4",
                    "zoneID": "",
                },
                "timeouts": {"connect": "5s", "read": "60s", "attempt": "60s", "turn": "2m"},
                "retry": {"attempts": 3, "minBackoff": "500ms", "maxBackoff": "20s"},
                "circuitBreaker": {"consecutiveFailures": 3, "openFor": "30s", "maxOpenFor": "5m"},
                "limits": {"requestsPerSecond": 4, "burst": 8, "inFlight": 10},
                "caBundle": "",
            }
        ],
        "deadline": "1h",
        "failover": {"on": ["Unavailable", "RateLimited", "Unauthorized"]},
    },
    "a part of a group": one(timeouts={"read": "90s"}, retry={"attempts": 1}, limits={"burst": 1}),
    "empty groups": one(timeouts={}, retry={}, circuitBreaker={}, limits={}) | {"failover": {}},
    "no failover": two(failover={"on": []}),
    "failover on everything": two(failover={"on": ["Unavailable", "RateLimited", "Unauthorized", "Rejected"]}),
    "durations of several parts": one(timeouts={"attempt": "1m30.5s", "turn": "0.5h"}),
    "a deadline as short as the attempt": one(timeouts={"attempt": "30s"}) | {"deadline": "30s"},
    "the shortest and the longest": one(
        timeouts={"connect": "100ms", "read": "10m", "attempt": "600s", "turn": "60m"},
        circuitBreaker={"openFor": "100ms", "maxOpenFor": "6h"},
    )
    | {"deadline": "720h"},
    "a deadline shorter than the default of an attempt": two(deadline="30s"),
    "a deadline of 30s and a ca": {"deadline": "30s", "authorities": [BACKUP]},
    "a turn shorter than the default of an attempt": one(timeouts={"turn": "20s"}),
    "an attempt longer than the default of a turn": one(timeouts={"attempt": "5m"}),
    "an attempt longer than the turn, which ends it": one(timeouts={"attempt": "5m", "turn": "1m"}),
    "a first backoff above the default of the last": one(retry={"minBackoff": "30s"}),
    "a last backoff below the default of the first": one(retry={"maxBackoff": "100ms"}),
    "a first opening above the default of the longest": one(circuitBreaker={"openFor": "10m"}),
    "a longest opening below the default of the first": one(circuitBreaker={"maxOpenFor": "10s"}),
    "a ca with retries and a breaker": {
        "authorities": [BACKUP | {"retry": {"attempts": 1}, "circuitBreaker": {"consecutiveFailures": 5}}]
    },
    "a ca with empty groups": {"authorities": [BACKUP | {"timeouts": {}, "limits": {}}], "deadline": "30s"},
    "equal backoffs": one(retry={"minBackoff": "20s", "maxBackoff": "20s"}),
    "a fraction of a call a second": one(limits={"requestsPerSecond": 0.01}),
    "roots inline": one(caBundle="-----BEGIN CERTIFICATE-----\n"),
    "roots in a Secret": one(caBundleSecretRef={"name": "roots", "key": "ca.crt"}),
    "roots in a Secret, and none inline": one(caBundle="", caBundleSecretRef={"name": "roots", "key": "ca.crt"}),
    "a plain http endpoint, which the program refuses by itself": cloudflare(
        endpoint="http://127.0.0.1:8080/client/v4"
    ),
    "a zone": cloudflare(zoneID="0123456789abcdef0123456789ABCDEF"),
    "nulls, which are as good as nothing": {
        "authorities": [EDGE | {"ca": None, "timeouts": None, "retry": {"attempts": None}, "caBundleSecretRef": None}],
        "deadline": None,
        "failover": {"on": None},
    },
    "a name of 63 characters": {"authorities": [EDGE | {"name": "a" * 63}]},
}

BAD: Final[dict[str, Bad]] = {
    "nothing": Bad({}, "spec.authorities: 1 to 8 are needed, there are 0"),
    "no authority": Bad({"authorities": []}, "spec.authorities: 1 to 8 are needed, there are 0"),
    "authorities that are null": Bad({"authorities": None}, "spec.authorities: "),
    "authorities that are no list": Bad({"authorities": {"edge": EDGE}}, "spec.authorities: Expected `array`"),
    "nine authorities": Bad(
        {"authorities": [EDGE | {"name": f"edge-{i}"} for i in range(9)]},
        "spec.authorities: 1 to 8 are needed, there are 9",
    ),
    "an authority that is null": Bad({"authorities": [None]}, "spec.authorities[0]: Expected `object`, got `null`"),
    "an authority that is a text": Bad({"authorities": ["edge"]}, "spec.authorities[0]: Expected `object`"),
    "a specification that is a list": Bad([EDGE], "spec: Expected `object`"),
    "an unknown kind": Bad(
        {"authorities": [{"name": "edge", "vault": {}}]},
        "spec.authorities[0]: unknown field 'vault'; authority types are ca, cloudflare",
    ),
    "no kind": Bad(
        {"authorities": [BACKUP, {"name": "edge"}]},
        "spec.authorities[1]: exactly one of ca, cloudflare, issuerRef is needed, there are 0",
    ),
    "two kinds in one entry": Bad(
        {"authorities": [EDGE | BACKUP]},
        "spec.authorities[0]: exactly one of ca, cloudflare, issuerRef is needed, there are 2",
    ),
    "a kind that is null": Bad({"authorities": [{"name": "edge", "ca": None}]}, "exactly one of ca, cloudflare"),
    "no name": Bad(
        {"authorities": [{"ca": BACKUP["ca"]}]}, "spec.authorities[0]: Object missing required field `name`"
    ),
    "an empty name": Bad({"authorities": [EDGE | {"name": ""}]}, "spec.authorities[0].name: "),
    "a name in capitals": Bad({"authorities": [EDGE | {"name": "Edge"}]}, "spec.authorities[0].name: "),
    "a name that ends with a dash": Bad({"authorities": [EDGE | {"name": "edge-"}]}, "spec.authorities[0].name: "),
    "a name with a line break": Bad({"authorities": [EDGE | {"name": "edge\n"}]}, "spec.authorities[0].name: "),
    "a name of 64 characters": Bad({"authorities": [EDGE | {"name": "a" * 64}]}, "spec.authorities[0].name: "),
    "a name twice": Bad({"authorities": [EDGE, EDGE]}, "spec.authorities: the name 'edge' is used more than once"),
    "a negative duration": Bad(two(deadline="-5s"), "spec.deadline: a duration cannot be negative: '-5s'"),
    "a duration in years": Bad(two(deadline="1y"), "spec.deadline: not a duration such as 90s, 1h30m or 500ms: '1y'"),
    "a duration in days": Bad(one(timeouts={"turn": "1d"}), "spec.authorities[0].timeouts.turn: not a duration"),
    "a duration in microseconds": Bad(one(retry={"minBackoff": "1500us"}), ".retry.minBackoff: not a duration"),
    "a duration without a unit": Bad(two(deadline="90"), "spec.deadline: not a duration"),
    "a duration that is a number": Bad(two(deadline=90), "spec.deadline: a duration is a string"),
    "a duration that is empty": Bad(two(deadline=""), "spec.deadline: not a duration"),
    "a duration with spaces": Bad(two(deadline="1h 30m"), "spec.deadline: not a duration"),
    "a duration with a line break": Bad(two(deadline="1h\n"), "spec.deadline: not a duration"),
    "a duration of many digits": Bad(two(deadline="0" * 40 + "1h"), "spec.deadline: not a duration"),
    "a duration beyond all bounds": Bad(two(deadline="9999999999h"), "spec.deadline: a duration cannot be longer than"),
    "a deadline that is too short": Bad(
        one(timeouts={"attempt": "100ms"}) | {"deadline": "999ms"}, "spec.deadline: 999ms is not between 1s and 720h"
    ),
    "rehearsals without a name": Bad(two(rehearsal={"every": "24h"}), "spec.rehearsal"),
    "rehearsals without any name": Bad(two(rehearsal={"dnsNames": []}), "spec.rehearsal.dnsNames"),
    "rehearsals that come too often": Bad(
        two(rehearsal={"dnsNames": ["r.example.com"], "every": "30m"}),
        "spec.rehearsal.every: 30m is not between 1h and 720h",
    ),
    "failed requests that go too soon": Bad(
        two(cleanup={"failedAfter": "5m"}), "spec.cleanup.failedAfter: 5m is not between 1h and 8760h"
    ),
    "a failback that hardly waits": Bad(
        two(failback={"stableFor": "5s"}), "spec.failback.stableFor: 5s is not between 10s and 168h"
    ),
    "a failback of nobody": Bad(two(failback={"perMinute": 0}), "spec.failback.perMinute"),
    "failed requests of which none stays": Bad(two(cleanup={"keep": 0}), "spec.cleanup.keep"),
    "a deadline that is too long": Bad(two(deadline="721h"), "spec.deadline: 721h is not between 1s and 720h"),
    "an attempt longer than the deadline": Bad(
        one(timeouts={"attempt": "2m"}) | {"deadline": "90s"},
        "spec.authorities[0].timeouts.attempt: 2m is longer than spec.deadline (90s)",
    ),
    "the attempt of a second authority longer than the deadline": Bad(
        {
            "authorities": [
                EDGE | {"timeouts": {"attempt": "1s"}},
                EDGE | {"name": "x", "timeouts": {"attempt": "60s"}},
            ],
            "deadline": "30s",
        },
        "spec.authorities[1].timeouts.attempt: 60s is longer than spec.deadline (30s)",
    ),
    "a connect timeout of nothing": Bad(one(timeouts={"connect": "0s"}), ".timeouts.connect: 0s is not between"),
    "a connect timeout of hours": Bad(one(timeouts={"connect": "2h"}), ".timeouts.connect: 2h is not between"),
    "a read timeout that is too long": Bad(one(timeouts={"read": "11m"}), ".timeouts.read: 11m is not between"),
    "an attempt that is too long": Bad(one(timeouts={"attempt": "11m"}), ".timeouts.attempt: 11m is not between"),
    "a turn that is too long": Bad(one(timeouts={"turn": "61m"}), ".timeouts.turn: 61m is not between"),
    "a first backoff that is too long": Bad(
        one(retry={"minBackoff": "61s", "maxBackoff": "2m"}), ".retry.minBackoff: 61s is not between 1ms and 1m"
    ),
    "a last backoff that is too long": Bad(one(retry={"maxBackoff": "11m"}), ".retry.maxBackoff: 11m is not between"),
    "a first backoff above the last": Bad(
        one(retry={"minBackoff": "2s", "maxBackoff": "1s"}),
        "spec.authorities[0].retry.minBackoff: 2s is longer than maxBackoff (1s)",
    ),
    "a first backoff above a last one that was written as its default": Bad(
        one(retry={"minBackoff": "30s", "maxBackoff": "20s"}),
        "spec.authorities[0].retry.minBackoff: 30s is longer than maxBackoff (20s)",
    ),
    "a first opening above the longest": Bad(
        one(circuitBreaker={"openFor": "10m", "maxOpenFor": "5m"}),
        "spec.authorities[0].circuitBreaker.openFor: 10m is longer than maxOpenFor (5m)",
    ),
    "an opening that is too short": Bad(
        one(circuitBreaker={"openFor": "99ms"}), ".circuitBreaker.openFor: 99ms is not between"
    ),
    "a longest opening that is too long": Bad(
        one(circuitBreaker={"maxOpenFor": "7h"}), ".circuitBreaker.maxOpenFor: 7h is not between"
    ),
    "no attempt": Bad(one(retry={"attempts": 0}), "spec.authorities[0].retry.attempts: Expected `int` >= 1"),
    "eleven attempts": Bad(one(retry={"attempts": 11}), "spec.authorities[0].retry.attempts: Expected `int` <= 10"),
    "one and a half attempts": Bad(one(retry={"attempts": 1.5}), ".retry.attempts: Expected `int`"),
    "attempts as a text": Bad(one(retry={"attempts": "3"}), ".retry.attempts: Expected `int`, got `str`"),
    "attempts that are true": Bad(one(retry={"attempts": True}), ".retry.attempts: Expected `int`, got `bool`"),
    "a breaker that never closes": Bad(
        one(circuitBreaker={"consecutiveFailures": 0}), ".consecutiveFailures: Expected"
    ),
    "no calls at all": Bad(one(limits={"requestsPerSecond": 0}), ".limits.requestsPerSecond: Expected"),
    "hardly any calls": Bad(one(limits={"requestsPerSecond": 0.001}), ".limits.requestsPerSecond: Expected"),
    "nothing in flight": Bad(one(limits={"inFlight": 0}), ".limits.inFlight: Expected"),
    "a burst of nothing": Bad(one(limits={"burst": 0}), ".limits.burst: Expected"),
    "a huge number": Bad(one(limits={"burst": 10**30}), ".limits.burst: Expected"),
    "a group that is a list": Bad(one(timeouts=["5s"]), "spec.authorities[0].timeouts: Expected `object`"),
    "a failure that is no word": Bad(two(failover={"on": [7]}), "spec.failover.on[0]: Expected `str`, got `int`"),
    "five failures": Bad(
        two(failover={"on": ["Unavailable"] * 5}), "spec.failover.on: Expected `array` of length <= 4"
    ),
    "roots twice": Bad(
        one(caBundle="x", caBundleSecretRef={"name": "roots", "key": "ca.crt"}),
        "spec.authorities[0]: caBundle and caBundleSecretRef exclude each other",
    ),
    "roots in a Secret without a key": Bad(
        one(caBundleSecretRef={"name": "roots"}), ".caBundleSecretRef: Object missing required field `key`"
    ),
    "roots beyond all measure": Bad(one(caBundle="x" * 262145), ".caBundle: Expected `str` of length <= 262144"),
    "a kind without its configuration": Bad(
        {"authorities": [{"name": "edge", "cloudflare": {}}]},
        "spec.authorities[0].cloudflare: Object missing required field `apiTokenSecretRef`",
    ),
    "a Secret without a name": Bad(
        {"authorities": [{"name": "backup", "ca": {"secretRef": {"name": ""}}}]},
        "spec.authorities[0].ca.secretRef.name: Expected `str` of length >= 1",
    ),
    "an endpoint that is no URL": Bad(
        cloudflare(endpoint="api.cloudflare.com"), ".cloudflare.endpoint: Expected `str`"
    ),
    "an endpoint with a line break": Bad(cloudflare(endpoint="https://example.com\n"), ".cloudflare.endpoint: "),
    "an endpoint with a space of another alphabet": Bad(
        cloudflare(endpoint="https://x\u00a0y"), ".cloudflare.endpoint: "
    ),
    "an issuer of ours behind an issuer of ours": Bad(
        {"authorities": [{"name": "x", "issuerRef": {"name": "web", "kind": "CDNIssuer", "group": "cdn-issuer.io"}}]},
        "spec.authorities[0].issuerRef.group: an issuer of cdn-issuer.io cannot be an authority of another one",
    ),
    "an issuer without a name": Bad({"authorities": [{"name": "x", "issuerRef": {"name": ""}}]}, ".issuerRef.name: "),
    "an issuer of no kind": Bad(
        {"authorities": [{"name": "x", "issuerRef": {"name": "y", "kind": ""}}]}, ".issuerRef.kind: "
    ),
    "a zone that is a name": Bad(cloudflare(zoneID="example.com"), ".cloudflare.zoneID: Expected `str`"),
}


NEWER: Final[dict[str, Any]] = {
    "a field": two(novelty={"mode": "New", "since": "15m"}),
    "a field of an authority": one(novelty="Draining"),
    "a field of a group": one(retry={"attempts": 1, "jitter": {"share": 0.5}}),
    "a field of a reference": one(caBundleSecretRef={"name": "roots", "key": "ca.crt", "optional": True}),
    "a field of a ca": {"authorities": [{"name": "backup", "ca": {"secretRef": {"name": "x", "key": "y"}, "crl": []}}]},
    "a field of a cloudflare": cloudflare(accountID="0123"),
    "a kind of authority beside one that is known": one(vault={}),
}
"""Specifications with fields of a later version, as they are stored under its CRDs."""


FILLED_IN: Final[dict[str, Any]] = {
    "timeouts": {"connect": "5s", "read": "60s", "attempt": "60s", "turn": "2m"},
    "retry": {"attempts": 3, "minBackoff": "500ms", "maxBackoff": "20s"},
    "circuitBreaker": {"consecutiveFailures": 3, "openFor": "30s", "maxOpenFor": "5m"},
    "limits": {"requestsPerSecond": 4, "burst": 8, "inFlight": 10},
}
"""What the first CRD filled in at every authority; it stands in what was stored under it."""


class Meaningless(NamedTuple):
    """A specification with a field about calls at an authority that makes none.

    Attributes:
        document: it.
        says: what is said of it in a condition.
        told: what the API server answers.
    """

    document: Any
    says: tuple[str, ...]
    told: str


TIMEOUTS: Final = "timeouts have no effect on a ca, which signs in process; leave them out"
LIMITS: Final = "limits have no effect on a ca, which signs in process; leave them out"

MEANINGLESS: Final[dict[str, Meaningless]] = {
    "timeouts of a ca": Meaningless(
        {"authorities": [BACKUP | {"timeouts": {"attempt": "5s"}}]}, (f"spec.authorities[0]: {TIMEOUTS}",), TIMEOUTS
    ),
    "timeouts of a ca, longer than the deadline": Meaningless(
        {"authorities": [BACKUP | {"timeouts": {"attempt": "5m"}}], "deadline": "30s"},
        (f"spec.authorities[0]: {TIMEOUTS}",),
        TIMEOUTS,
    ),
    "one timeout among what an older CRD filled in": Meaningless(
        {"authorities": [EDGE, BACKUP | {"timeouts": FILLED_IN["timeouts"] | {"turn": "1m"}}]},
        (f"spec.authorities[1]: {TIMEOUTS}",),
        TIMEOUTS,
    ),
    "limits of a ca": Meaningless(
        {"authorities": [BACKUP | {"limits": {"requestsPerSecond": 0.5}}]},
        (f"spec.authorities[0]: {LIMITS}",),
        LIMITS,
    ),
    "limits of a second ca": Meaningless(
        {"authorities": [BACKUP, BACKUP | {"name": "other", "limits": {"inFlight": 1}}]},
        (f"spec.authorities[1]: {LIMITS}",),
        LIMITS,
    ),
}
