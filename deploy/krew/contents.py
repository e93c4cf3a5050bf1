"""What goes into the archive beside our code: the packages that it runs with, and their licences.

PyInstaller follows imports, and a library may import whatever happens to be installed: with the tools of `make check`
around, numpy and pillow would come along. So what pyproject.toml does not ask for, directly or through others, is
excluded by name, and an archive is the same whatever else is installed.
"""

from __future__ import annotations

import re
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PROJECT: Final = "cdn-issuer"
UNUSED: Final = ("readline", "curses", "_gdbm", "sqlite3", "tkinter")
"""Of the standard library: what a command has no use for. readline and gdbm would bring libraries under the GPL."""
_LICENCE: Final = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)


def required(requirements: Iterable[str]) -> list[metadata.Distribution]:
    """The installed packages that these requirements ask for, and what those ask for in turn, by name.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        found.setdefault(name, metadata.distribution(name))
        new = {(name, extra) for extra in ("", *requirement.extras)} - seen
        seen |= new
        for text in found[name].requires or ():
            asked = Requirement(text)
            if any(asked.marker is None or asked.marker.evaluate({"extra": extra}) for _, extra in new):
                waiting.append(asked)
    return [found[name] for name in sorted(found)]


def at_run_time() -> list[metadata.Distribution]:
    """The packages that the program runs with."""
    return required(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"])


def excluded(wanted: Iterable[metadata.Distribution]) -> list[str]:
    """The modules that other packages have installed, and those of the standard library that stay behind."""
    names = {PROJECT, *(canonicalize_name(one.name) for one in wanted)}
    owners = metadata.packages_distributions()
    others = {module for module, by in owners.items() if names.isdisjoint(map(canonicalize_name, by))}
    # pip and setuptools leave names such as `__editable___x_finder` and `test-data`, which nobody can import.
    return sorted({module for module in others if module.isidentifier()} - {"issuer", "deploy"} | set(UNUSED))


def licences(wanted: Iterable[metadata.Distribution]) -> Iterator[tuple[str, bytes]]:
    """The texts, by their place in the archive, and a list of what each package says its licence is."""
    listed = []
    for one in wanted:
        listed.append(f"{one.name} {one.version}: {_said(one)}\n")
        for file in one.files or ():
            path = Path(str(file.locate()))
            if ".dist-info" in str(file) and _LICENCE.match(path.name) and path.is_file():
                yield f"licenses/{one.name}-{one.version}/{path.name}", path.read_bytes()
    python = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    if python.is_file():
        yield "licenses/python/LICENSE.txt", python.read_bytes()
    yield "licenses/packages.txt", "".join(listed).encode()


def _said(package: metadata.Distribution) -> str:
    headers = package.metadata
    said = next((headers[name] for name in ("License-Expression", "License") if name in headers), "")
    kinds = [one.rpartition(" :: ")[2] for one in headers.get_all("Classifier") or () if one.startswith("License ::")]
    # Some have the whole text in that header.
    return said if said and "\n" not in said else ", ".join(kinds) or "see its licence"
