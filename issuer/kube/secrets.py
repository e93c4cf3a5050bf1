"""Secrets, read when they are needed and forgotten soon.

There is no watch on Secrets: it would need the right to list them all, and would keep them all in memory. They are
kept for half a minute, and readers that come at the same time share one call.
"""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from issuer.api.secret import SecretError, SecretForbiddenError, SecretMissingError
from issuer.kube.client import decode
from issuer.kube.errors import ForbiddenError, KubeError, NotFoundError
from issuer.kube.resource import SECRETS, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEEP: Final = 30.0
"""Seconds that a Secret is kept."""
KEEP_MISSING: Final = 1.0
"""Seconds that the absence of one is kept: enough for a burst of requests, short for somebody who just made it."""


class Getter(Protocol):
    """The part of `KubeClient` that is needed here."""

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        """Read one object."""
        ...


class _Secret(msgspec.Struct):
    data: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class _Entry:
    """What a call brought: the data, or why it is missing."""

    until: float
    data: Mapping[str, bytes] | None
    problem: str = ""
    is_forbidden: bool = False


_DECODER: Final = msgspec.json.Decoder(_Secret)


class SecretCache:
    """Reads Secrets (an `issuer.api.secret.SecretReader`).

    Args:
        client: a `KubeClient`.
        keep: seconds that a Secret is kept.
        monotonic: the clock for that.
    """

    def __init__(self, client: Getter, *, keep: float = KEEP, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._keep = keep
        self._monotonic = monotonic
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._calls: dict[tuple[str, str], asyncio.Task[_Entry]] = {}

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:
        """The decoded data of a Secret; at most `keep` seconds old, or read just now if `fresh`.

        Raises:
            SecretMissingError: it does not exist.
            SecretForbiddenError: reading it is forbidden.
            SecretError: the Kubernetes API did not answer, or the content is not base64.
        """
        key = (namespace, name)
        entry = None if fresh else self._kept(key)
        if entry is None:
            call = self._calls.get(key)
            if call is None:
                call = self._calls[key] = asyncio.create_task(self._fetch(namespace, name))
                call.add_done_callback(lambda done: self._finished(key, done))
            # Shielded: a reader that gives up must not take the answer from the others.
            entry = await asyncio.shield(call)
        if entry.data is None:
            missing = SecretForbiddenError if entry.is_forbidden else SecretMissingError
            raise missing(namespace, name, entry.problem)
        return entry.data

    def _kept(self, key: tuple[str, str]) -> _Entry | None:
        now = self._monotonic()
        # Forget all that is too old, not only what is asked for: no Secret stays in memory because nobody needs it.
        self._entries = {name: entry for name, entry in self._entries.items() if now < entry.until}
        return self._entries.get(key)

    def _finished(self, key: tuple[str, str], call: asyncio.Task[_Entry]) -> None:
        del self._calls[key]
        if not call.cancelled() and call.exception() is None:
            self._entries[key] = call.result()

    async def _fetch(self, namespace: str, name: str) -> _Entry:
        try:
            answer = await self._client.get(SECRETS, namespace, name)
            data = decode(answer, _DECODER).data or {}
        except NotFoundError:
            return self._missing(f"does not exist: create it in namespace {namespace}, or correct its name")
        except ForbiddenError:
            return self._missing(
                "may not be read: allow the controller's ServiceAccount the verb get on the resource secrets in "
                f"namespace {namespace}, by a Role and a RoleBinding",
                is_forbidden=True,
            )
        except KubeError as error:
            raise SecretError(namespace, name, f"could not be read: {error}") from None
        decoded = {key: _decoded(namespace, name, key, value) for key, value in data.items()}
        return _Entry(self._monotonic() + self._keep, MappingProxyType(decoded))

    def _missing(self, problem: str, *, is_forbidden: bool = False) -> _Entry:
        return _Entry(self._monotonic() + min(KEEP_MISSING, self._keep), None, problem, is_forbidden)


def _decoded(namespace: str, name: str, key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:  # binascii.Error is one
        # Neither the value nor the decoder's words about it: both are part of a secret.
        raise SecretError(namespace, name, f"holds something that is not base64 under the key {key!r}") from None
