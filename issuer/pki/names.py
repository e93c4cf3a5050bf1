"""The names in a subject alternative name, in the form in which they are compared.

A provider may write a name in another way than the request did and still mean the same: another case, Unicode instead
of punycode, an IPv4 address mapped into IPv6 (Go writes those back as IPv4). Compared is the meaning.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import idna
from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DNS_NAME: Final = 253
"""Characters of a DNS name without the root's dot (RFC 1035, section 2.3.4, in text form)."""

NOT_PUBLIC: Final = {
    "alt": "RFC 9476",
    "arpa": "RFC 3172",
    "example": "RFC 6761",
    "internal": "reserved for private use by ICANN in 2024",
    "invalid": "RFC 6761",
    "local": "RFC 6762",
    "localhost": "RFC 6761",
    "onion": "RFC 7686",
    "svc": "the Services of a Kubernetes cluster",
    "test": "RFC 6761",
}
"""Top-level domains under which nobody has a zone in the public DNS, and who says so.

`cluster.local` is under `local`, and `home.arpa` (RFC 8375) under `arpa`. `svc` is reserved by nobody, but there is no
such top-level domain, and every cluster answers for it.
"""

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_VISIBLE: Final = re.compile(r"[!-~]+")
_STRINGS: Final = {0x0C: "UTF8", 0x16: "IA5"}
"""Types of strings, by their tag."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a request or of a certificate, by kind, each in the form in which it is compared.

    Attributes:
        dns: lower case, punycode; wildcards literally.
        ips: IPv4 addresses that were mapped into IPv6 as IPv4.
        emails: with the domain in lower case.
        uris: as they are.
        others: names of all further kinds (other names such as UPNs, directory names, registered IDs), each with its
            kind in front (`comparable_other`).
    """

    dns: frozenset[str] = frozenset()
    ips: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()
    uris: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    @classmethod
    def of(cls, general_names: Iterable[x509.GeneralName]) -> Names:
        """Sort the names of an extension by kind."""
        sorted_: dict[str, set[str]] = {"dns": set(), "ips": set(), "emails": set(), "uris": set(), "others": set()}
        for name in general_names:
            if isinstance(name, x509.DNSName):
                sorted_["dns"].add(comparable_dns(name.value))
            elif isinstance(name, x509.IPAddress):
                sorted_["ips"].add(comparable_ip(str(name.value)))
            elif isinstance(name, x509.RFC822Name):
                sorted_["emails"].add(comparable_email(name.value))
            elif isinstance(name, x509.UniformResourceIdentifier):
                sorted_["uris"].add(name.value)
            else:
                sorted_["others"].add(comparable_other(name))
        return cls(**{kind: frozenset(values) for kind, values in sorted_.items()})

    def __sub__(self, other: Names) -> tuple[str, ...]:
        """The names that are here and not there, sorted, for a person."""
        return (
            *sorted(self.dns - other.dns),
            *sorted(self.ips - other.ips),
            *sorted(self.emails - other.emails),
            *sorted(self.uris - other.uris),
            *sorted(self.others - other.others),
        )

    def __bool__(self) -> bool:
        return bool(self.dns or self.ips or self.emails or self.uris or self.others)


def comparable_dns(name: str) -> str:
    """A DNS name in lower case and in punycode; one that is no internationalised name either, only in lower case."""
    if name.isascii():
        return name.lower()
    star, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return star + idna.encode(rest, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return name.lower()


def comparable_ip(address: str) -> str:
    """An IP address in its shortest form; anything else (a network) as it is."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def comparable_email(address: str) -> str:
    """An email address with its domain in lower case; the part before the @ is the receiver's own (RFC 5321, 2.4)."""
    local, at, domain = address.rpartition("@")
    return local + at + domain.lower()


def comparable_other(name: x509.GeneralName) -> str:
    """A name of one of the rare kinds, with its kind: an other name by its type and content (RFC 5280, 4.2.1.6)."""
    if isinstance(name, x509.OtherName):
        return f"otherName {name.type_id.dotted_string} {_text_of(name.value)}"
    if isinstance(name, x509.RegisteredID):
        return f"registeredID {name.value.dotted_string}"
    if isinstance(name, x509.DirectoryName):
        return f"directoryName {name.value.rfc4514_string()}"
    return f"{type(name).__name__} {name.value!r}"


def dns_problem(name: str) -> str | None:
    """What is wrong with a DNS name in lower case, or None.

    RFC 5280, section 4.2.1.6, wants the "preferred name syntax"; underscores are let through as every CA of a cluster
    does, and `*.` in front.
    """
    labels = name.removeprefix("*.").split(".")
    if not name:
        return "is empty"
    if len(name) > MAX_DNS_NAME:
        return f"is longer than {MAX_DNS_NAME} characters"
    if name.endswith("."):
        return "ends with a dot"
    if "*" in name.removeprefix("*."):
        return "has a * where none may be: a wildcard may only be the whole first label"
    if not name.isascii():
        return "holds characters that are not ASCII; write it in punycode (xn--...)"
    if not all(_LABEL.fullmatch(label) for label in labels):
        return "has a label that is empty, longer than 63 characters, or not of letters, digits and inner hyphens"
    if labels[-1].isdigit():
        return "ends with a number, as only IP addresses do"
    return None


def not_public(name: str) -> str | None:
    """Why no zone of the public DNS can hold a DNS name, or None if one can.

    Only top-level domains are reserved: `www.example.com` is an ordinary name, as is `www.test.com`.
    """
    *above, top = comparable_dns(name).removeprefix("*.").removesuffix(".").split(".")
    if not above:
        return "it has no domain"
    because = NOT_PUBLIC.get(top)
    return f".{top} is in no public DNS ({because})" if because else None


def is_hostname(text: str) -> bool:
    """Whether a common name means a host: a DNS name of at least two labels. `backend` may be anything."""
    name = comparable_dns(text)
    return name.isascii() and "." in name.removeprefix("*.") and dns_problem(name) is None


def is_email(text: str) -> bool:
    """Whether it has the shape of an email address: visible ASCII with an @ inside."""
    local, _, domain = text.rpartition("@")
    return bool(local and domain and _VISIBLE.fullmatch(text))


def is_uri(text: str) -> bool:
    """Whether it has the shape of an absolute URI: visible ASCII with a scheme (RFC 3986, section 3.1)."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", text) is not None


def _text_of(der: bytes) -> str:
    """The text of a UTF8String or an IA5String with its tag, as UPNs and SRV names are; else hexadecimal."""
    if len(der) > 1 and der[0] in _STRINGS and der[1] == len(der) - 2:
        with contextlib.suppress(UnicodeDecodeError):
            text = der[2:].decode()
            return f"{_STRINGS[der[0]]}:{text}" if text.isprintable() else der.hex()
    return der.hex()
