"""Name constraints of a CA: which names it may sign, by kind, as RFC 5280, section 4.2.1.10, tells."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from issuer.pki import csr as csrs
from issuer.pki.constraints import violation
from tests.unit.pki.pki_case import CA, dns, make_ca, name, pem, request


def dns_name(value: str) -> x509.GeneralName:
    return x509.DNSName(value)


def ip(value: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_network(value) if "/" in value else ipaddress.ip_address(value))


def email(value: str) -> x509.GeneralName:
    return x509.RFC822Name(value)


def uri(value: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(value)


def constrained(
    permitted: list[x509.GeneralName] | None = None,
    excluded: list[x509.GeneralName] | None = None,
    *,
    issued_by: CA | None = None,
) -> CA:
    extension = x509.NameConstraints(permitted or None, excluded or None)
    return make_ca("constrained", issued_by=issued_by, extensions=[(extension, True)])


def asked(*names: x509.GeneralName, subject: x509.Name | None = None) -> csrs.SigningRequest:
    return csrs.parse_pem(pem(request(names, subject=subject)))


def allowed(of: CA, *names: x509.GeneralName, subject: x509.Name | None = None) -> bool:
    return violation(asked(*names, subject=subject), [of.certificate]) is None


@pytest.mark.parametrize(
    ("kind", "subtree", "asked_for", "permitted", "not_excluded"),
    [
        # DNS: the name itself and everything below it.
        (dns_name, "example.com", "example.com", True, False),
        (dns_name, "example.com", "www.example.com", True, False),
        (dns_name, "example.com", "a.b.example.com", True, False),
        (dns_name, "Example.COM", "WWW.example.com", True, False),
        (dns_name, "example.com", "badexample.com", False, True),
        (dns_name, "example.com", "example.com.evil.net", False, True),
        (dns_name, "example.com", "example.org", False, True),
        (dns_name, "example.com", "com", False, True),
        (dns_name, "xn--bcher-kva.example", "www.xn--bcher-kva.example", True, False),
        # With a dot in front: only what is below it.
        (dns_name, ".example.com", "www.example.com", True, False),
        (dns_name, ".example.com", "example.com", False, True),
        # The empty subtree is everything.
        (dns_name, "", "www.example.com", True, False),
        # Wildcards: all names count for what is permitted, any name for what is excluded.
        (dns_name, "example.com", "*.example.com", True, False),
        (dns_name, "example.com", "*.www.example.com", True, False),
        (dns_name, ".example.com", "*.example.com", True, False),
        (dns_name, "www.example.com", "*.example.com", False, False),
        (dns_name, "a.www.example.com", "*.example.com", False, True),
        (dns_name, ".www.example.com", "*.example.com", False, True),
        (dns_name, "example.org", "*.example.com", False, True),
        # IP: the network, of the same family.
        (ip, "10.0.0.0/8", "10.1.2.3", True, False),
        (ip, "10.0.0.0/8", "11.0.0.1", False, True),
        (ip, "10.1.2.3/32", "10.1.2.3", True, False),
        (ip, "0.0.0.0/0", "10.1.2.3", True, False),
        (ip, "0.0.0.0/0", "2001:db8::1", False, True),
        (ip, "2001:db8::/32", "2001:db8::1", True, False),
        (ip, "2001:db8::/32", "2001:db9::1", False, True),
        (ip, "::/0", "10.1.2.3", False, True),
        (ip, "10.0.0.0/8", "::ffff:10.1.2.3", False, False),
        # Email: a mailbox, a host, or the hosts below a domain.
        (email, "ops@example.com", "ops@example.com", True, False),
        (email, "ops@example.com", "ops@EXAMPLE.com", True, False),
        (email, "ops@example.com", "Ops@example.com", False, True),
        (email, "ops@example.com", "dev@example.com", False, True),
        (email, "example.com", "ops@example.com", True, False),
        (email, "example.com", "ops@mail.example.com", False, True),
        (email, ".example.com", "ops@mail.example.com", True, False),
        (email, ".example.com", "ops@example.com", False, True),
        (email, ".example.com", "ops@badexample.com", False, True),
        # URI: a host, or the hosts below a domain; the scheme, the port and the path do not count.
        (uri, "example.com", "spiffe://example.com/web", True, False),
        (uri, "example.com", "https://Example.com:8443/x?y", True, False),
        (uri, "example.com", "spiffe://www.example.com/web", False, True),
        (uri, ".example.com", "spiffe://www.example.com/web", True, False),
        (uri, ".example.com", "spiffe://example.com/web", False, True),
        (uri, "example.com", "spiffe://example.org/example.com", False, True),
        # A URI without a DNS name as its host cannot be compared.
        (uri, "example.com", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", False, False),
        (uri, "example.com", "https://192.0.2.1/", False, False),
        (uri, "example.com", "https://[2001:db8::1]/", False, False),
        (uri, "example.com", "https://user@example.com/", False, False),
        (uri, "example.com", "https://[nonsense/", False, False),
    ],
)
def test_a_name_is_in_a_subtree(
    kind: type[x509.GeneralName], subtree: str, asked_for: str, permitted: bool, not_excluded: bool
) -> None:
    tree, wanted = kind(subtree), kind(asked_for)  # type: ignore[call-arg]
    assert allowed(constrained(permitted=[tree]), wanted) is permitted
    assert allowed(constrained(excluded=[tree]), wanted) is not_excluded


def test_a_ca_without_constraints_allows_every_name() -> None:
    assert allowed(make_ca("free"), *dns("a.example.com"), ip("10.0.0.1"), email("a@b.c"), uri("urn:x"))


def test_names_of_a_kind_without_constraints_are_allowed() -> None:
    of = constrained(permitted=[dns_name("example.com")])
    assert allowed(of, ip("10.0.0.1"), email("ops@example.org"), uri("urn:x"), subject=name("anything"))
    assert not allowed(constrained(permitted=[ip("10.0.0.0/8")]), *dns("www.example.com"), ip("11.0.0.1"))


def test_one_of_several_permitted_subtrees_is_enough_and_every_name_needs_one() -> None:
    of = constrained(permitted=[dns_name("example.com"), dns_name("example.org")])
    assert allowed(of, *dns("a.example.com", "b.example.org"))
    assert not allowed(of, *dns("a.example.com", "b.example.net"))


def test_an_excluded_subtree_counts_inside_of_a_permitted_one() -> None:
    of = constrained(permitted=[dns_name("example.com")], excluded=[dns_name("secret.example.com")])
    assert allowed(of, *dns("www.example.com"))
    assert not allowed(of, *dns("www.secret.example.com"))


def test_every_certificate_of_the_chain_must_allow_the_names() -> None:
    root = constrained(permitted=[dns_name("example.com")])
    issuing = root.below("issuing")
    chain = [issuing.certificate, root.certificate]
    assert violation(asked(*dns("www.example.com")), chain) is None
    assert violation(asked(*dns("www.example.org")), chain) is not None


def test_a_common_name_counts_where_there_is_no_dns_name() -> None:
    """OpenSSL's verifier does so."""
    of = constrained(permitted=[dns_name("example.com")])
    assert not allowed(of, subject=name("www.example.org"))
    assert allowed(of, subject=name("www.example.com"))
    assert allowed(of, subject=name("Some Service"))
    assert allowed(of, *dns("www.example.com"), subject=name("www.example.org"))


