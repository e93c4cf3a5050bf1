"""An issuer and its Secrets as documents of files, for what is tried without a cluster."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, PLURALS, Issuer
from issuer.api.meta import ObjectKey, without_nulls
from issuer.api.secret import SecretError, SecretMissingError
from issuer.controllers.issuercache import IssuerId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NAMESPACE: Final = "default"
"""Of an issuer that names none, as kubectl would have it."""


class FileSecrets:
    """Reads Secrets from documents (an `issuer.api.secret.SecretReader`).

    Where the Secrets of a CDNClusterIssuer are is the controller's setting, which no file tells: there any namespace
    will do.

    Args:
        documents: of the files.
        any_namespace: whether the namespace of a Secret matters not.
    """

    def __init__(self, documents: Iterable[Any], *, any_namespace: bool) -> None:
        self._any_namespace = any_namespace
        self._secrets = [one for one in objects(documents) if (one.get("apiVersion"), one.get("kind")) == _SECRET]

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:  # noqa: ARG002
        """The data of a Secret.

        Raises:
            SecretMissingError: it is in no file.
            SecretError: it is there twice, or holds something else than a Secret does.
        """
        found = [one for one in self._secrets if self._is(one, namespace, name)]
        if not found:
            raise SecretMissingError(
                namespace, name, "is in none of the files: add it to the issuer's file, or give it with --secret-file"
            )
        if len(found) > 1:
            raise SecretError(namespace, name, "is there more than once: leave one of them out")
        data, text = (found[0].get(field) or {} for field in ("data", "stringData"))
        if not isinstance(data, dict) or not isinstance(text, dict):
            raise SecretError(namespace, name, "has data that is no mapping of keys to values")
        decoded = {str(key): _decoded(namespace, name, str(key), value) for key, value in data.items()}
        return decoded | {str(key): _encoded(namespace, name, str(key), value) for key, value in text.items()}

    def _is(self, secret: dict[str, Any], namespace: str, name: str) -> bool:
        meta = secret.get("metadata")
        if not isinstance(meta, dict) or meta.get("name") != name:
            return False
        return self._any_namespace or meta.get("namespace") in (None, "", namespace)


_SECRET: Final = ("v1", "Secret")


def issuer_of(documents: Iterable[Any]) -> tuple[IssuerId, Issuer]:
    """The one issuer of ours among documents.

    Raises:
        click.ClickException: there is none, or more than one, or it is no object.
    """
    found = [one for one in objects(documents) if _group(one) == GROUP and one.get("kind") in PLURALS]
    if len(found) != 1:
        many = "more than one" if found else "no"
        raise click.ClickException(
            f"the file holds {many} {' or '.join(PLURALS)} of {GROUP}: give a file with the one that is to sign"
        )
    try:
        issuer = msgspec.convert(without_nulls(found[0]) | {"spec": _raw(found[0].get("spec"))}, Issuer)
    except msgspec.ValidationError as error:
        raise click.ClickException(f"the issuer cannot be read: {error}") from None
    if not issuer.metadata.name:
        raise click.ClickException("the issuer has no metadata.name: give it one")
    kind = str(found[0]["kind"])
    namespace = "" if kind == CLUSTER_ISSUER_KIND else issuer.metadata.namespace or NAMESPACE
    meta = msgspec.structs.replace(issuer.metadata, namespace=namespace)
    return IssuerId(kind, ObjectKey(namespace, meta.name)), msgspec.structs.replace(issuer, metadata=meta)


def objects(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Each object, those in Lists too."""
    for document in documents:
        if not isinstance(document, dict):
            continue
        if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
            yield from objects(document["items"])
        else:
            yield document


def _group(document: dict[str, Any]) -> str:
    return str(document.get("apiVersion", "")).partition("/")[0]


def _raw(spec: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({} if spec is None else spec))


def _decoded(namespace: str, name: str, key: str, value: Any) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (AttributeError, ValueError):
        # Neither the value nor the decoder's words about it: both are part of a secret.
        problem = f"holds something that is not base64 under the key {key!r} of data: use stringData for plain text"
        raise SecretError(namespace, name, problem) from None


def _encoded(namespace: str, name: str, key: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise SecretError(namespace, name, f"holds no text under the key {key!r} of stringData: quote it")
    return value.encode()
