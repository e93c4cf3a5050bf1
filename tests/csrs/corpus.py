"""Some two hundred CSRs as tools wrote them (`corpus.pem`): those of cert-manager's users, and the odd ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from issuer.pki import csr
from issuer.pki.csr import InvalidRequestError

_FILE: Final = Path(__file__).with_name("corpus.pem")
_ENTRY: Final = re.compile(
    rb"# ([^:\n]+): ([^\n]*)\n(-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\n.*?-----END [A-Z ]+-----\n)", re.DOTALL
)


@dataclass(frozen=True)
class Sample:
    """One CSR.

    Attributes:
        number: its place, from 0.
        tool: what wrote it.
        what: is special about it.
        pem: as it was written.
    """

    number: int
    tool: str
    what: str
    pem: bytes = field(repr=False)

    @property
    def is_ca(self) -> bool:
        """Whether it is for a CA; what cannot be read is not."""
        try:
            csr.parse_pem(self.pem)
        except InvalidRequestError as error:
            return "CA:TRUE" in error.message
        return False

    def __str__(self) -> str:
        return f"{self.number} {self.tool}: {self.what}"


@cache
def samples() -> tuple[Sample, ...]:
    """All of them, in the order of the file."""
    found = _ENTRY.findall(_FILE.read_bytes())
    return tuple(Sample(number, tool.decode(), what.decode(), pem) for number, (tool, what, pem) in enumerate(found))
