"""The caches of all kinds of requests, as one: who works on requests need not know how many kinds there are.

So one controller, one queue and one memory serve them all. The requests of an issuer share its lane and its alarms,
whatever their kind, as they share the limits and the breakers of its authorities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from issuer.api.meta import ObjectKey
    from issuer.controllers.port import Request
    from issuer.kube.informer import Change, Informer
    from issuer.kube.store import IndexFunction


class RequestCaches:
    """Informers of requests, at most one of a namespaced and one of a cluster-scoped kind: a key tells which is meant.

    Attributes:
        informers: each of them.
    """

    def __init__(self, *informers: Informer[Any]) -> None:
        self.informers: Final = informers
        self._by_scope = {informer.resource.namespaced: informer for informer in informers}

    def get(self, key: ObjectKey) -> Request | None:
        """The request of that key, as last heard of."""
        informer = self._by_scope.get(bool(key.namespace))
        found: Request | None = informer.get(key) if informer is not None else None
        return found

    def add_index(self, name: str, function: IndexFunction[Any]) -> None:
        """Keep an index over the requests of each kind."""
        for informer in self.informers:
            informer.add_index(name, function)

    def by_index(self, name: str, value: Hashable) -> list[Request]:
        """The requests of all kinds that an index has under a value."""
        return [request for informer in self.informers for request in informer.by_index(name, value)]

    def index_values(self, name: str) -> list[Hashable]:
        """The values under which an index has any request, each once."""
        return list(dict.fromkeys(value for informer in self.informers for value in informer.index_values(name)))

    def add_handler(self, handler: Callable[[Change[Any]], None]) -> None:
        """Have a function called after each change of a request."""
        for informer in self.informers:
            informer.add_handler(handler)
