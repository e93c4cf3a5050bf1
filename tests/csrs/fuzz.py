"""Any mutation of a real CSR is signed right, or refused in words: `make fuzz`, or a part of it in each test run.

Mutated bytes seldom get past the signature, so most mutations are signed anew: the CSR's key is replaced by one of
ours, something is changed, and the whole is signed by that key.
"""

from __future__ import annotations

import contextlib
import copy
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.pki import certificate, csr, lenient, pem, verify
from issuer.pki.csr import InvalidRequestError
from issuer.pki.issue import issue
from issuer.pki.keypair import KeyPair
from issuer.pki.usages import extensions
from tests.csrs.corpus import samples
from tests.unit.pki.pki_case import LIFE, NOW, key, make_ca, resigned, tlv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.pki.csr import SigningRequest

MOST_TEXT: Final = 400
"""Characters of a refusal."""
INTERNALS: Final = re.compile(r"ParseError|Traceback|pyasn1|asn1 value|location|kind:|object at 0x|<class|Error\(")
"""What only a parser says."""
SHARE_BLIND: Final = 0.2
"""Of the mutations that change any bytes, whatever they belong to."""
TAGS: Final = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x12, 0x13, 0x14, 0x16, 0x1B, 0x1C, 0x1E, 0x30, 0x31)
TAGS_OF_NAMES: Final = (0x80, 0x81, 0x82, 0x86, 0x87, 0x88, 0xA0, 0xA3, 0xA4, 0xA5)
TEXTS: Final = (
    b"",
    b"*",
    b"*.*.x",
    b"a.",
    b"\x00",
    b"\xff" * 4,
    "ü".encode(),
    b"x" * 300,
    b"a b",
    b"@",
    b"://",
    bytes(16),
)
SHARE_RAW: Final = 0.1
"""Of the mutations that are left with the signature they have."""

_ROOT: Final = make_ca("fuzz root")
_PAIR: Final = KeyPair((_ROOT.certificate,), _ROOT.signer)


class FuzzError(AssertionError):
    """A mutation that ended in another way than it should; the text holds the CSR."""


@dataclass
class Report:
    """What became of the mutations.

    Attributes:
        count: how many there were.
        signed: how many of them were signed.
        refused: how often which refusal was given, by its first words.
        seconds: that it took.
        slowest: seconds for the slowest one.
    """

    count: int = 0
    signed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: float = 0.0

    def __str__(self) -> str:
        kinds = "\n".join(f"  {number:>8}  {words}" for words, number in self.refused.most_common(15))
        return (
            f"{self.count} mutations in {self.seconds:.0f} s (slowest {self.slowest * 1000:.0f} ms): "
            f"{self.signed} signed, {self.count - self.signed} refused\n{kinds}"
        )


def run(count: int, seed: int) -> Report:
    """Try so many mutations.

    Raises:
        FuzzError: one of them was neither signed right nor refused in words.
    """
    chance, report, begun = random.Random(seed), Report(), time.perf_counter()
    bases = [(sample, *_with_our_key(sample.pem)) for sample in samples()]
    for number in range(count):
        sample, der, info = bases[number % len(bases)]
        changed = mutated(der, chance) if chance.random() < SHARE_RAW else resigned(mutated(info, chance))
        started = time.perf_counter()
        report.count += 1
        try:
            words = outcome(changed, is_ca=sample.is_ca)
        except Exception as error:
            raise FuzzError(f"{sample}, mutation {number} of seed {seed}: {error!r}\n{changed.hex()}") from error
        report.slowest = max(report.slowest, time.perf_counter() - started)
        if words is None:
            report.signed += 1
        else:
            report.refused[" ".join(words.split()[:6])] += 1
    report.seconds = time.perf_counter() - begun
    return report


def outcome(der: bytes, *, is_ca: bool) -> str | None:
    """None if it was signed right; else what the refusal says.

    Raises:
        AssertionError: the refusal is not for people.
    """
    try:
        asked = csr.parse_pem(pem.block("CERTIFICATE REQUEST", der), is_ca=is_ca)
        sign(asked)
    except InvalidRequestError as error:
        words = error.message
    else:
        return None
    assert len(words) <= MOST_TEXT, words
    assert not INTERNALS.search(words), words
    return words


def sign(asked: SigningRequest) -> None:
    """Sign it, and verify what was signed as an answer of an authority is verified."""
    usages = extensions((), asked.key_type, is_ca=asked.is_ca)
    leaf = issue(_PAIR, asked, usages, not_before=NOW, not_after=NOW + LIFE)
    verify.verify(certificate.to_pem([leaf]), b"", asked, roots=[_ROOT.certificate], at_least=LIFE, now=NOW)


