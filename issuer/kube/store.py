"""The objects of an informer by key, and indices over them, as in client-go's `thread_safe_store.go`.

An index answers "which objects have this value" without a walk over all of them. It is told by a function from an
object to its values, and is kept up to date by the two calls that change anything, so it is true at every moment at
which somebody else can look: also in a handler that is being told of the change. That function must be pure and must
not raise, since it is asked again for the same object to find where the object is in the index.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from issuer.api.meta import ObjectKey, ObjectMeta


class KubeObject(Protocol):
    """What every struct of a Kubernetes object has."""

    @property
    def metadata(self) -> ObjectMeta:
        """Its name, UID and resourceVersion."""
        ...


T = TypeVar("T", bound=KubeObject)
IndexFunction = Callable[[T], Iterable[Hashable]]
"""The values under which an object is found; none, where it is not to be found in that index."""


class Store(Generic[T]):
    """Objects by namespace and name. Names of indices are those of `IndexFunction`s that were added."""

    def __init__(self) -> None:
        self._items: dict[ObjectKey, T] = {}
        self._functions: dict[str, IndexFunction[T]] = {}
        self._indices: dict[str, dict[Hashable, dict[ObjectKey, T]]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._items)

    def get(self, key: ObjectKey) -> T | None:
        """The object of that key."""
        return self._items.get(key)

    def items(self) -> list[T]:
        """All objects, a copy of the list."""
        return list(self._items.values())

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Keep an index from now on; objects that are there already are in it.

        Raises:
            ValueError: there is an index of that name.
        """
        if name in self._functions:
            raise ValueError(f"there is an index {name} already")
        self._functions[name], self._indices[name] = function, {}
        for key, item in self._items.items():
            self._enter(name, key, item)

    def by_index(self, name: str, value: Hashable) -> list[T]:
        """The objects that an index has under a value, a copy of the list."""
        return list(self._indices[name].get(value, {}).values())

    def values(self, name: str) -> list[Hashable]:
        """The values under which an index has any object."""
        return list(self._indices[name])

    def put(self, item: T) -> None:
        """Keep an object, in the place of the one that had its key."""
        key = item.metadata.key
        self._leave(key)
        self._items[key] = item
        for name in self._functions:
            self._enter(name, key, item)

    def pop(self, key: ObjectKey) -> T:
        """Take an object out.

        Raises:
            KeyError: there is none of that key.
        """
        self._leave(key)
        return self._items.pop(key)

    def _enter(self, name: str, key: ObjectKey, item: T) -> None:
        index = self._indices[name]
        for value in self._functions[name](item):
            index.setdefault(value, {})[key] = item

    def _leave(self, key: ObjectKey) -> None:
        item = self._items.get(key)
        if item is None:
            return
        for name, function in self._functions.items():
            index = self._indices[name]
            for value in function(item):
                found = index.get(value)
                if found is not None:
                    found.pop(key, None)
                    if not found:
                        del index[value]
