"""Asking other issuers of the cluster, as the API server does it: the port of `issuer.authorities.delegation`.

Which resource a kind is, and whether it is namespaced, is asked of the API server (discovery), so that any issuer can
be named without this program knowing it. Whether one is ready is read from its condition Ready; where that may not be
read, or there is none, it is taken for ready: the child tells.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.api import condition
from issuer.api.condition import FALSE, READY, Condition
from issuer.api.meta import ObjectMeta
from issuer.api.request import GROUP, CertificateRequest, IssuerRef
from issuer.authorities.delegation import (
    ChangedError,
    DelegationError,
    FoundIssuer,
    MissingRightError,
    RefusedError,
)
from issuer.authorities.errors import NotSentError
from issuer.controllers.certificaterequests import RESOURCE
from issuer.controllers.deletion import delete_options
from issuer.kube.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    KubeError,
    LeaseLostError,
    NotFoundError,
)
from issuer.kube.resource import Resource
from issuer.observe.logs import get_logger
from issuer.observe.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from issuer.kube.client import KubeClient

log = get_logger(__name__)

KNOWN: Final = 5.0
"""Seconds for which it is not asked again how an issuer is."""
KINDS_KNOWN: Final = 60.0
"""Seconds for which it is not asked again which kinds there are; one that is missing is asked for each time."""
MOST: Final = 2_000
"""Issuers that are remembered."""
MOST_LISTED: Final = 10
"""Names that a message lists."""


class _Group(msgspec.Struct, rename={"preferred": "preferredVersion"}):
    name: str = ""
    preferred: dict[str, str] = {}


class _Groups(msgspec.Struct):
    groups: list[_Group] = []


class _Kind(msgspec.Struct):
    name: str = ""
    kind: str = ""
    namespaced: bool = False


class _Kinds(msgspec.Struct):
    resources: list[_Kind] = []


class _Status(msgspec.Struct):
    conditions: tuple[Condition, ...] = ()


class _Issuer(msgspec.Struct):
    metadata: ObjectMeta
    status: _Status = msgspec.field(default_factory=_Status)


class _Issuers(msgspec.Struct):
    items: list[_Issuer] = []


@dataclass(frozen=True, slots=True)
class _Missing:
    """There is no such kind.

    Attributes:
        message: what there is instead.
    """

    message: str


class ClusterDelegation:
    """Asks the API server; `Delegation` of the authorities.

    Args:
        client: for the API server.
        clock: loop time.
    """

    def __init__(self, client: KubeClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[float, Resource]] = {}
        self._known: dict[tuple[IssuerRef, str], tuple[float, FoundIssuer]] = {}
        self._repeats = Repeats(clock)
        self._asking = defaultdict[tuple[IssuerRef, str], asyncio.Lock](asyncio.Lock)

    async def issuer(self, ref: IssuerRef, namespace: str, *, fresh: bool = False) -> FoundIssuer:
        """See `Delegation`."""
        found = None if fresh else self._remembered(ref, namespace)
        if found is not None:
            return found
        async with self._asking[ref, namespace]:
            # Hundreds of requests may ask at the same time; one answer serves them all.
            found = None if fresh else self._remembered(ref, namespace)
            if found is None:
                found = await self._find(ref, namespace)
                self._known[ref, namespace] = self._clock(), found
                if len(self._known) > MOST:
                    oldest = next(iter(self._known))
                    del self._known[oldest]
                    self._asking.pop(oldest, None)
        return found

    async def read(self, namespace: str, name: str) -> CertificateRequest | None:
        """See `Delegation`."""
        try:
            raw = await _told(self._client.get(RESOURCE, namespace, name), f"get {RESOURCE} in {namespace}")
        except _NotThereError as error:
            if error.name == name:
                return None
            raise DelegationError(f"a 404 that does not name {namespace}/{name}") from None
        return msgspec.json.decode(raw, type=CertificateRequest)

    async def create(self, namespace: str, manifest: dict[str, Any]) -> CertificateRequest:
        """See `Delegation`."""
        call = self._client.create(RESOURCE, namespace, msgspec.json.encode(manifest))
        raw = await _told(call, f"create {RESOURCE} in {namespace}")
        return msgspec.json.decode(raw, type=CertificateRequest)

    async def delete(self, meta: ObjectMeta) -> None:
        """See `Delegation`."""
        call = self._client.delete(RESOURCE, meta.namespace, meta.name, body=delete_options(meta))
        try:
            await _told(call, f"delete {RESOURCE} in {meta.namespace}")
        except _NotThereError:
            return

    def _remembered(self, ref: IssuerRef, namespace: str) -> FoundIssuer | None:
        asked, found = self._known.get((ref, namespace), (float("-inf"), None))
        return found if self._clock() - asked < KNOWN else None

    async def _find(self, ref: IssuerRef, namespace: str) -> FoundIssuer:
        resource = await self._resource(ref)
        if isinstance(resource, _Missing):
            return FoundIssuer("IssuerNotFound", resource.message)
        if resource.namespaced and not namespace:
            return FoundIssuer(is_namespaced=True)
        where = f" in namespace {namespace}" if resource.namespaced else ""
        what = f"{ref.kind}.{ref.group} {ref.name}"
        try:
            raw = await _told(self._client.get(resource, namespace, ref.name), f"get {resource}{where}")
        except MissingRightError as error:
            self._tell(error)
            return FoundIssuer(is_namespaced=resource.namespaced)
        except RefusedError:
            return FoundIssuer("IssuerNotFound", f"{what}: no object can have this name", resource.namespaced)
        except _NotThereError:
            there = await self._names(resource, namespace)
            message = f"{what} does not exist{where}; {there}"
            return FoundIssuer("IssuerNotFound", message, resource.namespaced)
        ready = _ready(raw)
        if ready is not None and ready.status == FALSE:
            message = f"{what}{where} is not ready: {ready.message or ready.reason}"
            return FoundIssuer("IssuerNotReady", message, resource.namespaced)
        # cert-manager says of each of its issuers whether it is ready; of others nobody knows whether they ever do.
        # What is asked of one that was made just now waits for it.
        doubt = f"{what}{where} has not said yet that it is ready" if ready is None and ref.group == GROUP else ""
        return FoundIssuer(is_namespaced=resource.namespaced, doubt=doubt)

    async def _resource(self, ref: IssuerRef) -> Resource | _Missing:
        """Where issuers of a kind are."""
        asked, known = self._kinds.get((ref.group, ref.kind), (float("-inf"), None))
        if known is not None and self._clock() - asked < KINDS_KNOWN:
            return known
        groups = {one.name: one for one in (await self._discover("/apis", _Groups)).groups}
        if ref.group not in groups:
            named = _listed(name for name in groups if not name.endswith(".k8s.io") and "." in name)
            return _Missing(f"no API group {ref.group} is installed; there are {named}")
        version = groups[ref.group].preferred.get("version", "")
        kinds = (await self._discover(f"/apis/{ref.group}/{version}", _Kinds)).resources
        found = next((one for one in kinds if one.kind == ref.kind and "/" not in one.name), None)
        if found is None:
            named = _listed({one.kind for one in kinds if one.kind.endswith("Issuer")})
            return _Missing(f"{ref.group} has no kind {ref.kind} that is installed; its issuers are {named}")
        resource = Resource(ref.group, version, found.name, namespaced=found.namespaced)
        self._kinds[ref.group, ref.kind] = self._clock(), resource
        return resource

    async def _discover(self, path: str, type_: type[msgspec.Struct]) -> Any:
        raw = await _told(self._client.read(path), f"read {path}")
        try:
            return msgspec.json.decode(raw, type=type_)
        except msgspec.DecodeError as error:
            raise DelegationError(f"{path}: the answer cannot be read: {error}") from None

    async def _names(self, resource: Resource, namespace: str) -> str:
        """What there is in its place."""
        try:
            raw = await self._client.list(resource, namespace, query={"limit": str(MOST_LISTED + 1)})
            names = _listed(one.metadata.name for one in msgspec.json.decode(raw, type=_Issuers).items)
        except (KubeError, msgspec.DecodeError) as error:
            if isinstance(error, ForbiddenError):
                self._tell(error)
            return "create it, or fix issuerRef"
        return f"there are {names}"

    def _tell(self, error: Exception) -> None:
        """A right that is missing takes nothing but words: a child finds out what could not be read."""
        left_out = self._repeats.due(str(error))
        if left_out is not None:
            log.warning("an issuer may not be read", error=str(error), left_out=left_out or None)


class _NotThereError(DelegationError):
    """404.

    Attributes:
        name: of the object that the answer is about.
    """

    def __init__(self, error: NotFoundError) -> None:
        super().__init__(str(error))
        self.name = error.name


async def _told(call: Awaitable[bytes], verb: str) -> bytes:
    """The answer to a call; what goes wrong, in the words of the port.

    Args:
        call: to the API server.
        verb: what it does, for the message: `create certificaterequests.cert-manager.io in default`.
    """
    try:
        return await call
    except LeaseLostError as error:
        raise NotSentError(error) from None
    except NotFoundError as error:
        raise _NotThereError(error) from None
    except ConflictError as error:
        raise ChangedError(str(error)) from None
    except ForbiddenError as error:
        # RBAC says so in these words (apiserver, `endpoints/handlers/responsewriters`); otherwise a policy did.
        if " cannot " in error.message and "User " in error.message:
            raise MissingRightError(f"the controller lacks the right to {verb}: {error.message}") from None
        raise RefusedError(error.message) from None
    except InvalidError as error:
        raise RefusedError(error.message) from None
    except KubeError as error:
        raise DelegationError(f"could not {verb}: {error}") from None


def _ready(raw: bytes) -> Condition | None:
    """The condition Ready of an issuer, if it has one that can be read."""
    try:
        return condition.find(msgspec.json.decode(raw, type=_Issuer).status.conditions, READY)
    except msgspec.DecodeError:
        return None


def _listed(names: Any) -> str:
    found = sorted(names)
    more = f" and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
    return (", ".join(found[:MOST_LISTED]) + more) or "none"
