"""Name constraints: which names the CAs of a chain may sign (RFC 5280, section 4.2.1.10).

A CA's certificate may permit names and exclude names, by subtrees. Every certificate of the chain must allow every name
of the leaf: where it permits any subtree of a kind, a name of that kind must be in one of them; and in none that it
excludes. A certificate that breaks this is refused by whoever verifies it, so it is better not signed.

Where the standard is silent or verifiers differ (Go's crypto/x509, OpenSSL), the stricter reading counts:

    DNS    a subtree and all names below it; with a dot in front only those below. A wildcard is in a permitted subtree
           if all its names are, in an excluded one if any is. A common name counts where there is no DNS name.
    IP     a network; an IPv4 address in IPv6 form is in no permitted IPv4 network, but may be in an excluded one.
    email  a mailbox, all mailboxes of a host, or with a dot in front those of all hosts below it. The emailAddress of
           the subject counts too.
    URI    a host, or with a dot in front all hosts below it. A URI whose host is no DNS name, or has a user in front,
           cannot be compared, and is refused where there is any such constraint.
    name   the subject, if it is not empty, and a directory name must begin with the attributes of the subtree; letter
           case does not count.
    other  other names (UPNs, SRV names) and registered IDs cannot be compared, and are refused where their kind is
           constrained.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from issuer.pki.names import comparable_dns, comparable_other

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from issuer.pki.csr import SigningRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_SHOWN: Final = 3
"""Subtrees that a message lists."""


def violation(request: SigningRequest, chain: Iterable[x509.Certificate]) -> str | None:
    """The first name of a request that a certificate of the chain does not allow, in words for a person; else None.

    The extensions of the chain must have been read before: one that does not decode raises what cryptography raises.
    """
    for certificate in chain:
        try:
            constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue
        for kind in _KINDS:
            if problem := _broken(kind, request, constraints):
                return f"{problem} (name constraints of {certificate.subject.rfc4514_string()[:100]!r})"
    return None


def _broken(kind: _Kind, request: SigningRequest, constraints: x509.NameConstraints) -> str | None:
    permitted = _subtrees(constraints.permitted_subtrees, kind.general_name)
    excluded = _subtrees(constraints.excluded_subtrees, kind.general_name)
    if not permitted and not excluded:
        return None
    for name in kind.names(request):
        subject = f"the {kind.title} {_shown(name)} is"
        if not kind.comparable(name):
            return f"{subject} of a form that cannot be compared with what the CA may sign"
        for subtree in excluded:
            if kind.meets(name, subtree):
                return f"{subject} inside of {_shown(subtree)}, which the CA may not sign"
        if permitted and not any(kind.within(name, subtree) for subtree in permitted):
            return f"{subject} outside of what the CA may sign: {_listed(permitted)}"
    return None


def _subtrees(trees: Iterable[x509.GeneralName] | None, kind: type[x509.GeneralName]) -> list[Any]:
    return [tree.value for tree in trees or () if isinstance(tree, kind)]


def _host_within(host: str, subtree: str, *, below: bool) -> bool:
    """Whether a host is the subtree's, or below it: always with a dot in front, without one only if `below`."""
    host, subtree = host.lower(), comparable_dns(subtree)
    if subtree.startswith("."):
        return host.endswith(subtree)
    return host == subtree or (below and (not subtree or host.endswith(f".{subtree}")))


def _dns_within(name: str, subtree: str) -> bool:
    """Whether a DNS name is in a subtree; of a wildcard, all its names."""
    if name.startswith("*."):
        # All of them are one label longer than the rest, so a dot in front is satisfied by the rest itself.
        return _host_within(name[2:], subtree.removeprefix("."), below=True)
    return _host_within(name, subtree, below=True)


def _dns_meets(name: str, subtree: str) -> bool:
    """Whether a DNS name is in a subtree; of a wildcard, any of its names."""
    if name.startswith("*.") and not subtree.startswith("."):
        return _dns_within(name, subtree) or comparable_dns(subtree).partition(".")[2] == name[2:]
    return _dns_within(name, subtree)


