"""Indices of the informer: true after whatever the API server says, and at every moment that anybody can look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuer.api.meta import ObjectKey
from issuer.kube.errors import GoneError
from issuer.kube.store import Store
from tests.unit.kube.informer_case import Script, Silence, Thing, event, informer_of, page, running, thing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from issuer.kube.informer import Change, Informer, _Part
    from issuer.kube.resource import Resource


def groups(item: Thing) -> tuple[str, ...]:
    """Under every letter of its group: so under none, one or several."""
    return tuple(item.spec.group)


def names(found: Iterable[Thing]) -> list[str]:
    return sorted(item.metadata.name for item in found)


def indexed(source: Script, **options: Any) -> Informer[Thing]:
    informer = informer_of(source, **options)
    informer.add_index("groups", groups)
    return informer


@pytest.mark.looptime
async def test_an_index_follows_events() -> None:
    source = Script(
        [page(thing("a", 1, group="x"), thing("b", 2, group="xy"), thing("c", 3))],
        [
            [1.0, event("MODIFIED", thing("a", 101, group="y")), event("ADDED", thing("d", 102, group="x"))],
            [1.0, event("DELETED", thing("b", 103))],
        ],
    )
    informer = indexed(source)
    async with running(informer):
        await informer.synced.wait()
        assert names(informer.by_index("groups", "x")) == ["a", "b"]
        assert informer.index_values("groups") == ["x", "y"]
        await asyncio.sleep(1.1)
        assert names(informer.by_index("groups", "x")) == ["b", "d"]
        assert names(informer.by_index("groups", "y")) == ["a", "b"]
        await asyncio.sleep(5)
        assert (names(informer.by_index("groups", "x")), names(informer.by_index("groups", "y"))) == (["d"], ["a"])
    assert informer.by_index("groups", "nothing") == []


@pytest.mark.looptime
async def test_an_index_follows_a_relist_and_a_refresh() -> None:
    source = Script(
        [
            page(thing("a", 1, group="x"), thing("b", 2, group="x")),
            page(thing("b", 3, group="y"), thing("c", 4, group="x"), version=200),
            page(thing("c", 4, uid="another", group="z"), version=300),
        ],
        [GoneError(410, "Expired", "old"), [Silence]],
    )
    informer = indexed(source)
    async with running(informer):
        await asyncio.sleep(5)
        assert (names(informer.by_index("groups", "x")), names(informer.by_index("groups", "y"))) == (["c"], ["b"])
        await informer.refresh()
        assert (informer.index_values("groups"), names(informer.by_index("groups", "z"))) == (["z"], ["c"])


@pytest.mark.looptime
async def test_an_index_is_over_all_namespaces_and_holds_what_lean_leaves() -> None:
    class ByNamespace(Script):
        async def list(
            self, resource: Resource, namespace: str = "", *, query: Mapping[str, str] | None = None
        ) -> bytes:
            return page(thing("a", 1, namespace=namespace, group="x", fat="x" * 99))

    def lean(item: Thing) -> Thing:
        return msgspec.structs.replace(item, spec=msgspec.structs.replace(item.spec, fat=""))

    informer = indexed(ByNamespace([page()], []), namespaces=("one", "two"), transform=lean)
    async with running(informer):
        await informer.synced.wait()
        found = informer.by_index("groups", "x")
        assert {item.metadata.key for item in found} == {ObjectKey("one", "a"), ObjectKey("two", "a")}
        assert [item.spec.fat for item in found] == ["", ""]
        assert informer.index_values("groups") == ["x"]


@pytest.mark.looptime
async def test_a_handler_finds_the_change_in_the_index() -> None:
    source = Script(
        [page(thing("a", 1, group="x"))],
        [[event("MODIFIED", thing("a", 2, group="y")), event("DELETED", thing("a", 3, group="y"))]],
    )
    informer = indexed(source)
    seen: list[tuple[list[str], list[str]]] = []

    def look(_: Change[Thing]) -> None:
        seen.append((names(informer.by_index("groups", "x")), names(informer.by_index("groups", "y"))))

    informer.add_handler(look)
    async with running(informer):
        await asyncio.sleep(1)
    assert seen == [(["a"], []), ([], ["a"]), ([], [])]


def test_an_index_that_is_added_late_has_what_was_there_before() -> None:
    store: Store[Thing] = Store()
    store.put(msgspec.convert(thing("a", 1, group="x"), Thing))
    store.add_index("groups", groups)
    assert names(store.by_index("groups", "x")) == ["a"]
    with pytest.raises(ValueError, match="an index groups already"):
        store.add_index("groups", groups)


THING = st.builds(
    thing,
    name=st.sampled_from("abcd"),
    version=st.integers(1, 6),
    uid=st.sampled_from(["one", "two"]),
    group=st.sampled_from(["", "x", "y", "xy", "dropped"]),
)
UNREADABLE = st.builds(
    lambda name, uid: {"metadata": {"name": name, "namespace": "ns", "uid": uid}, "spec": 7},
    st.sampled_from("abcd"),
    st.sampled_from(["one", "two"]),
)
STEP = st.one_of(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), st.one_of(THING, UNREADABLE)),
    st.tuples(st.sampled_from(["list", "list that breaks off"]), st.lists(THING, max_size=4)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_an_index_is_what_a_walk_over_all_objects_finds(steps: list[Any]) -> None:
    informer = indexed(Script([page()], []), filter=lambda item: item.spec.group != "dropped")
    (part,) = informer._parts.values()
    seen = []
    informer.add_handler(lambda _: seen.append((in_index(informer), walked(informer))))
    for kind, what in steps:
        play(part, kind, what)
        seen.append((in_index(informer), walked(informer)))
    for found, true in seen:
        assert found == true


def play(part: _Part[Thing], kind: str, what: Any) -> None:
    if not kind.startswith("list"):
        part.event(kind, msgspec.Raw(msgspec.json.encode(what)))
        return
    part.restarted()
    part.page(page(*what))
    if kind == "list":
        part.listed()


def in_index(informer: Informer[Thing]) -> dict[object, list[str]]:
    return {value: names(informer.by_index("groups", value)) for value in informer.index_values("groups")}


def walked(informer: Informer[Thing]) -> dict[object, list[str]]:
    found: dict[object, list[str]] = {}
    for item in informer.items():
        for group in groups(item):
            found.setdefault(group, []).append(item.metadata.name)
    return {group: sorted(members) for group, members in found.items()}
