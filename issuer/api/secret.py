"""How Secrets are read: a protocol, so that neither an authority nor a test needs a Kubernetes client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class SecretError(Exception):
    """A Secret could not be read. The text names the Secret and never its content."""

    def __init__(self, namespace: str, name: str, problem: str) -> None:
        super().__init__(f"Secret {namespace}/{name} {problem}")
        self.namespace = namespace
        self.name = name


class SecretMissingError(SecretError):
    """The Secret does not exist, or this controller may not read it."""


class SecretForbiddenError(SecretMissingError):
    """This controller may not read the Secret, so nobody knows whether it exists."""


class SecretReader(Protocol):
    """Reads Secrets."""

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:
        """The decoded data of a Secret; at most 30 seconds old, or read just now if `fresh`.

        Raises:
            SecretMissingError: it does not exist.
            SecretForbiddenError: reading it is forbidden.
            SecretError: the Kubernetes API did not answer.
        """
        ...
