"""Whether this version is installed as it has to be: two mistakes that nothing else would tell of.

    CRDs of another version   the API server drops the fields that it does not know
    two releases              both serve an issuer, so both ask an authority for each certificate

Both are said in the log and by `/readyz`; neither stops the work. Whether the CRDs are there at all is known to the
informers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from issuer import __version__
from issuer.api import installed
from issuer.api.issuer import GROUP, PLURALS
from issuer.kube.errors import KubeError
from issuer.observe.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from issuer.api.issuer import Issuer
    from issuer.kube.client import KubeClient
    from issuer.kube.informer import Change

log = get_logger(__name__)

LOOK_AGAIN: Final = 300.0
LOOK_AGAIN_WHEN_WRONG: Final = 15.0
"""Seconds between two looks at the installed CRDs."""
REMEMBERED: Final = 900.0
"""Seconds for which another controller is told of after its last sign: more than twice what it takes to write again."""
NAMED: Final = 3
"""Fields that are named; there are more in an old CRD than anybody reads."""


class InstalledCRDs:
    """Compares the CRDs of the cluster with those of this version, on every replica.

    Args:
        client: for the API server.
        expected: the fields of each kind that is served here, see `installed.expected`.

    Attributes:
        problem: what is wrong with them, and what to do about it; None if nothing is, or nothing is known.
    """

    def __init__(self, client: KubeClient, expected: Mapping[str, frozenset[str]]) -> None:
        self.problem: str | None = None
        self._client = client
        self._expected = expected
        self._newer = False

    async def run(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_AGAIN_WHEN_WRONG if self.problem else LOOK_AGAIN)

    async def look(self) -> None:
        """Compare once. Where the schemas cannot be read, nothing is known, and nothing is wrong."""
        try:
            served = installed.served(await self._client.read(installed.OPENAPI))
        except (KubeError, msgspec.DecodeError) as error:
            log.debug("the schemas of the CRDs cannot be read", error=str(error))
            return
        known = {kind: fields for kind, fields in self._expected.items() if kind in served}
        problem = self._problem({kind: fields - served[kind] for kind, fields in known.items()})
        if problem != self.problem:
            report = log.warning if problem else log.info
            report("CRDs of another version" if problem else "the CRDs are those of this version", reason=problem)
        self.problem = problem
        newer = {field for kind, fields in known.items() for field in served[kind] - fields}
        if newer and not self._newer:
            log.info("the CRDs are newer than this version, which ignores", fields=installed.outermost(newer))
        self._newer = bool(newer)

    @staticmethod
    def _problem(lacking: Mapping[str, frozenset[str]]) -> str | None:
        for kind, fields in lacking.items():
            if fields:
                outermost = installed.outermost(fields)
                more = f" and {len(outermost) - NAMED} more" if len(outermost) > NAMED else ""
                return (
                    f"the CRD {PLURALS[kind]}.{GROUP} is of another version and lacks {', '.join(outermost[:NAMED])}"
                    f"{more}; apply the CRDs of {__version__} (`cdn-issuer crds | kubectl apply --server-side -f -`)"
                )
        return None


class OtherControllers:
    """Finds out that somebody else looks after the same issuers.

    Each status says who wrote it, and is written every few minutes at least (`IssuerController`). Where our name gives
    way to another, both are at work; a name that was there when this process started may be of one that is no more.

    Args:
        name: of this release, the same for each of its replicas.
        time: a clock in seconds.
    """

    def __init__(self, name: str, time: Callable[[], float]) -> None:
        self.name: Final = name
        self._time = time
        self._seen: dict[str, tuple[float, str]] = {}

    def observe(self, change: Change[Issuer]) -> bool:
        """Look at a change of an issuer; whether another controller has just written over our status."""
        old, new = change.old, change.new
        if old is None or new is None or old.metadata.uid != new.metadata.uid:
            return False
        before, after = old.status.controller, new.status.controller
        if before != self.name or after in ("", self.name):
            return False
        namespace, name = new.metadata.key
        issuer = f"{new.kind} {namespace}/{name}" if namespace else f"{new.kind} {name}"
        if after not in self._seen:
            log.warning("another controller serves the same issuers", controller=after, example=issuer)
        self._seen[after] = (self._time(), issuer)
        return True

    def problem(self) -> str | None:
        """Who else is at work, and what to do about it; None if nobody was of late."""
        self._seen = {
            other: (when, issuer) for other, (when, issuer) in self._seen.items() if self._time() - when < REMEMBERED
        }
        for other, (_, issuer) in self._seen.items():
            return (
                f"the controller with the Lease {other} serves {issuer} too, so each certificate is asked for twice; "
                "uninstall one of them, or give them namespaces of their own (scope.namespaces of the chart)"
            )
        return None
