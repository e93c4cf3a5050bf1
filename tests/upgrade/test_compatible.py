"""Our CRDs break nothing for who has objects of an older version, but for what is listed here with its reason.

`older/` holds the CRDs of 25 November 2026; once there is a release, those of the last one take their place.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.controlplane.plane import ROOT
from tests.upgrade.compatible import Schema, breaks

OLDER: Final = Path(__file__).parent / "older"
NAMES: Final = ("cdn-issuer.io_cdnissuers.yaml", "cdn-issuer.io_cdnclusterissuers.yaml")

GIVES_WAY: Final = (
    "spec.authorities[].circuitBreaker",
    "spec.authorities[].circuitBreaker.maxOpenFor",
    "spec.authorities[].circuitBreaker.openFor",
    "spec.authorities[].limits",
    "spec.authorities[].retry",
    "spec.authorities[].retry.maxBackoff",
    "spec.authorities[].retry.minBackoff",
    "spec.authorities[].timeouts",
    "spec.authorities[].timeouts.attempt",
    "spec.authorities[].timeouts.turn",
    "spec.failover",
)
"""Fields whose default is filled in by the controller and no more by the API server, so that it can give way to what is
written beside it. Nothing changes for an object that is stored: the API server has filled them in."""
WEAKER: Final = {
    "spec: no rule said that timeouts.attempt of an authority must not be longer than deadline",
    "spec.authorities[].retry: no rule said that minBackoff must not be longer than maxBackoff",
    "spec.authorities[].circuitBreaker: no rule said that openFor must not be longer than maxOpenFor",
}
"""Rules that were there, and let more through now."""
NEW_KIND: Final = {"spec.authorities[]: no rule said that exactly one of cloudflare, ca, issuerRef is needed"}
"""The rule that an entry is of one kind, with one kind more; nothing that was stored has that."""
NO_EFFECT: Final = {
    "spec.authorities[]: no rule said that timeouts have no effect on a ca, which signs in process; leave them out",
    "spec.authorities[]: no rule said that limits have no effect on a ca, which signs in process; leave them out",
}
"""What was written without effect, and misled; what the older CRD filled in by itself is let through."""


def crd(folder: Path, name: str) -> Any:
    return yaml.safe_load((folder / name).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_what_an_older_version_accepted_is_accepted_and_means_the_same(name: str) -> None:
    found = breaks(crd(OLDER, name), crd(ROOT / "crds", name))
    accepted = WEAKER | NO_EFFECT | NEW_KIND
    unexpected = [
        one for one in found if one not in accepted and not (one.split(":")[0] in GIVES_WAY and "default was" in one)
    ]
    assert unexpected == []
    assert accepted <= set(found), "a line that is no longer needed"


def change(path: str, **fields: Any) -> Any:
    """A change of the schema at a path; None takes a field away."""

    def apply(spec: Schema) -> None:
        at = spec["versions"][0]["schema"]["openAPIV3Schema"]
        for part in path.split("."):
            at = at[part] if part in ("items", "properties") else at["properties"][part]
        for key, value in fields.items():
            if value is None:
                del at[key]
            else:
                at[key] = value

    return apply


@pytest.mark.parametrize(
    ("apply", "told"),
    [
        (lambda spec: spec["versions"][0].update(name="v1"), "the version v1alpha1 is not served"),
        (lambda spec: spec["versions"][0].update(served=False), "the version v1alpha1 is not served"),
        (lambda spec: spec.update(scope="Cluster"), "scope was Namespaced"),
        (lambda spec: spec["names"].update(plural="issuers"), "plural was cdnissuers"),
        (change("spec.properties", trust=None), "spec: trust is gone"),
        (change("spec", required=["authorities", "deadline"]), "spec: deadline was not required"),
        (change("spec.deadline", maxLength=3), "spec.deadline: maxLength was 32"),
        (change("spec.deadline", type="integer"), "spec.deadline: type was string"),
        (change("spec.deadline", default="2h"), "spec.deadline: default was 1h"),
        (change("spec.deadline", pattern="^[0-9]+h$"), "spec.deadline: pattern was"),
        (change("spec.authorities", maxItems=4), "spec.authorities: maxItems was 8"),
        (change("spec.authorities", minItems=2), "spec.authorities: minItems was 1"),
        (change("spec.trust", enum=["All"]), "spec.trust: Signer was allowed"),
        (
            change("spec", **{"x-kubernetes-validations": [{"rule": "false", "message": "nothing goes"}]}),
            "spec: no rule said that nothing goes",
        ),
        (change("spec.authorities.items.name", maxLength=8), "spec.authorities[].name: maxLength was 63"),
    ],
)
def test_what_breaks_an_object_is_told(apply: Any, told: str) -> None:
    old = crd(ROOT / "crds", NAMES[0])
    new = copy.deepcopy(old)
    apply(new["spec"])
    assert [one for one in breaks(old, new) if one.startswith(told)], breaks(old, new)


def test_more_fields_more_values_and_looser_bounds_break_nothing() -> None:
    old = crd(ROOT / "crds", NAMES[0])
    new = copy.deepcopy(old)
    for apply in (
        change("spec.properties", novelty={"type": "object"}),
        change("spec.trust", enum=["All", "None", "Signer"]),
        change("spec.authorities", maxItems=16, minItems=0),
        change("spec", required=[]),
    ):
        apply(new["spec"])
    assert breaks(old, new) == []
