"""A mock of the CDN provider's API: a small CA behind the Origin CA calls, and faults to switch on.

It behaves as Cloudflare's public documentation and its users' reports say, the unpleasant parts first: slow signatures,
a certificate made though the answer was lost, a temporary failure that comes with HTTP 400, HTML where JSON was due.
"""

from issuer.sandbox.cdn.faults import Fault, FaultKind, Faults
from issuer.sandbox.cdn.ledger import IssuedCertificate, Ledger, OriginCA, Token
from issuer.sandbox.cdn.ratelimit import RateLimit
from issuer.sandbox.cdn.server import MockCDN

__all__ = [
    "Fault",
    "FaultKind",
    "Faults",
    "IssuedCertificate",
    "Ledger",
    "MockCDN",
    "OriginCA",
    "RateLimit",
    "Token",
]
