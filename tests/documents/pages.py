"""The documents as data: their links, headings and blocks of code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from textwrap import dedent
from typing import TYPE_CHECKING, Final

from tests.controlplane.plane import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_LINK: Final = re.compile(r"\[[^]\n]*\]\((?P<target>[^)\s]+)\)")
_CODE: Final = re.compile(r"`[^`\n]+`(?!\])")
_HEADING: Final = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code.

    Attributes:
        page: the file it is in, from the root.
        line: where it begins.
        language: of the fence; empty if it has none.
        text: what is in it.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """All documents for people."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "deploy" / "chart" / "README.md"]
    return sorted(found)


def name(page: Path) -> str:
    """A page, from the root."""
    return page.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    """The blocks of all documents in one of these languages; without any, all blocks."""
    return [block for page in pages() for block in _blocks(page) if not languages or block.language in languages]


def commands(block: Block) -> list[str]:
    """The commands of a block for a shell: continued lines joined, comments and here-documents left out."""
    text = re.sub(r"\\\n\s*", "", block.text)
    text = re.sub(r"<<(\w+)\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in text.splitlines())
    parts = (part.strip() for line in lines for part in re.split(r" && | \| ", line))
    return [part for part in parts if part]


def links(page: Path) -> list[str]:
    """Where a page points to, blocks of code left out."""
    return [found["target"] for found in _LINK.finditer(_CODE.sub("", _prose(page)))]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _prose(page)


@cache
def anchors(page: Path) -> frozenset[str]:
    """The fragments under which a renderer like GitHub's has the headings of a page."""
    texts = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", found["text"]) for found in _HEADING.finditer(_prose(page)))
    return frozenset(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts)


@cache
def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCE.finditer(text):
        yield Block(name(page), text.count("\n", 0, found.start()) + 1, found["language"], dedent(found["text"]))
