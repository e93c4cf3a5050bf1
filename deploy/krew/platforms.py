"""The machines that the plugin is built for, in the words of Go and of krew, and the names of their archives."""

from __future__ import annotations

import platform
import re
import sys
from typing import Final, NamedTuple

PLUGIN: Final = "cdn-issuer"
"""The name of the plugin in krew."""
BIN: Final = "kubectl-cdn_issuer"
"""The executable in the archive; krew links it under the same name, with `_` where kubectl's user types `-`."""
_SYSTEMS: Final = {"linux": "linux", "darwin": "darwin"}
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_ARCHIVE: Final = re.compile(rf"{PLUGIN}_(?P<version>[^_]+)_(?P<os>[^_]+)_(?P<arch>[^_.]+)\.tar\.gz")


class UnknownPlatformError(Exception):
    """No archive is made for such a machine; the text says which ones there are."""


class Platform(NamedTuple):
    """A machine as krew selects it: `GOOS` and `GOARCH`."""

    os: str
    arch: str

    def __str__(self) -> str:
        return f"{self.os}/{self.arch}"

    def archive(self, version: str) -> str:
        """The file name of its archive."""
        return f"{PLUGIN}_{version}_{self.os}_{self.arch}.tar.gz"


PLATFORMS: Final = (
    Platform("linux", "amd64"),
    Platform("linux", "arm64"),
    Platform("darwin", "amd64"),
    Platform("darwin", "arm64"),
)
"""All that a release has; the jobs of .github/workflows/release.yaml build them."""


def known(os: str, arch: str) -> Platform:
    """One of `PLATFORMS`.

    Raises:
        UnknownPlatformError: it is none of them.
    """
    found = Platform(os, arch)
    if found not in PLATFORMS:
        raise UnknownPlatformError(f"{found} is none of {', '.join(map(str, PLATFORMS))}")
    return found


def this_machine(system: str = sys.platform, machine: str | None = None) -> Platform:
    """The one that this interpreter runs on, whose archive alone it can build.

    Raises:
        UnknownPlatformError: it is none of `PLATFORMS`.
    """
    machine = platform.machine() if machine is None else machine
    return known(_SYSTEMS.get(system, system), _MACHINES.get(machine.lower(), machine))


def read_archive_name(name: str) -> tuple[str, Platform] | None:
    """The version and the platform that a file name tells; None if it is no archive of the plugin.

    Raises:
        UnknownPlatformError: it is one, of a platform that no archive is made for.
    """
    found = _ARCHIVE.fullmatch(name)
    return (found["version"], known(found["os"], found["arch"])) if found else None