def mutated(original: bytes, chance: random.Random) -> bytes:
    """Changed somewhere: mostly an element or two of its ASN.1, with lengths that still fit, else any bytes."""
    if chance.random() < SHARE_BLIND:
        return _blind(original, chance)
    tree = parse(original)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        _change(tree, chance)
    return tree.encode()


def _blind(original: bytes, chance: random.Random) -> bytes:
    changed = bytearray(original)
    for _ in range(chance.choice((1, 1, 2, 6))):
        at = chance.randrange(len(changed))
        match chance.randrange(4):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2 if len(changed) > 8:
                del changed[at : at + chance.randrange(1, 4)]
            case _:
                changed[at:at] = changed[at : at + chance.randrange(1, 40)]
    return bytes(changed[: chance.randrange(1, len(changed) + 1)] if chance.random() < 0.1 else changed)


@dataclass
class Node:
    """An element of ASN.1.

    Attributes:
        tag: its first byte.
        value: of one without parts.
        parts: of a constructed one, or of an OCTET STRING that holds ASN.1.
        has_parts: whether `parts` counts, and not `value`.
    """

    tag: int
    value: bytes = b""
    parts: list[Node] = field(default_factory=list)
    has_parts: bool = False

    def encode(self) -> bytes:
        """Its bytes, with lengths that fit."""
        return tlv(self.tag, b"".join(part.encode() for part in self.parts) if self.has_parts else self.value)

    def all(self) -> Iterator[Node]:
        """It and everything in it."""
        yield self
        for part in self.parts:
            yield from part.all()


def parse(der: bytes) -> Node:
    """The tree of one element.

    Raises:
        ValueError: it is none.
    """
    (node,) = _parsed(der)
    return node


def _parsed(der: bytes) -> list[Node]:
    nodes = []
    while der:
        if len(der) < 2 or der[0] & 0x1F == 0x1F:
            raise ValueError
        head = 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
        size = int.from_bytes(der[2:head], "big") if der[1] & 0x80 else der[1]
        tag, value, der = der[0], der[head : head + size], der[head + size :]
        if len(value) < size:
            raise ValueError
        nodes.append(_element(tag, value))
    return nodes


def _element(tag: int, value: bytes) -> Node:
    if tag & 0x20:
        return Node(tag, parts=_parsed(value), has_parts=True)
    if tag == 0x04:
        with contextlib.suppress(ValueError):
            return Node(tag, parts=_parsed(value), has_parts=True)
    return Node(tag, value)


def _change(tree: Node, chance: random.Random) -> None:
    """Change one element, or a list of them."""
    node = chance.choice(list(tree.all()))
    match chance.randrange(8):
        case 0:
            node.tag = chance.choice((*TAGS, *TAGS_OF_NAMES))
        case 1 if node.parts:
            node.parts.pop(chance.randrange(len(node.parts)))
        case 2 if node.parts:
            node.parts.append(copy.deepcopy(chance.choice(node.parts)))
        case 3 if node.parts:
            chance.shuffle(node.parts)
        case 4 if node.parts:
            node.parts.insert(0, copy.deepcopy(chance.choice([one for one in tree.all() if one is not node])))
        case _ if not node.has_parts:
            node.value = _text(node.value, chance)
        case _:
            _change(chance.choice(node.parts), chance) if node.parts else None


def _text(value: bytes, chance: random.Random) -> bytes:
    match chance.randrange(5):
        case 0 if value:
            return _blind(value, chance) if len(value) > 8 else bytes(chance.randrange(256) for _ in value)
        case 1:
            return value[: chance.randrange(len(value) + 1)]
        case 2:
            return value + bytes([chance.randrange(256)])
        case 3:
            return chance.choice(TEXTS)
        case _:
            return value * chance.choice((2, 2, 40))


def _with_our_key(text: bytes) -> tuple[bytes, bytes]:
    """The CSR in DER, and its info with a key of ours in place of its own."""
    (block,) = pem.blocks(text)
    rewritten = lenient.rewrite(block.der, ValueError)
    ours = key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return block.der, _replaced(rewritten.signed, ours)


def _replaced(info: bytes, public_key: bytes) -> bytes:
    """An info with another key."""
    tree = parse(info)
    tree.parts[2] = parse(public_key)
    return tree.encode()
