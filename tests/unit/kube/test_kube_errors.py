"""What an answer of the API server, or of something in front of it, means."""

from __future__ import annotations

import json

import pytest

from issuer.kube import errors
from issuer.kube.errors import ApiError, error_from
from issuer.kube.resource import SECRETS, Resource

LEASE = Resource("coordination.k8s.io", "v1", "leases")
NODES = Resource("", "v1", "nodes", namespaced=False)


def status(code: int, reason: str, **more: object) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": "because", **more}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", errors.InvalidError),
        (401, "Unauthorized", errors.UnauthorizedError),
        (403, "Forbidden", errors.ForbiddenError),
        (404, "NotFound", errors.NotFoundError),
        (409, "Conflict", errors.ConflictError),
        (409, "AlreadyExists", errors.AlreadyExistsError),
        (410, "Gone", errors.GoneError),
        (410, "Expired", errors.GoneError),
        (422, "Invalid", errors.InvalidError),
        (429, "TooManyRequests", errors.ThrottledError),
        (500, "InternalError", errors.ServerError),
        (504, "Timeout", errors.ServerError),
        (418, "Teapot", ApiError),
    ],
)
def test_a_status_object_becomes_the_error_of_its_code_and_reason(
    code: int, reason: str, expected: type[ApiError]
) -> None:
    from_http = error_from(code, status(code, reason))
    from_watch = error_from(0, status(code, reason))
    assert type(from_http) is type(from_watch) is expected
    assert (from_http.status, from_http.reason, from_http.message) == (code, reason, "because")
    assert str(from_watch) == f"HTTP {code} {reason}: because"


def test_a_proxys_html_becomes_one_line_of_text() -> None:
    page = b"<html><head><style>b{x:1}</style></head><body><h1>503 Service</h1>\n<p>try &amp; again</p></body></html>"
    error = error_from(503, page)
    assert type(error) is errors.ServerError
    assert error.message == "503 Service try & again"


def test_json_that_is_no_status_object_is_quoted_as_text() -> None:
    assert error_from(502, b'{"kind": "Pod"}').message == '{"kind": "Pod"}'
    assert error_from(502, b"\xff\xfe").status == 502
    assert error_from(500, b"").message == "no explanation"


def test_a_flood_of_text_is_cut() -> None:
    assert len(error_from(500, b"x" * 100_000).message) == errors.MAX_MESSAGE


@pytest.mark.parametrize(
    ("header", "expected"), [("7", 7.0), ("0", 0.0), ("-1", None), ("inf", None), ("tomorrow", None), (None, None)]
)
def test_retry_after_is_read_from_the_header(header: str | None, expected: float | None) -> None:
    headers = {"Retry-After": header} if header is not None else {}
    assert error_from(429, b"", headers).retry_after == expected


def test_retry_after_is_read_from_the_status_object_if_there_is_no_header() -> None:
    body = status(429, "TooManyRequests", details={"retryAfterSeconds": 3})
    assert error_from(429, body).retry_after == 3.0
    assert error_from(429, body, {"Retry-After": "9"}).retry_after == 9.0


def test_paths_of_core_and_group_resources() -> None:
    assert SECRETS.path("ns", "name") == "/api/v1/namespaces/ns/secrets/name"
    assert LEASE.path("ns") == "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
    assert LEASE.path() == "/apis/coordination.k8s.io/v1/leases"
    assert LEASE.path("ns", "n", "status") == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/n/status"
    assert NODES.path("ignored", "n") == "/api/v1/nodes/n"
    assert (str(LEASE), str(SECRETS)) == ("leases.coordination.k8s.io", "secrets")


@pytest.mark.parametrize("name", [".", "..", "a/b", "a%2fb"])
def test_a_name_that_leads_to_another_path_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidError):
        SECRETS.path("ns", name)
    with pytest.raises(errors.InvalidError):
        SECRETS.path(name, "x")


def test_a_name_with_odd_characters_is_quoted() -> None:
    assert SECRETS.path("ns", "a b?c#d") == "/api/v1/namespaces/ns/secrets/a%20b%3Fc%23d"
