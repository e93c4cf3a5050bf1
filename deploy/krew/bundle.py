"""Builds the archive of `kubectl cdn-issuer` for this machine: an interpreter, our code, and all that it imports.

    python -m deploy.krew.bundle FOLDER

krew unpacks an archive and links one executable out of it; it runs no installer and knows no Python. So PyInstaller
makes a folder that needs neither: an executable, and `_internal` beside it, which it finds through krew's link. A
single file would unpack itself to a temporary folder at each call: `version` takes 0.6 s that way, and 0.08 s this way.

krew's reader of archives knows files and folders and no links, and refuses a name with two dots in a row. So a link
is written as the file that it leads to. Names are sorted, times and owners fixed: two builds of the same sources by
the same interpreter on the same path give the same archive.
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from deploy.krew import contents
from deploy.krew.platforms import BIN, UnknownPlatformError, this_machine
from issuer import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENTRY: Final = Path(__file__).with_name("plugin.py")
TIMEOUT: Final = 600.0
"""Seconds that PyInstaller may take; it takes half a minute on two cores."""
EPOCH: Final = 315532800
"""1980-01-01, in seconds: the time of all files, unless SOURCE_DATE_EPOCH says another."""
GZIP: Final = 6
"""Level 9 takes three times as long for a hundredth less."""


class BundleError(Exception):
    """It cannot be built; the text says why."""


def options(excluded: Iterable[str]) -> list[str]:
    """What PyInstaller is told besides its folders."""
    told = ["--noconfirm", "--onedir", "--console", "--log-level", "WARN", "--name", BIN, "--paths", str(contents.ROOT)]
    # Subcommands are imported by name when they are called, so no import leads to them.
    told += ["--collect-submodules", "issuer", "--collect-data", "issuer"]
    return told + [word for module in excluded for word in ("--exclude-module", module)]


def freeze(folder: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Have PyInstaller make the folder with the executable; returns it.

    Args:
        folder: where it and what is left over go.
        environ: the environment of the build.

    Raises:
        BundleError: PyInstaller is not installed, or fails.
    """
    told = options(contents.excluded(contents.at_run_time()))
    places = ["--distpath", str(folder / "frozen"), "--workpath", str(folder / "work"), "--specpath", str(folder)]
    done = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-m", "PyInstaller", *told, *places, str(ENTRY)],
        # Another checkout may be installed in this environment; and hashes would differ from build to build.
        env={
            **environ,
            "PYTHONPATH": str(contents.ROOT),
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(_time(environ)),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise BundleError(f"PyInstaller: {(done.stderr.strip() or 'failed without a word').splitlines()[-1]}")
    return folder / "frozen" / BIN


def pack(frozen: Path, others: Iterable[tuple[str, bytes]], environ: Mapping[str, str] = os.environ) -> bytes:
    """The archive of a folder and of other files, as krew reads it.

    Args:
        frozen: the folder; it is the root of the archive.
        others: names and contents of what is added.
        environ: where SOURCE_DATE_EPOCH is looked for.
    """
    files = {name: (0o644, data) for name, data in others}
    for directory, _, names in os.walk(frozen, followlinks=True):
        for path in (Path(directory, name) for name in names):
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            files[path.relative_to(frozen).as_posix()] = (mode, path.read_bytes())
    packed = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", GZIP, packed, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(files):
            mode, data = files[name]
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size, entry.mtime = mode, len(data), _time(environ)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def build(folder: Path) -> Path:
    """Build the archive into a folder; returns it.

    Raises:
        BundleError: it cannot be built.
        UnknownPlatformError: none is made for this machine.
    """
    target = folder / this_machine().archive(__version__)
    folder.mkdir(parents=True, exist_ok=True)
    # The executable begins with PyInstaller's bootloader, whose licence has an exception for such programs.
    packages = [*contents.at_run_time(), metadata.distribution("pyinstaller")]
    licences = [("LICENSE", (contents.ROOT / "LICENSE").read_bytes()), *contents.licences(packages)]
    with tempfile.TemporaryDirectory() as work:
        target.write_bytes(pack(freeze(Path(work)), licences))
    return target


def _time(environ: Mapping[str, str]) -> int:
    return int(environ.get("SOURCE_DATE_EPOCH", EPOCH))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Build the archive for this machine into FOLDER."""
    try:
        built = build(folder)
    except (BundleError, UnknownPlatformError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{built}: {built.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
