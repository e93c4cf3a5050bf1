"""The edge where bytes that somebody else chose meet a parser.

`cryptography` answers nonsense with ValueError, TypeError, UnsupportedAlgorithm, DuplicateExtension (which is no
ValueError), and in odd cases with pyo3's PanicException, which is not even an Exception; and it does so late, when a
property such as `.extensions` is first read. One request with such bytes must end as a request with a clear message,
never as a crashed task, so every use of a parser goes through here, and no other module catches broadly.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_REASON: Final = 120
"""Characters of a parser's own words that are quoted."""


@contextmanager
def parsing(refuse: Callable[[str], Exception], problem: str, *, quote: bool = True) -> Iterator[None]:
    """Turn whatever a parser throws into the error of the room that asked.

    Args:
        refuse: makes the error to raise from a message.
        problem: what is wrong, in words for a person; the parser's own reason follows it.
        quote: whether the parser's reason may be shown. Not for private keys.

    Raises:
        MemoryError: passed on; it says nothing about the bytes.
    """
    try:
        yield
    except MemoryError:
        raise
    except BaseException as error:
        # PanicException cannot be imported; everything else that is no Exception (cancelling, exit) passes.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:MAX_REASON] if quote else ""
        raise refuse(f"{problem} ({reason})" if reason else problem) from None