def test_the_email_address_of_the_subject_counts() -> None:
    of = constrained(permitted=[email("example.com")])
    subject = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "ops@example.org")])
    assert not allowed(of, *dns("www.example.com"), subject=subject)


@pytest.mark.parametrize(
    ("subject", "permitted"),
    [
        (name("www", o="Example"), True),
        (name("www", o="EXAMPLE "), True),
        (name(o="Example"), True),
        (name("www", o="Other"), False),
        (name("www"), False),
        (name(), True),
    ],
)
def test_a_subject_must_begin_with_a_permitted_name(subject: x509.Name, permitted: bool) -> None:
    of = constrained(permitted=[x509.DirectoryName(name(o="Example"))])
    assert allowed(of, *dns("www.example.com"), subject=subject) is permitted


def test_a_subject_must_not_begin_with_an_excluded_name() -> None:
    of = constrained(excluded=[x509.DirectoryName(name(o="Example"))])
    assert not allowed(of, *dns("www.example.com"), subject=name("www", o="example"))
    assert allowed(of, *dns("www.example.com"), subject=name("www", o="Other"))


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (
            constrained(permitted=[dns_name("corp.internal"), dns_name("corp.test")]),
            "outside of what the CA may sign: 'corp.internal', 'corp.test'",
        ),
        (
            constrained(excluded=[dns_name("example.com")]),
            "inside of 'example.com', which the CA may not sign",
        ),
        (
            constrained(permitted=[dns_name(f"{label}.internal") for label in "abcde"]),
            "outside of what the CA may sign: 'a.internal', 'b.internal', 'c.internal' and 2 more",
        ),
    ],
)
def test_the_message_names_the_name_and_the_constraint(of: CA, said: str) -> None:
    told = violation(asked(*dns("www.example.com")), [of.certificate])
    assert told == f"the DNS name 'www.example.com' is {said} (name constraints of 'CN=constrained')"
