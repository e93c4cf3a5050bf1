"""Lists in pages. A page is kept nowhere: its token says where it begins and of which revision the list is.

The state at that revision is worked out from the history, so a token lives until the next compaction. After that the
answer is 410 with another token, by which the rest can be had as it is now. After apiserver:
`pkg/storage/continue.go` and `pkg/storage/etcd3/store.go` (GetList).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from issuer.sandbox.cluster.errors import ExpiredPageError, StatusError, bad_request, expired

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.sandbox.cluster.kinds import Manifest
    from issuer.sandbox.cluster.paths import Target
    from issuer.sandbox.cluster.store import Store, Stored

NOW: Final = -1
"""The revision of a token whose list is not one picture."""


class _Token(msgspec.Struct):
    v: str
    rv: int
    start: str


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list.

    Attributes:
        items: the objects.
        revision: of which the whole list is.
        token: for the next page; empty: there is none.
        remaining: objects after it; None: not told, as there is a selector.
    """

    items: list[Stored]
    revision: int
    token: str = ""
    remaining: int | None = None

    @property
    def metadata(self) -> Manifest:
        """The metadata of the list."""
        metadata: Manifest = {"resourceVersion": str(self.revision)}
        if self.token:
            metadata["continue"] = self.token
        if self.remaining is not None:
            metadata["remainingItemCount"] = self.remaining
        return metadata


def page(
    store: Store,
    target: Target,
    test: Callable[[Manifest], bool],
    *,
    limit: int,
    token: str,
    selected: bool,
    version: int = 0,
) -> Page:
    """The page that a token names, or the first.

    Args:
        store: where the objects are.
        target: the collection.
        test: which objects are wanted.
        limit: objects on a page; 0: all.
        token: `continue` of the page before.
        selected: whether `test` leaves any out.
        version: revision of which the list has to be, where no token says so; 0: of now.

    Raises:
        StatusError: the token is none (400), or too old (410).
    """
    revision, start = _read(token) if token else (version or store.revision, "")
    try:
        listed = store.list(target.kind, target.namespace, max(revision, 0))
    except StatusError:
        if not token:
            raise expired("The resourceVersion for the provided list is too old.") from None
        raise ExpiredPageError(_token(NOW, start)) from None
    revision = store.revision if revision == NOW else revision
    found = [one for one in listed if (not start or _place(target, one) >= start) and test(one.obj)]
    if not limit or len(found) <= limit:
        return Page(found, revision)
    following = f"{_place(target, found[limit - 1])}\0"
    return Page(found[:limit], revision, _token(revision, following), None if selected else len(found) - limit)


def _place(target: Target, stored: Stored) -> str:
    """Where an object is in the collection: its name, below its namespace where the list spans several."""
    metadata = stored.obj["metadata"]
    above = "" if target.namespace or not target.kind.namespaced else f"{metadata['namespace']}/"
    return f"{above}{metadata['name']}"


def _token(revision: int, start: str) -> str:
    encoded = msgspec.json.encode(_Token("meta.k8s.io/v1", revision, start))
    return urlsafe_b64encode(encoded).decode().rstrip("=")


def _read(token: str) -> tuple[int, str]:
    try:
        read = msgspec.json.decode(urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=_Token)
    except ValueError as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from None
    if not read.rv or not read.start:
        raise bad_request("invalid continue token: continue key is not valid: encoded start key or version empty")
    return read.rv, read.start