def _ip_within(address: Address, network: Network) -> bool:
    return address in network


def _ip_meets(address: Address, network: Network) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address in network or (mapped is not None and mapped in network)


def _email_within(address: str, subtree: str) -> bool:
    local, _, host = address.rpartition("@")
    if "@" in subtree:
        wanted, _, domain = subtree.rpartition("@")
        return local == wanted and host.lower() == domain.lower()
    return not subtree or _host_within(host, subtree, below=False)


def _uri_within(uri: str, subtree: str) -> bool:
    return not subtree or _host_within(_uri_host(uri), subtree, below=False)


def _uri_host(uri: str) -> str:
    """The host of a URI if it is a DNS name, else nothing; nothing with a user in front, which OpenSSL takes for it."""
    try:
        parts = urlsplit(uri)
        host = "" if "@" in parts.netloc else parts.hostname or ""
    except ValueError:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return ""


def _name_within(subject: x509.Name, subtree: x509.Name) -> bool:
    ours, theirs = _folded(subject), _folded(subtree)
    return ours[: len(theirs)] == theirs


def _folded(name: x509.Name) -> list[frozenset[tuple[str, str]]]:
    """The attributes without letter case and with single spaces (RFC 5280, section 7.1)."""
    return [
        frozenset((each.oid.dotted_string, " ".join(str(each.value).split()).casefold()) for each in attributes)
        for attributes in name.rdns
    ]


def _emails(request: SigningRequest) -> list[str]:
    attributes = request.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
    return [*request.email_addresses, *(str(attribute.value) for attribute in attributes)]


def _others(kind: type[x509.GeneralName], request: SigningRequest) -> list[x509.GeneralName]:
    return [name for name in request.san or () if isinstance(name, kind)]


def _never(*_: object) -> bool:
    return False


def _shown(name: object) -> str:
    if isinstance(name, x509.GeneralName):
        return repr(comparable_other(name)[:100])
    return repr((name.rfc4514_string() if isinstance(name, x509.Name) else str(name))[:100])


def _listed(subtrees: list[Any]) -> str:
    shown = ", ".join(map(_shown, subtrees[:MAX_SHOWN]))
    return shown if len(subtrees) <= MAX_SHOWN else f"{shown} and {len(subtrees) - MAX_SHOWN} more"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of name is compared with its subtrees.

    Attributes:
        title: for messages.
        general_name: what its subtrees are.
        names: those of a request.
        within: whether a name is wholly in a subtree.
        meets: whether a name is in a subtree in any way.
        comparable: whether a name can be in a subtree at all.
    """

    title: str
    general_name: type[x509.GeneralName]
    names: Callable[[SigningRequest], Iterable[Any]]
    within: Callable[[Any, Any], bool]
    meets: Callable[[Any, Any], bool]
    comparable: Callable[[Any], bool] = lambda _: True


_KINDS: Final = (
    _Kind(
        "DNS name",
        x509.DNSName,
        lambda request: map(comparable_dns, request.dns_names or request.hostnames),
        _dns_within,
        _dns_meets,
    ),
    _Kind(
        "IP address",
        x509.IPAddress,
        lambda request: map(ipaddress.ip_address, request.ip_addresses),
        _ip_within,
        _ip_meets,
    ),
    _Kind("email address", x509.RFC822Name, _emails, _email_within, _email_within),
    _Kind(
        "URI",
        x509.UniformResourceIdentifier,
        lambda request: request.uris,
        _uri_within,
        _uri_within,
        lambda uri: bool(_uri_host(uri)),
    ),
    _Kind(
        "subject",
        x509.DirectoryName,
        lambda request: (request.subject,) if list(request.subject) else (),
        _name_within,
        _name_within,
    ),
    _Kind("directory name", x509.DirectoryName, lambda request: request.directory_names, _name_within, _name_within),
    *(
        _Kind(title, kind, partial(_others, kind), _never, _never, comparable=_never)
        for title, kind in (("other name", x509.OtherName), ("registered ID", x509.RegisteredID))
    ),
)
