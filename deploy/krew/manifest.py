"""The krew manifest: where the archive of each platform is, and its checksum.

    python -m deploy.krew.manifest FOLDER                    of the archive that was built here, for this machine alone
    python -m deploy.krew.manifest FOLDER --downloads URL    of a release; an archive that is missing is an error

It is written beside the archives, as `cdn-issuer.yaml`: krew's index wants the file to be called as the plugin.
What krew asks of a manifest: https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

from deploy.krew.platforms import BIN, PLATFORMS, PLUGIN, UnknownPlatformError, read_archive_name, this_machine
from issuer import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deploy.krew.platforms import Platform

FILE: Final = f"{PLUGIN}.yaml"
# https://semver.org, without build metadata: `+` means a blank in a query.
_SEMVER: Final = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
SHORT: Final = "Find and fix certificates that do not get issued"
"""krew cuts what is longer than about 50 characters in its table."""
DESCRIPTION: Final = """\
Looks at cert-manager's Certificates and at the issuers of cdn-issuer, an external issuer with failover between
certificate authorities: says in one sentence what is wrong (doctor), shows who signed what (status), has Certificates
issued again (renew, retry), signs a CSR without a cluster (sign), prints what installs the controller (manifests),
and plays an outage on this machine (demo).
"""
CAVEATS: Final = f"""\
krew links one executable. For kubectl's completion to know the plugin, link it once more:
  ln -s {BIN} "${{KREW_ROOT:-$HOME/.krew}}/bin/kubectl_complete-cdn_issuer"
"""


class _BlockDumper(yaml.SafeDumper):
    """Writes a text of several lines as one, for people read a manifest too."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_BlockDumper.add_representer(str, _BlockDumper.represent_str)


class ManifestError(Exception):
    """No manifest can be made of this; the text says in one line what to do."""


def manifest(
    version: str,
    downloads: str,
    archives: Mapping[str, str],
    *,
    platforms: Iterable[Platform] = PLATFORMS,
    homepage: str | None = None,
) -> dict[str, Any]:
    """The manifest as data.

    Args:
        version: of the plugin, without a `v`.
        downloads: the address below which the archives are.
        archives: the SHA-256 in hex of each archive, by its file name.
        platforms: those that must have an archive.
        homepage: where the documentation is; None leaves it out.

    Raises:
        ManifestError: the version is not semantic, an archive is missing or has no place in it, an address or a
            checksum is none.
    """
    if _SEMVER.fullmatch(version) is None:
        raise ManifestError(f"version {version!r} is not semantic (https://semver.org): krew takes 1.2.3 or 1.2.3-rc.1")
    for address in (downloads, homepage):
        if address is not None and not address.startswith(("https://", "file:///")):
            raise ManifestError(f"{address!r} is no address to download from: it begins with https://")
    wanted = {platform.archive(version): platform for platform in platforms}
    for name, checksum in archives.items():
        _check(name, checksum, version)
    missing = sorted(wanted.keys() - archives.keys())
    if missing:
        raise ManifestError(f"no archive {', '.join(missing)}: build it on such a machine with `make plugin`")
    told = {} if homepage is None else {"homepage": homepage}
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": PLUGIN},
        "spec": {
            "version": f"v{version}",
            **told,
            "shortDescription": SHORT,
            "description": DESCRIPTION,
            "caveats": CAVEATS,
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": platform.os, "arch": platform.arch}},
                    "uri": f"{downloads.rstrip('/')}/{name}",
                    "sha256": archives[name],
                    "bin": BIN,
                }
                for name, platform in wanted.items()
            ],
        },
    }


def _check(name: str, checksum: str, version: str) -> None:
    try:
        read = read_archive_name(name)
    except UnknownPlatformError as error:
        raise ManifestError(f"{name}: {error}") from None
    if read is None:
        raise ManifestError(f"{name} is no archive of the plugin: they are called {PLATFORMS[0].archive(version)}")
    if read[0] != version:
        raise ManifestError(f"{name} is of version {read[0]}, and not of {version}")
    if _SHA256.fullmatch(checksum) is None:
        raise ManifestError(f"{name}: {checksum!r} is no SHA-256 in hex")


def checksums(folder: Path, version: str) -> dict[str, str]:
    """The archives of a version in a folder, with their SHA-256 in hex."""
    found = sorted(folder.glob(f"{PLUGIN}_{version}_*.tar.gz"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--downloads", help="Where the archives of all platforms can be downloaded.")
@click.option("--homepage", help="Where the documentation is.")
def main(folder: Path, downloads: str | None, homepage: str | None) -> None:
    """Write the krew manifest of the archives in FOLDER into it."""
    try:
        platforms = PLATFORMS if downloads else (this_machine(),)
        # Without --archive krew would download, and it knows no file: addresses; it names this one as it gives up.
        where = downloads or folder.resolve().as_uri()
        made = manifest(__version__, where, checksums(folder, __version__), platforms=platforms, homepage=homepage)
    except (ManifestError, UnknownPlatformError) as error:
        raise click.ClickException(str(error)) from None
    (folder / FILE).write_text(yaml.dump(made, Dumper=_BlockDumper, sort_keys=False, width=120), encoding="utf-8")
    click.echo(folder / FILE)


if __name__ == "__main__":
    main()
