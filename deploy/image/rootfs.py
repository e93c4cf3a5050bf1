"""Gather what one Python environment needs to run, and nothing else, as the root of an image that has no base.

    python rootfs.py ROOT ENVIRONMENT

Everything keeps its path, so that nothing has to be told where it is:

- the environment, with the interpreter it links to;
- the standard library, but for what a server has no use for: pip, Tk, test suites, and the bindings of terminals and
  of databases, each of which brings a shared library that somebody must watch for vulnerabilities;
- the shared libraries that any of these load. `ldd` names them, since the dynamic linker knows best what it would
  load, but for libgcc, which glibc opens by name when a thread ends;
- the root certificates of the base, and OpenSSL's settings;
- one user, a resolver that looks into /etc/hosts first as Kubernetes writes it, and a /tmp;
- for each Debian package that gave a file, its licence, and its entry where scanners look in images that were made
  like this (/var/lib/dpkg/status.d), so that a vulnerable libssl is still found.

No shell, no package manager, no `ld.so.cache`: every library lies in a folder that the linker searches anyway. It
fails if a library is not found. Standard library only, for it runs before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UNUSED: Final = frozenset(
    {"curses", "dbm", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "sqlite3", "test", "tests"}
    | {"tkinter", "turtle.py", "turtledemo"}
)
"""Files and folders of the standard library that stay behind."""
UNUSED_EXTENSION: Final = re.compile(
    r"(_curses.*|_dbm|_gdbm|_ctypes_test|_sqlite3|_test.*|_tkinter|_xx.*|nis|ossaudiodev|readline|xx.*)\."
)
UNUSED_FOLDER: Final = re.compile(r"config-\d")
"""What a program needs that embeds Python."""
OPENED_BY_NAME: Final = "libgcc_s.so.1"
TRUST: Final = (Path("/usr/lib/ssl/certs"), Path("/usr/lib/ssl/openssl.cnf"))
FILES: Final = {
    "etc/passwd": "nonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin\n",
    "etc/group": "nonroot:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
STATUS: Final = "var/lib/dpkg/status.d"


class Root:
    """A folder that becomes `/`. Paths given to it are those of the running system, and absolute."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.brought: set[Path] = set()

    def bring(self, path: Path) -> None:
        """Copy a file, a link with what it points to, or a folder with all that is in it."""
        real = self.follow(path)
        if real in self.brought:
            return
        self.brought.add(real)
        if real.is_dir():
            self.at(real).mkdir(parents=True, exist_ok=True)
            for child in sorted(real.iterdir()):
                self.bring(child)
        else:
            self.at(real).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(real, self.at(real))

    def follow(self, path: Path) -> Path:
        """The path without links; each that is met on the way, as `/lib` or `libz.so.1`, is made here as well."""
        at = Path("/")
        parts = list(Path(os.path.normpath(path)).parts[1:])
        while parts:
            at /= parts.pop(0)
            if at.is_symlink():
                target = at.readlink()
                link = self.at(at)
                if not link.is_symlink():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(target)
                parts = [*Path(os.path.normpath(at.parent / target)).parts[1:], *parts]
                at = Path("/")
        return at

    def at(self, path: Path) -> Path:
        """Where that path of the running system is in here."""
        return self.folder / path.relative_to("/")


def standard_library() -> Iterator[Path]:
    """What of the standard library is kept, extension modules and bytecode included."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.iterdir()):
        if path.name in UNUSED or UNUSED_FOLDER.match(path.name):
            continue
        if path.name == "lib-dynload":
            yield from (module for module in sorted(path.iterdir()) if not UNUSED_EXTENSION.match(module.name))
        else:
            yield path


def libraries(binaries: Iterable[Path]) -> set[Path]:
    """The shared libraries that those programs, extension modules and libraries load, and the dynamic linker.

    Raises:
        SystemExit: One is not found.
    """
    found: set[Path] = set()
    for binary in binaries:
        # It exits with 1 for what is linked statically, and says so.
        told = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607
        if "not found" in told:
            sys.exit(f"{binary} cannot be loaded:\n{told}")
        found |= {Path(path) for path in re.findall(r"(?m)(?:=> |^\t)(/\S+) \(0x", told)}
    return found


def is_binary(path: Path) -> bool:
    """Whether it is an ELF file."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def packages(files: Iterable[Path]) -> set[str]:
    """The Debian packages that those files are of; a file that no package knows, as Python itself, is left out."""
    # dpkg knows some by the path from before /lib became a link to /usr/lib.
    names = {name for file in files for name in (str(file), str(file).removeprefix("/usr"))}
    told = subprocess.run(  # noqa: S603
        ["dpkg-query", "--search", *sorted(names)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return {package for line in told.splitlines() for package in line.partition(": ")[0].split(", ")}


def main(folder: Path, environment: Path) -> None:
    """Fill `folder`, which must not exist yet."""
    folder.mkdir(parents=True)
    root = Root(folder)
    for path in (environment, environment / "bin" / "python", *standard_library()):
        root.bring(path)
    python = set(root.brought)
    needed = libraries(path for path in sorted(python) if is_binary(path))
    needed |= {path.with_name(OPENED_BY_NAME) for path in needed if path.name.startswith("libc.so.")}
    for path in (*sorted(needed), *TRUST):
        root.bring(path)
    given = packages(root.brought - python) | {"ca-certificates"}
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "tmp").chmod(0o1777)
    describe(root, given)


def describe(root: Root, given: set[str]) -> None:
    """Write the entries of these packages, and bring their licences."""
    status = root.folder / STATUS
    status.mkdir(parents=True)
    for package in sorted(given):
        name = package.partition(":")[0]
        told = subprocess.run(["dpkg-query", "--status", package], capture_output=True, text=True, check=False)  # noqa: S603, S607
        if told.returncode == 0:
            (status / name).write_text(told.stdout)
        licence = Path("/usr/share/doc") / name / "copyright"
        if licence.exists():
            root.bring(licence)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).absolute())
