"""Reading objects from what the API server sends: one that does not fit its struct costs only itself, and stays known.

An object that another version wrote may hold what this one cannot read. It exists all the same: taking it for absent
would end what hangs on it. So it comes out of here as `Unreadable`, with its name and the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from issuer.api.meta import ObjectMeta, without_nulls

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object that exists and does not fit its struct.

    Attributes:
        metadata: which one it is.
        reason: what does not fit, and where.
    """

    metadata: ObjectMeta
    reason: str


class ObjectDecoder(Generic[T]):
    """Reads objects of one struct. A field that is null counts as absent where the struct does not allow a null."""

    def __init__(self, item: type[T]) -> None:
        self._item: msgspec.json.Decoder[T] = msgspec.json.Decoder(item)
        page: Any = _Page[item]  # type: ignore[valid-type]
        self._page: msgspec.json.Decoder[_Page[T]] = msgspec.json.Decoder(page)
        self._raw_page = msgspec.json.Decoder(_RawPage)
        self._partial = msgspec.json.Decoder(_Partial)

    def page(self, body: bytes) -> list[T | Unreadable]:
        """The objects of a page.

        Raises:
            msgspec.DecodeError: it is no page, or one of its objects has no name that can be read.
        """
        try:
            return [*(self._page.decode(body).items or ())]
        except msgspec.ValidationError:
            return [self.one(raw) for raw in self._raw_page.decode(body).items or ()]

    def one(self, raw: msgspec.Raw) -> T | Unreadable:
        """One object.

        Raises:
            msgspec.DecodeError: not even its name can be read.
        """
        try:
            return self._item.decode(raw)
        except msgspec.ValidationError:
            pass
        try:
            return self._item.decode(msgspec.json.encode(without_nulls(msgspec.json.decode(raw))))
        except msgspec.ValidationError as error:
            return Unreadable(self._partial.decode(raw).metadata, str(error))


class _Partial(msgspec.Struct):
    """Enough of an object to name it, when the rest cannot be read."""

    metadata: ObjectMeta


class _Page(msgspec.Struct, Generic[T]):
    items: list[T] | None = None


class _RawPage(msgspec.Struct):
    items: list[msgspec.Raw] | None = None
