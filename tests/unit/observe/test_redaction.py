"""No secret survives, whatever it is wrapped in; and what is no secret stays readable."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import string
import time
from collections import UserDict
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.api.meta import ObjectKey
from issuer.observe import redaction
from issuer.observe.redaction import REDACTED, redact, redact_text

URL_SAFE = string.ascii_letters + string.digits + "-_"
secrets = st.one_of(
    st.text(URL_SAFE, min_size=16, max_size=60).map(lambda text: "S3" + text),
    st.text(string.ascii_letters, min_size=16, max_size=60).map(lambda text: "Qz" + text),
)
decoys = st.sampled_from(
    ["Bearer", "Authorization:", "Authorization: Basic", "x-auth-key: x", "https://", "-----BEGIN", "eyJ", "v1.0-"]
)
prose = st.lists(st.text(max_size=20) | decoys, max_size=4).map(" ".join)


def pem(kind: str, body: str, newline: str = "\n") -> str:
    return newline.join([f"-----BEGIN {kind}-----", body, f"-----END {kind}-----"])


SHAPES = {
    "bearer": lambda secret: f"Bearer {secret}",
    "bearer in lower case": lambda secret: f"bearer  {secret}",
    "header": lambda secret: f"Authorization: Basic {secret}",
    "header of an unknown scheme": lambda secret: f"Proxy-Authorization: Strange {secret}",
    "header in a dict": lambda secret: f"{{'authorization': '{secret}'}}",
    "header of Cloudflare": lambda secret: f"X-Auth-Key: {secret}",
    "service key": lambda secret: f"v1.0-{secret}",
    "web token": lambda secret: f"eyJ{secret}.{secret}.{secret}",
    "web token without signature": lambda secret: f"eyJ{secret}.{secret}",
    "password in an address": lambda secret: f"https://user:{secret}@proxy.example.com/path",
    "private key": lambda secret: pem("PRIVATE KEY", secret),
    "RSA key on one line": lambda secret: pem("RSA PRIVATE KEY", secret, "\\n"),
    "cut private key": lambda secret: f"-----BEGIN EC PRIVATE KEY-----\n{secret}",
    "CSR": lambda secret: pem("CERTIFICATE REQUEST", secret),
    "CSR as in spec.request": lambda secret: base64.b64encode(
        pem("CERTIFICATE REQUEST", secret).encode() + secret.encode()
    ).decode(),
}
NAMES = [
    "token",
    "apiToken",
    "API_TOKEN",
    "Authorization",
    "x-auth-user-service-key",
    "password",
    "client_secret",
    "secret",
    "csr",
    "tls.key",
    "private_key",
    "privateKey",
    "apikey",
    "Set-Cookie",
    "credential",
]


@dataclasses.dataclass
class Config:
    token: str
    name: str = "edge"


class Wire(msgspec.Struct):
    token: str
    name: str = "edge"


class Mode(Enum):
    ON = 1


WRAPPINGS: dict[str, Any] = {
    "itself": lambda text: text,
    "bytes": str.encode,
    "bytearray": lambda text: bytearray(text.encode()),
    "an exception": ValueError,
    "a list": lambda text: ["a", [text]],
    "a tuple": lambda text: (1, text),
    "a set": lambda text: {text},
    "a dict": lambda text: {"deep": {"deeper": text}},
    "a key of a dict": lambda text: {text: 1},
    "a mapping": lambda text: UserDict({"text": text}),
    "an object": dataclasses.make_dataclass("Odd", [("about", str)]),
}


@pytest.mark.parametrize("shape", SHAPES)
@given(secret=secrets, before=prose, after=prose)
def test_a_secret_does_not_survive_in_any_text(shape: str, secret: str, before: str, after: str) -> None:
    text = f"{before} {SHAPES[shape](secret)} {after}"
    clean = redact_text(text)
    assert REDACTED in clean
    assert secret not in clean
    if "as in" in shape:
        assert base64.b64encode(secret.encode()).decode()[:12] not in clean


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@given(shape=st.sampled_from(sorted(SHAPES)), secret=secrets)
def test_a_secret_does_not_survive_in_any_value(wrapping: str, shape: str, secret: str) -> None:
    written = json.dumps(redact({"value": WRAPPINGS[wrapping](SHAPES[shape](secret))}))
    assert secret not in written
    assert REDACTED in written


@given(name=st.sampled_from(NAMES), secret=secrets)
def test_a_field_named_like_a_secret_is_replaced_wherever_it_is(name: str, secret: str) -> None:
    for fields in ({name: secret}, {"data": {name: secret.encode()}}, {"list": [{name: [secret]}]}):
        written = json.dumps(redact(fields))
        assert secret not in written
        assert REDACTED in written


@pytest.mark.parametrize("holder", [Config, Wire])
@given(secret=secrets)
def test_a_field_of_an_object_of_ours_is_replaced_too(holder: type[Config | Wire], secret: str) -> None:
    assert redact({"config": holder(token=secret)}) == {"config": {"token": REDACTED, "name": "edge"}}


@pytest.mark.parametrize(
    "text",
    [
        "edge: no answer within 5s (HTTP 524, trace 8f1a-FRA)",
        "the issuer shop/web names the Secret cloudflare, which has no key token",
        "https://api.cloudflare.com/client/v4/certificates",
        "CDNIssuer v1.0-rc1",
        "eyJ is how web tokens begin",
        "spec.authorities[0].cloudflare.apiTokenSecretRef: missing",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact({"event": text, "key": "shop/web-1", "public_key": "ecdsa"}) == {
        "event": text,
        "key": "shop/web-1",
        "public_key": "ecdsa",
    }


def test_a_secret_that_is_none_stays_none() -> None:
    assert redact({"token": None}) == {"token": None}


def test_values_become_what_json_knows() -> None:
    when = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    given_ = {
        "a": ObjectKey("shop", "web"),
        "b": when,
        "c": float("nan"),
        "d": Mode.ON,
        "e": {1: 2},
        "f": 0.5,
        "g": True,
    }
    assert redact(given_) == {
        "a": "shop/web",
        "b": "2026-11-23 00:00:00+00:00",
        "c": "nan",
        "d": "<Mode.ON: 1>",
        "e": {"1": 2},
        "f": 0.5,
        "g": True,
    }


def test_a_value_whose_repr_fails_is_shown_as_its_type() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("Bearer 0123456789abcdef")

    assert redact({"odd": Odd()}) == {"odd": "<Odd>"}


def test_a_cycle_and_a_deep_value_come_to_an_end() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    assert json.dumps(redact({"cycle": cycle})).endswith('"…"]]]]]]]]}'.replace("…", "\\u2026"))


def test_a_flood_of_text_is_cut() -> None:
    assert len(redact_text("x" * 10_000_000)) == redaction.MAX_TEXT + 1
    assert len(redact({"body": b"x" * 10_000_000})["body"]) == redaction.MAX_TEXT + 1


@pytest.mark.parametrize("part", ["-eyJ", "x-auth-", "://a:", "bearer ", "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaa."])
def test_text_made_to_be_slow_to_search_is_not(part: str) -> None:
    text = part * (redaction.MAX_TEXT // len(part))
    began = time.process_time()
    redact_text(text)
    assert time.process_time() - began < 0.5


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.text()),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_like))
def test_whatever_is_logged_can_be_written_as_json(fields: dict[str, Any]) -> None:
    json.dumps(redact(fields), allow_nan=False)
