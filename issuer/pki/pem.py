"""PEM blocks (RFC 7468) cut out of a text, in linear time.

`cryptography` reads the first CSR of a text and is silent about a second one, and it does not tell a private key that
was pasted by mistake from noise. So the blocks are cut out here, with their labels, and only DER goes to the parser.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

_BEGIN: Final = re.compile(rb"-----BEGIN ([A-Z0-9 .#-]{1,64}?)-----")
_WHITE: Final = b" \t\r\n\v\f"


class InvalidPemError(ValueError):
    """A block begins and does not end, or holds no base64."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block: what it says it is, and the DER in it."""

    label: str
    der: bytes


def blocks(text: bytes) -> tuple[Block, ...]:
    """All blocks of a text, in order; what stands around them is passed over.

    Raises:
        InvalidPemError: a block is broken.
    """
    found, at = [], 0
    while begin := _BEGIN.search(text, at):
        end_line = b"-----END " + begin[1] + b"-----"
        end = text.find(b"-----END ", begin.end())
        if end < 0 or not text.startswith(end_line, end):
            raise InvalidPemError("a PEM block begins and does not end")
        found.append(Block(begin[1].decode("ascii"), from_base64(text[begin.end() : end])))
        at = end + len(end_line)
    return tuple(found)


def block(label: str, der: bytes) -> bytes:
    """One bare block, in lines of 64 characters."""
    text = base64.b64encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""])


def from_base64(text: bytes) -> bytes:
    """Standard base64 with its padding, white space allowed anywhere.

    Raises:
        InvalidPemError: it is something else.
    """
    try:
        return base64.b64decode(text.translate(None, _WHITE), validate=True)
    except binascii.Error as error:
        raise InvalidPemError("not base64") from error
