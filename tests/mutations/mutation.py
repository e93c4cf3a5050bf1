"""One protection taken out: a text of the code, what takes its place, and who should notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutation:
    """What the code does no more.

    Attributes:
        name: says it in a sentence.
        file: path below the root.
        old: occurs in it exactly once.
        new: takes its place.
        tests: files, or ids of tests, below `tests`, that should fail then; as few and as quick as will do.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The tests as pytest wants them."""
        return tuple(f"tests/{test}" for test in self.tests)

    def applied(self, source: str) -> str:
        """The source without the protection.

        Raises:
            ValueError: the text is not in it exactly once.
        """
        if (found := source.count(self.old)) != 1:
            raise ValueError(f"{self.name}: the text is {found} times in {self.file}")
        return source.replace(self.old, self.new)
