"""The edge where bytes that somebody else chose meet a parser.

`cryptography` answers nonsense with ValueError, TypeError, UnsupportedAlgorithm, DuplicateExtension (which is no
ValueError), and in odd cases with pyo3's PanicException, which is not even an Exception; and it does so late, when a
property such as `.extensions` is first read. One request with such bytes must end as a request with a clear message,
never as a crashed task, so every use of a parser goes through here, and no other module catches broadly.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def parsing(refuse: Callable[[str], Exception], problem: str) -> Iterator[None]:
    """Turn whatever a parser throws into the error of the room that asked.

    The parser's own words are dropped: they name places in its source, which no user can act on, and may quote a key.

    Args:
        refuse: makes the error to raise from a message.
        problem: what is wrong, and what to do, in words for a person.

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
        raise refuse(problem) from None
