"""What the executable in the archive runs: `kubectl cdn-issuer`, or its completion if it is called by that name.

It comes from another machine than it runs on, so two things of its process are put right before anything else:

- The bootloader has put the bundle's folder into `LD_LIBRARY_PATH`. Programs that we start, such as a kubeconfig's
  credential plugin, would load the libraries of the bundle and not their own.
- The bundle's OpenSSL looks for root certificates where the machine that built it has them. Where nothing is there,
  an API server with a publicly trusted certificate could not be verified.
"""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from issuer.cli.main import complete, plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

COMPLETION: Final = "kubectl_complete-cdn_issuer"
LIBRARY_PATH: Final = "LD_LIBRARY_PATH"
ROOTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Debian, Fedora, RHEL, SUSE, Alpine and macOS keep theirs in one file (Go: `crypto/x509/root_linux.go`)."""


def restore_library_path(environ: MutableMapping[str, str]) -> None:
    """Give `LD_LIBRARY_PATH` back the value that it had before the bootloader changed it."""
    before = environ.pop(f"{LIBRARY_PATH}_ORIG", None)
    if before is None:
        environ.pop(LIBRARY_PATH, None)
    else:
        environ[LIBRARY_PATH] = before


def find_roots(environ: MutableMapping[str, str], compiled_in: Iterable[str], places: Iterable[str] = ROOTS) -> None:
    """Name this system's root certificates in `SSL_CERT_FILE`, unless OpenSSL finds some or the user has named them."""
    if "SSL_CERT_FILE" in environ or "SSL_CERT_DIR" in environ or any(Path(place).exists() for place in compiled_in):
        return
    found = next((place for place in places if Path(place).is_file()), None)
    if found is not None:
        environ["SSL_CERT_FILE"] = found


if __name__ == "__main__":
    restore_library_path(os.environ)
    paths = ssl.get_default_verify_paths()
    find_roots(os.environ, (paths.openssl_cafile, paths.openssl_capath))
    if Path(sys.argv[0]).name == COMPLETION:
        complete()
    else:
        plugin()
