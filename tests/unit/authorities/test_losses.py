"""A call without an answer: why, in words that users read."""

from __future__ import annotations

import errno
import socket
import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest

from issuer.authorities.base import CallTimeouts
from issuer.authorities.losses import explain, never_sent

HOST = "api.cdn.test"
TIMEOUTS = CallTimeouts(connect=5.0, read=60.0)
KEY: Any = SimpleNamespace(host="10.0.0.1", port=443, ssl=True, is_ssl=True)


def connector(error: OSError, kind: type[aiohttp.ClientConnectorError] = aiohttp.ClientConnectorError) -> Exception:
    return kind(KEY, error)


def untrusted(said: str) -> Exception:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)")
    error.verify_message = said
    return aiohttp.ClientConnectorCertificateError(KEY, error)


def handshake(reason: str) -> Exception:
    error = ssl.SSLError(1, f"[SSL: {reason}] something (_ssl.c:1006)")
    error.reason = reason
    return aiohttp.ClientConnectorSSLError(KEY, error)


def over_http(cause: Exception, kind: type[httpx.TransportError] = httpx.ConnectTimeout) -> Exception:
    """As httpx_aiohttp raises it."""
    error = kind("raw words")
    error.__cause__ = cause
    return error


NO_CONNECTION = [
    (connector(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")), "connection refused"),
    (connector(OSError(errno.EHOSTUNREACH, "Connect call failed")), "no route to the host"),
    (connector(OSError(errno.ENETUNREACH, "Connect call failed")), "the network is unreachable"),
    (connector(OSError(errno.EADDRNOTAVAIL, "Connect call failed")), "cannot assign requested address"),
    (connector(OSError("Multiple exceptions: [Errno 111] ...")), "none of its addresses took the connection"),
    (
        connector(socket.gaierror(socket.EAI_NONAME, "Name or service not known"), aiohttp.ClientConnectorDNSError),
        "its name cannot be resolved (no such host)",
    ),
    (
        connector(socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), aiohttp.ClientConnectorDNSError),
        "its name cannot be resolved (the DNS gave no answer)",
    ),
    (
        untrusted("self-signed certificate in certificate chain"),
        "its TLS certificate is not trusted (self-signed certificate in certificate chain)",
    ),
    (untrusted(""), "its TLS certificate is not trusted"),
    (handshake("WRONG_VERSION_NUMBER"), "the TLS handshake failed (wrong version number)"),
    (
        connector(ConnectionRefusedError(errno.ECONNREFUSED, "x"), aiohttp.ClientProxyConnectionError),
        "no connection to the proxy (connection refused)",
    ),
    (aiohttp.ClientHttpProxyError(KEY, (), status=407, message="Proxy Auth"), "the proxy answered HTTP 407"),
    (aiohttp.InvalidURL("https://"), "it is no usable URL"),
]


@pytest.mark.parametrize(("cause", "why"), NO_CONNECTION)
def test_a_connection_that_did_not_come_up_says_why_in_plain_words(cause: Exception, why: str) -> None:
    for error in (cause, over_http(cause)):
        assert never_sent(error)
        assert explain(error, HOST, TIMEOUTS) == f"could not connect to {HOST}: {why}"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectTimeout("raw"),
        httpx.PoolTimeout("raw"),
        over_http(aiohttp.ConnectionTimeoutError("Connection timeout to host https://10.0.0.1")),
    ],
)
def test_a_connection_that_took_too_long_says_how_long_was_waited(error: Exception) -> None:
    assert explain(error, HOST, TIMEOUTS) == f"could not connect to {HOST} within 5s"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ReadTimeout("raw"), "no answer within 1m"),
        (httpx.WriteTimeout("raw"), "no answer within 1m"),
        (over_http(aiohttp.SocketTimeoutError("Timeout on reading data from socket")), "no answer within 1m"),
        (
            over_http(aiohttp.ServerDisconnectedError()),
            f"the connection was lost before the answer: closed by {HOST}",
        ),
        (
            over_http(aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer")),
            f"the connection was lost before the answer: reset by {HOST}",
        ),
        (ConnectionResetError("raw"), f"the connection was lost before the answer: reset by {HOST}"),
        (
            over_http(aiohttp.ClientPayloadError("Response payload is not completed: <...>"), httpx.ReadError),
            "the connection was lost before the answer was complete",
        ),
        (httpx.ReadError("raw"), "the connection was lost before the answer"),
        (httpx.RemoteProtocolError("raw"), f"what {HOST} answered is not HTTP"),
        (aiohttp.ClientResponseError(KEY, (), status=400, message="raw"), f"what {HOST} answered is not HTTP"),
        (httpx.LocalProtocolError("raw"), "the call broke off (LocalProtocolError)"),
        (RuntimeError("Session is closed"), "the call broke off (RuntimeError)"),
    ],
)
def test_a_call_that_was_sent_says_what_became_of_it(error: Exception, said: str) -> None:
    assert not never_sent(error)
    assert explain(error, HOST, TIMEOUTS) == said
