"""CSRs that are not DER to the letter, written anew so that `cryptography` reads them; and why it reads no certificate.

`cryptography` reads strict DER, and tools write other things, which Go's crypto/x509, and so cert-manager's CA issuer,
or OpenSSL take: a `*` in a PrintableString (node-forge), T61 strings, a version other than 0 (older certbot, salt),
attributes that are not sorted (routers), defaults that are written out (keytool, routers), attributes left out. None of
that changes what is asked for. Such a CSR is decoded here with pyasn1, whose BER decoder is lenient, and encoded again
as the DER that its writer meant:

    version      0, the only one there is (RFC 2986, section 4.1)
    subject      each value in its own type of string where that can hold it, else as a UTF8String
    key          as it is
    attributes   those that hold extensions, and of these the ones that are read: names, basic constraints, name
                 constraints; without defaults that are written out
    signature    as it is; it does not fit what is encoded anew, and is checked over the original bytes

Which names a CSR asks for must not depend on who reads it: an approver that is written in Go approves what Go sees.
So those attributes count that count there: each extensionRequest, of each its first value, and not Microsoft's older
attribute (1.3.6.1.4.1.311.2.1.14), which `cryptography` and OpenSSL read.

Only a CSR that `cryptography` refuses, or reads in another way, comes here: pyasn1 takes milliseconds. What cannot be
read here either is refused with the part of the CSR that is wrong, never with a parser's own words.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from pyasn1.codec.ber import decoder
from pyasn1.codec.der import encoder
from pyasn1.type import char, tag, univ
from pyasn1.type.namedtype import DefaultedNamedType, NamedType, NamedTypes, OptionalNamedType

from issuer.pki.foreign import parsing

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SIZE: Final = 16 * 1024
"""Bytes of a CSR that is read leniently; pyasn1 takes up to a tenth of a second for so many."""

MAX_SHOWN: Final = 60
"""Characters of an OID that a message shows."""
EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"
"""PKCS #9's extensionRequest (RFC 2985, section 5.4.2)."""
_NAMES: Final = "2.5.29.17"
_BASIC_CONSTRAINTS: Final = "2.5.29.19"
_NAME_CONSTRAINTS: Final = "2.5.29.30"

_KINDS: Final = {
    0xA0: "other name",
    0x81: "email address",
    0x82: "DNS name",
    0xA3: "X.400 address",
    0xA4: "directory name",
    0xA5: "EDI party name",
    0x86: "URI",
    0x87: "IP address",
    0x88: "registered ID",
}
"""Names of kinds of names, by the tag of RFC 5280, section 4.2.1.6."""
_UNSUPPORTED: Final = (0xA3, 0xA5)
"""What `cryptography` cannot hold."""
_TEXTS: Final = (0x81, 0x82, 0x86)
_IP_SIZES: Final = (2 + 4, 2 + 16)

_VERSION: Final = b"\xa0"
"""Of a certificate: context-specific, constructed, 0 (RFC 5280, section 4.1)."""
_UTF8, _BMP, _UNIVERSAL, _BITS = 0x0C, 0x1E, 0x1C, 0x03
_PRINTABLE_TAG: Final = 0x13
_ASCII_TAGS: Final = frozenset({0x12, 0x16, 0x1A})
"""NumericString, IA5String, VisibleString."""
_EIGHT_BIT_TAGS: Final = frozenset({0x12, 0x13, 0x14, 0x15, 0x16, 0x19, 0x1A, 0x1B})
"""Strings of one byte a character; read as ISO 8859-1 where they hold more than ASCII, as Go and OpenSSL do."""
_PRINTABLE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?")

