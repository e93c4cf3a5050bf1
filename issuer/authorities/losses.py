"""A call that ended without an answer: whether the provider can have received it, and why, in plain words.

What aiohttp, OpenSSL and the resolver say is written for whoever debugs them, with addresses, file descriptors and
line numbers in it. Users read what is said here in a condition, so each kind of failure has words of its own.

The transport is `httpx_aiohttp`'s, whose mapping of exceptions cannot be taken at its word: a connection that is lost
after the request was sent arrives as `httpx.ConnectTimeout`, just as one that never came up. The difference decides
whether a certificate may exist, so the cause underneath is looked at.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
import httpx

from issuer.api.duration import human

if TYPE_CHECKING:
    from issuer.authorities.base import CallTimeouts

LOSSES: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    aiohttp.ClientError,
    OSError,
    # From the transport, undocumented: its session was closed, or a .netrc competes with our credential.
    RuntimeError,
    ValueError,
)
"""What a call may end with in place of an answer."""

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_NEVER_SENT_CAUSES: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
_NOT_HTTP: Final = (aiohttp.ClientResponseError, httpx.RemoteProtocolError, httpx.DecodingError)
_OUR_OWN: Final = (RuntimeError, ValueError, httpx.LocalProtocolError, httpx.StreamError, httpx.InvalidURL)
_RESETS: Final = frozenset({errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE})
_ERRNO: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "the network is unreachable",
    errno.ETIMEDOUT: "the connection timed out",
}
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})


def never_sent(error: Exception) -> bool:
    """Whether the request certainly did not reach the provider."""
    cause = _cause(error)
    if isinstance(cause, aiohttp.ClientError):
        return isinstance(cause, _NEVER_SENT_CAUSES)
    return isinstance(error, _NEVER_SENT)


def explain(error: Exception, host: str, timeouts: CallTimeouts) -> str:
    """Why there is no answer, in words for a person; `host` is whom the call was for."""
    cause = _cause(error)
    is_timeout = isinstance(cause, (httpx.TimeoutException, TimeoutError))
    if never_sent(error):
        why = f" within {human(timeouts.connect)}" if is_timeout else f": {_no_connection(cause)}"
        return f"could not connect to {host}{why}"
    if is_timeout:
        return f"no answer within {human(timeouts.read)}"
    if isinstance(cause, _NOT_HTTP):
        return f"what {host} answered is not HTTP"
    if isinstance(cause, _OUR_OWN):
        return f"the call broke off ({type(cause).__name__})"
    return f"the connection was lost before the answer{_lost(cause, host)}"


def _cause(error: Exception) -> BaseException:
    """The failure underneath what the transport makes of it."""
    return error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error


def _no_connection(cause: BaseException) -> str:
    match cause:
        case aiohttp.ClientProxyConnectionError():
            return f"no connection to the proxy ({_system(cause.os_error)})"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered HTTP {cause.status}"
        case aiohttp.ClientConnectorCertificateError():
            return f"its TLS certificate is not trusted{_verification(cause.certificate_error)}"
        case aiohttp.ClientSSLError():
            return f"the TLS handshake failed{_handshake(cause.os_error)}"
        case aiohttp.ClientConnectorError():
            return _system(cause.os_error)
        case aiohttp.InvalidURL() | httpx.UnsupportedProtocol():
            return "it is no usable URL"
        case _:
            return "no connection came up"


def _system(error: OSError) -> str:
    """What the operating system or the resolver says of a connection."""
    if isinstance(error, socket.gaierror):
        unknown = error.errno in _NO_SUCH_NAME
        return f"its name cannot be resolved ({'no such host' if unknown else 'the DNS gave no answer'})"
    if error.errno is None:
        # Several addresses, which failed in different ways.
        return "none of its addresses took the connection"
    return _ERRNO.get(error.errno) or os.strerror(error.errno).lower()


def _verification(error: BaseException) -> str:
    said = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
    return f" ({said.rstrip('.')})" if said else ""


def _handshake(error: OSError) -> str:
    said = error.reason if isinstance(error, ssl.SSLError) else ""
    return f" ({said.replace('_', ' ').lower()})" if said else ""


def _lost(cause: BaseException, host: str) -> str:
    if isinstance(cause, aiohttp.ClientPayloadError):
        return " was complete"
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return f": closed by {host}"
    if isinstance(cause, OSError) and (isinstance(cause, ConnectionError) or cause.errno in _RESETS):
        return f": reset by {host}"
    return ""
