"""What both API servers list: selectors, pages, versions."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import pytest

from tests.component.api_objects import box, box_crd, config_map, request

if TYPE_CHECKING:
    from tests.component.api_client import Api

NO_VERSION = 'resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax'
LABELS: dict[str, dict[str, str]] = {
    "a": {"colour": "red", "size": "1"},
    "b": {"colour": "blue"},
    "d": {"colour": "red"},
    "e": {},
}


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("colour=red", ["a", "d"]),
        ("colour==red,size=1", ["a"]),
        ("colour!=red", ["b", "e"]),
        ("colour in (red,blue)", ["a", "b", "d"]),
        ("colour notin (red)", ["b", "e"]),
        ("size", ["a"]),
        ("!colour", ["e"]),
        ("", ["a", "b", "d", "e"]),
    ],
)
async def test_labels_select(api: Api, selector: str, names: list[str]) -> None:
    for name, labels in LABELS.items():
        await api.ask("POST", api.requests, request(name, labels=labels))
    listed = await api.ask("GET", f"{api.requests}?labelSelector={selector}")
    assert [one["metadata"]["name"] for one in listed["items"]] == names


@pytest.mark.parametrize("selector", ["colour in red", "=red", "a b"])
async def test_a_label_selector_that_is_none_is_refused(api: Api, selector: str) -> None:
    status, _, body = await api.call("GET", f"{api.requests}?labelSelector={selector}")
    assert (status, body["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=a", ["a"]),
        ("metadata.name!=a", ["b", "d"]),
        ("spec.issuerRef.group=cdn-issuer.io", ["a", "d"]),
        ("spec.issuerRef.group=cdn-issuer.io,metadata.name=d", ["d"]),
        ("spec.issuerRef.group!=cdn-issuer.io", ["b"]),
        ("metadata.namespace=elsewhere", []),
    ],
)
async def test_fields_select(api: Api, selector: str, names: list[str]) -> None:
    for name, group in (("a", "cdn-issuer.io"), ("b", "example.com"), ("d", "cdn-issuer.io")):
        await api.ask("POST", api.requests, request(name, group=group))
    listed = await api.ask("GET", f"{api.requests}?fieldSelector={selector}")
    assert [one["metadata"]["name"] for one in listed["items"]] == names


async def test_a_field_that_cannot_be_selected_by_is_refused(api: Api) -> None:
    for query in ("", "&watch=true&resourceVersion=0"):
        status, _, body = await api.call("GET", f"{api.requests}?fieldSelector=spec.isCA=true{query}")
        assert (status, body["reason"]) == (400, "BadRequest")
        assert "field label not supported: spec.isCA" in body["message"]


async def test_a_crd_says_which_fields_select(api: Api) -> None:
    await api.install(box_crd(api))
    await api.ask("POST", api.boxes, box(api, "a", colour="red"))
    await api.ask("POST", api.boxes, box(api, "b", colour="blue"))
    status, _, body = await api.call("GET", f"{api.boxes}?fieldSelector=spec.colour=red")
    assert (status, body["reason"]) == (400, "BadRequest")
    assert "field label not supported: spec.colour" in body["message"]
    await api.install(box_crd(api, ".spec.colour"))
    found = await api.until(f"{api.boxes}?fieldSelector=spec.colour=red", lambda answer: answer.status == 200)
    assert [one["metadata"]["name"] for one in found.body["items"]] == ["a"]


async def test_a_list_in_pages_is_one_picture(api: Api) -> None:
    for name in "abcde":
        await api.ask("POST", api.requests, request(name))
    page = await api.ask("GET", f"{api.requests}?limit=2")
    assert page["metadata"]["remainingItemCount"] == 3
    version, found = page["metadata"]["resourceVersion"], page["items"]
    await api.ask("DELETE", f"{api.requests}/d")
    await api.ask("POST", api.requests, request("bb"))
    while token := page["metadata"].get("continue"):
        page = await api.ask("GET", f"{api.requests}?limit=2&continue={token}")
        assert page["metadata"]["resourceVersion"] == version
        found += page["items"]
    assert [one["metadata"]["name"] for one in found] == list("abcde")
    assert "remainingItemCount" not in page["metadata"]


async def test_a_selected_list_in_pages_does_not_tell_how_many_remain(api: Api) -> None:
    for name in "abc":
        await api.ask("POST", api.requests, request(name, labels={"x": "y"}))
    await api.ask("POST", api.requests, request("aa"))
    page = await api.ask("GET", f"{api.requests}?limit=2&labelSelector=x")
    assert [one["metadata"]["name"] for one in page["items"]] == ["a", "b"]
    assert "remainingItemCount" not in page["metadata"]
    last = await api.ask("GET", f"{api.requests}?limit=2&labelSelector=x&continue={page['metadata']['continue']}")
    assert [one["metadata"]["name"] for one in last["items"]] == ["c"]
    assert not last["metadata"].get("continue")


async def test_a_token_of_a_list_that_is_forgotten_is_expired_and_brings_another(api: Api) -> None:
    """A real server has lists of its own since it first looked, which a compaction leaves: so the token is older."""
    await api.install(box_crd(api))
    for name in "abc":
        await api.ask("POST", api.boxes, box(api, name))
    token = (await api.ask("GET", f"{api.boxes}?limit=1"))["metadata"]["continue"]
    await api.ask("DELETE", f"{api.boxes}/b")
    await api.ask("POST", api.boxes, box(api, "d"))
    api.compact()
    status, _, body = await api.call("GET", f"{api.boxes}?limit=1&continue={aged(token)}")
    assert (status, body["reason"]) == (410, "Expired")
    assert "The provided continue parameter is too old" in body["message"]
    rest = await api.ask("GET", f"{api.boxes}?continue={body['metadata']['continue']}")
    assert [one["metadata"]["name"] for one in rest["items"]] == ["c", "d"]


@pytest.mark.parametrize("token", ["nonsense", "e30"])
async def test_a_token_that_is_none_is_refused(api: Api, token: str) -> None:
    status, _, body = await api.call("GET", f"{api.config_maps}?limit=1&continue={token}")
    assert (status, body["reason"]) == (400, "BadRequest")
    assert "continue key is not valid" in body["message"]


async def test_a_list_at_any_version_has_what_was_there_a_while_ago(api: Api) -> None:
    await api.ask("POST", api.requests, request())
    found = await api.until(f"{api.requests}?resourceVersion=0", lambda answer: bool(answer.body["items"]))
    assert int(found.body["metadata"]["resourceVersion"]) >= int(found.body["items"][0]["metadata"]["resourceVersion"])
    limited = await api.ask("GET", f"{api.requests}?resourceVersion=0&limit=1")
    assert [one["metadata"]["name"] for one in limited["items"]] == ["r"]


async def test_a_list_is_at_least_as_new_as_asked(api: Api) -> None:
    version = (await api.ask("POST", api.requests, request()))["metadata"]["resourceVersion"]
    listed = await api.ask("GET", f"{api.requests}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")
    assert [one["metadata"]["name"] for one in listed["items"]] == ["r"]


async def test_a_list_at_a_version_is_as_it_was_then(api: Api) -> None:
    await api.ask("POST", api.requests, request("a"))
    version = await api.version(api.requests)
    await api.ask("POST", api.requests, request("b"))
    listed = await api.ask("GET", f"{api.requests}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert [one["metadata"]["name"] for one in listed["items"]] == ["a"]
    assert listed["metadata"]["resourceVersion"] == version


@pytest.mark.parametrize(
    "query",
    [
        "resourceVersionMatch=Exact",
        "resourceVersion=5&resourceVersionMatch=Newest",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "sendInitialEvents=true",
    ],
)
async def test_options_of_a_list_that_do_not_go_together_are_refused(api: Api, query: str) -> None:
    status, _, body = await api.call("GET", f"{api.requests}?{query}")
    assert (status, body["reason"]) == (422, "Invalid")


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("watch=true&timeoutSeconds=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("resourceVersion=x", 400, f"invalid resource version: {NO_VERSION}"),
        ("watch=true&resourceVersion=x", 500, NO_VERSION),
    ],
)
async def test_numbers_that_are_none_are_refused(api: Api, query: str, code: int, message: str) -> None:
    status, _, body = await api.call("GET", f"{api.requests}?{query}")
    assert (status, body["code"], body["message"]) == (code, code, message)


async def test_a_list_names_its_kind_and_not_that_of_each_object_if_it_is_built_in(api: Api) -> None:
    await api.ask("POST", api.config_maps, config_map())
    await api.ask("POST", api.requests, request())
    built_in = await api.ask("GET", api.config_maps)
    assert (built_in["kind"], built_in["apiVersion"]) == ("ConfigMapList", "v1")
    custom = await api.ask("GET", api.requests)
    assert (custom["kind"], custom["apiVersion"]) == ("CertificateRequestList", "cert-manager.io/v1")
    assert (custom["items"][0]["kind"], custom["items"][0]["apiVersion"]) == (
        "CertificateRequest",
        "cert-manager.io/v1",
    )


async def test_a_list_of_all_namespaces_has_that_of_each(api: Api) -> None:
    await api.ask("POST", api.requests, request())
    listed: dict[str, Any] = await api.ask("GET", "/apis/cert-manager.io/v1/certificaterequests")
    mine = [one for one in listed["items"] if one["metadata"]["namespace"] == api.namespace]
    assert [one["metadata"]["name"] for one in mine] == ["r"]


def aged(token: str) -> str:
    """A continue token of the same place in a list of long ago."""
    read = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return urlsafe_b64encode(json.dumps({**read, "rv": 2}).encode()).decode().rstrip("=")