_CALLED: Final = {
    NameOID.COMMON_NAME.dotted_string: "the common name",
    NameOID.ORGANIZATION_NAME.dotted_string: "the organization",
    NameOID.ORGANIZATIONAL_UNIT_NAME.dotted_string: "the organizational unit",
    NameOID.COUNTRY_NAME.dotted_string: "the country",
    NameOID.LOCALITY_NAME.dotted_string: "the locality",
    NameOID.STATE_OR_PROVINCE_NAME.dotted_string: "the state or province",
    NameOID.EMAIL_ADDRESS.dotted_string: "the email address",
}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A CSR in two forms.

    Attributes:
        der: as DER, with the same key, subject and requested extensions.
        signed: the bytes of the CertificationRequestInfo as they were sent, which the signature is over.
    """

    der: bytes = field(repr=False)
    signed: bytes = field(repr=False)


def _octets(kind: int) -> Any:
    """The bytes of a string of a universal type, undecoded."""
    as_string = tag.Tag(tag.tagClassUniversal, tag.tagFormatSimple, kind)
    return univ.OctetString(tagSet=_tagged(univ.OctetString.tagSet, as_string))


def _tagged(tags: Any, implicit: tag.Tag) -> Any:
    """The tags of a type that has an implicit one."""
    return tags.tagImplicitly(implicit)


_REQUEST: Final = univ.Sequence(
    componentType=NamedTypes(
        NamedType("info", univ.Any()), NamedType("algorithm", univ.Any()), NamedType("signature", univ.BitString())
    )
)
_ATTRIBUTE: Final = univ.Sequence(
    componentType=NamedTypes(
        NamedType("type", univ.ObjectIdentifier()), NamedType("values", univ.SetOf(componentType=univ.Any()))
    )
)
_ATTRIBUTES: Final = univ.SetOf(
    componentType=_ATTRIBUTE,
    tagSet=_tagged(univ.SetOf.tagSet, tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, 0)),
)
_PARTS: Final = (NamedType("version", univ.Integer()), NamedType("subject", univ.Any()), NamedType("key", univ.Any()))
_INFO: Final = univ.Sequence(componentType=NamedTypes(*_PARTS, OptionalNamedType("attributes", _ATTRIBUTES)))
_DER_INFO: Final = univ.Sequence(componentType=NamedTypes(*_PARTS, NamedType("attributes", _ATTRIBUTES)))
_NAME: Final = univ.SequenceOf(
    componentType=univ.SetOf(
        componentType=univ.Sequence(
            componentType=NamedTypes(NamedType("type", univ.ObjectIdentifier()), NamedType("value", univ.Any()))
        )
    )
)
_EXTENSIONS: Final = univ.SequenceOf(
    componentType=univ.Sequence(
        componentType=NamedTypes(
            NamedType("id", univ.ObjectIdentifier()),
            DefaultedNamedType("critical", univ.Boolean(value=False)),
            NamedType("value", univ.OctetString()),
        )
    )
)
_CONSTRAINTS: Final = univ.Sequence(
    componentType=NamedTypes(
        DefaultedNamedType("ca", univ.Boolean(value=False)), OptionalNamedType("pathLength", univ.Integer())
    )
)
_ANYTHING: Final = univ.SequenceOf(componentType=univ.Any())


@lru_cache(maxsize=64)
def rewrite(der: bytes, refuse: Callable[[str], Exception]) -> Rewritten:
    """Decode a CSR leniently and encode it anew. Kept, since a request that waits is read again and again.

    Args:
        der: the CSR, in DER or something near it.
        refuse: makes the error to raise from a message.

    Raises:
        Exception: what `refuse` makes; a part of the CSR cannot be read.
    """
    if len(der) > MAX_SIZE:
        raise refuse(f"the CSR is not DER to the letter, and more than {MAX_SIZE} bytes of such a one are not read")
    return _Reader(refuse).rewrite(der)


def serial_number(der: bytes) -> int:
    """Of a certificate that `cryptography` refuses; 0 where none can be read."""
    try:
        with parsing(ValueError, "no certificate"):
            certificate, _ = decoder.decode(der, asn1Spec=_ANYTHING)
            parts, _ = decoder.decode(bytes(certificate[0]), asn1Spec=_ANYTHING)
            has_version = bytes(parts[0])[:1] == _VERSION
            number, _ = decoder.decode(bytes(parts[1 if has_version else 0]), asn1Spec=univ.Integer())
            return int(number)
    except ValueError:
        return 0


class _Reader:
    """Reads one CSR, part by part, so that a message can name the part."""

    def __init__(self, refuse: Callable[[str], Exception]) -> None:
        self._refuse = refuse

    def rewrite(self, der: bytes) -> Rewritten:
        problem = "is no certificate request of PKCS #10 (RFC 2986); make it with cert-manager or `openssl req -new`"
        request = self._decode(der, _REQUEST, problem)
        signed = bytes(request["info"])
        info = self._decode(signed, _INFO, problem)
        anew = _new(_DER_INFO)
        anew["version"] = 0
        anew["subject"] = self._subject(bytes(info["subject"]))
        anew["key"] = self._key(bytes(info["key"]))
        anew["attributes"] = self._attributes(info["attributes"])
        request["info"] = self._encode(anew)
        return Rewritten(self._encode(request), signed)

    def _subject(self, raw: bytes) -> bytes:
        name = self._decode(raw, _NAME, "the subject of the CSR is no distinguished name (RFC 5280, section 4.1.2.4)")
        for attributes in name:
            for attribute in attributes:
                attribute["value"] = self._text(str(attribute["type"]), bytes(attribute["value"]))
            if not 0 < len({self._encode(attribute) for attribute in attributes}) == len(attributes):
                raise self._refuse("the subject of the CSR: a part of it is empty, or says the same twice")
        return self._encode(name)

    def _key(self, raw: bytes) -> univ.Any:
        """The key as it is, if it is one of any kind."""
        with (
            parsing(self._refuse, "the CSR's key does not decode (SubjectPublicKeyInfo, RFC 5280, section 4.1.2.7)"),
            contextlib.suppress(UnsupportedAlgorithm),
        ):
            serialization.load_der_public_key(raw)
        return univ.Any(raw)

    def _text(self, oid: str, raw: bytes) -> bytes:
        """The value of an attribute of the subject, in a type that can hold it."""
        called = _CALLED.get(oid, f"the attribute {_shown(oid)}")
        unreadable = f"the subject of the CSR: {called} is no text that can be read; write it as a UTF8String"
        kind = raw[0]
        if kind == _BITS:
            return raw
        if kind not in {*_EIGHT_BIT_TAGS, _UTF8, _BMP, _UNIVERSAL}:
            raise self._refuse(unreadable)
        value = self._decode(raw, _octets(kind), unreadable).asOctets()
        with parsing(self._refuse, unreadable):
            if kind in _EIGHT_BIT_TAGS:
                fits = (
                    _PRINTABLE.issuperset(value) if kind == _PRINTABLE_TAG else kind in _ASCII_TAGS and value.isascii()
                )
                if fits:
                    return raw
                text = value.decode("latin-1")
            else:
                text = value.decode({_UTF8: "utf-8", _BMP: "utf-16-be", _UNIVERSAL: "utf-32-be"}[kind])
            return self._encode(char.UTF8String(text))

    def _attributes(self, attributes: Any) -> Any:
        """The attributes with extensions, and of these what is read of them, in one."""
        found = _new(_EXTENSIONS)
        seen: set[str] = set()
        for attribute in attributes if attributes.isValue else ():
            if str(attribute["type"]) != EXTENSION_REQUEST:
                continue
            problem = "the extensions that the CSR asks for cannot be read (RFC 2985, section 5.4.2)"
            for raw in attribute["values"][:1]:
                for extension in self._decode(bytes(raw), _EXTENSIONS, problem):
                    oid = str(extension["id"])
                    if oid in seen:
                        raise self._refuse(f"the CSR asks for the extension {_shown(oid)} twice; once is allowed")
                    seen.add(oid)
                    if oid in (_NAMES, _BASIC_CONSTRAINTS, _NAME_CONSTRAINTS):
                        extension["value"] = self._extension(oid, bytes(extension["value"]))
                        found.append(extension)
        anew = _new(_ATTRIBUTES)
        if len(found):
            requested = _new(_ATTRIBUTE)
            requested["type"] = EXTENSION_REQUEST
            requested["values"].append(univ.Any(self._encode(found)))
            anew.append(requested)
        else:
            anew.clear()
        return anew

    def _extension(self, oid: str, value: bytes) -> bytes:
        if oid == _NAMES:
            self._check_names(value)
        elif oid == _BASIC_CONSTRAINTS:
            decoded = self._decode(value, _CONSTRAINTS, "basicConstraints: is not of the form CA and path length")
            return self._encode(decoded)
        return value

    def _check_names(self, value: bytes) -> None:
        """Say which of the names is the one that `cryptography` is going to refuse."""
        unreadable = "subjectAltName: is no list of names (RFC 5280, section 4.2.1.6)"
        for raw in self._decode(value, _ANYTHING, unreadable):
            name = bytes(raw)
            kind = _KINDS.get(name[0])
            if kind is None:
                raise self._refuse(f"subjectAltName: a name of an unknown kind (tag {name[0]:#04x})")
            if name[0] in _UNSUPPORTED:
                raise self._refuse(f"subjectAltName: names of the kind {kind} are not supported")
            if name[0] in _TEXTS and not name[2:].isascii():
                advice = "; write it in punycode (xn--...)" if kind == "DNS name" else ""
                raise self._refuse(f"subjectAltName: a {kind} holds characters that are not ASCII{advice}")
            if kind == "IP address" and len(name) not in _IP_SIZES:
                raise self._refuse("subjectAltName: an IP address is neither 4 nor 16 bytes long")

    def _decode(self, raw: bytes, spec: Any, problem: str) -> Any:
        with parsing(self._refuse, problem):
            decoded, rest = decoder.decode(raw, asn1Spec=spec)
            if rest:
                raise ValueError("more bytes follow")
            return decoded

    def _encode(self, value: Any) -> bytes:
        with parsing(self._refuse, "the CSR cannot be encoded anew"):
            return bytes(encoder.encode(value))


def _new(schema: Any) -> Any:
    """An empty value of a type."""
    return schema.clone()


def _shown(oid: str) -> str:
    """An OID for a message; somebody else chose its length."""
    return oid if len(oid) <= MAX_SHOWN else f"{oid[:MAX_SHOWN]}..."
