"""Builds what the tests run beside us: Kubernetes' servers, cert-manager's, an ACME server, tools.

Each is a small Go module beside this file with a go.mod and go.sum of its own, so that the requirements of Kubernetes
and of cert-manager stay apart. What is built goes to a cache outside the repository:

    CACHE/modules/NAME-KEY      one binary; KEY is a hash of the module's files, of Go's version and of the platform
    CACHE/crds/VERSION/         cert-manager's CRDs, taken from the module of that version
    CACHE/crds/operator-VERSION/  those of Prometheus Operator
    CACHE/planes/KEY/           the folder that tests use: a hard link for each binary, and a link to the CRDs

Helm, actionlint and krew are no part of a plane, so that one can be had without the other.

A binary gets its name only once it is whole, and a plane only once all its parts are there; so whatever is found
under those names can be used, and a build that was stopped in the middle is simply gone on with. Two builds at a time
wait for one another. Standard library only: `make control-plane` runs this before there is a virtual environment.

Where `KUBEBUILDER_ASSETS` names a folder (as setup-envtest makes it), etcd and kube-apiserver are taken from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HERE: Final = Path(__file__).resolve().parent
MODULES: Final = {
    "etcd": "etcd",
    "kube-apiserver": "apiserver",
    "certmanager": "certmanager",
    "webhook": "webhook",
    "kube-controller-manager": "controllermanager",
    "pebble": "pebble",
    "issuerlib": "issuerlib",
    "certmanager19": "certmanager19",
}
"""Binary and the folder of its module; in this order each build leaves most for the next."""
TOOLS: Final = {"helm3": "helm3", "helm4": "helm4", "actionlint": "actionlint", "krew": "krew"}
"""Programs that tests of chart, workflows and plugin call, and the folders of their modules, which have no own code."""
EVERYTHING: Final = {**MODULES, **TOOLS}
PACKAGES: Final = {
    "pebble": "github.com/letsencrypt/pebble/v2/cmd/pebble",
    "helm3": "helm.sh/helm/v3/cmd/helm",
    "helm4": "helm.sh/helm/v4/cmd/helm",
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint",
    "krew": "sigs.k8s.io/krew/cmd/krew",
}
"""What is built of a module, where that is not the module's own code."""
FLAGS: Final = {
    "kube-apiserver": " -X k8s.io/component-base/version.gitVersion=v{0}"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor={1}"
}
"""Flags of the linker, with the version of Kubernetes: a chart refuses a server that does not know its own."""
CERT_MANAGER: Final = "github.com/cert-manager/cert-manager@v{}"
OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator@v{}"
CERT_MANAGER_CRDS: Final = {
    "1.9.1": "h1:bNIsQyfWdIMSEwxgO4sVUEyAn6xuSgNwdt9m92OBACc=",
    "1.13.6": "h1:yngKM4ZQoyFQ3LGHTx95fWqyiNJP11UM5PWq7pAr3T0=",
    "1.21.2": "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
}
"""Versions whose CRDs the tests install, with the checksum that go.sum would hold for the module."""
OPERATOR_CRDS: Final = ("0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=")
"""The version of Prometheus Operator whose CRDs are installed beside objects for it, and its module's checksum."""
ASSETS: Final = ("etcd", "kube-apiserver")
JOBS: Final = 2
BUILD_TIMEOUT: Final = 1800.0
"""Seconds that one module may take; kube-apiserver takes five minutes on two cores."""
HEARTBEAT: Final = 20.0
"""Seconds between two signs of life."""


class BuildError(Exception):
    """It cannot be built; the text says what to do."""


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where everything is kept: `CDN_ISSUER_CACHE`, else the user's cache folder (XDG base directories)."""
    if own := environ.get("CDN_ISSUER_CACHE"):
        return Path(own)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cdn-issuer"


def find(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder with the control plane if it is built, else None. Never builds; takes a few milliseconds.

    Raises:
        BuildError: `KUBEBUILDER_ASSETS` names a folder that lacks one of the binaries.
    """
    if shutil.which("go", path=environ.get("PATH")) is None:
        return None
    plane = _plane(_keys(_go_version()), environ)
    return plane if plane.is_dir() else None


def find_tool(name: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """One of `TOOLS` if it is built, else None. Never builds."""
    if shutil.which("go", path=environ.get("PATH")) is None:
        return None
    tool = _built(cache_folder(environ), name, _keys(_go_version())[name])
    return tool if tool.is_file() else None


def build(environ: Mapping[str, str] = os.environ) -> Path:
    """Build what is missing; returns the folder with the binaries of the control plane.

    Raises:
        BuildError: Go is missing, a module does not build, or an asset is not there.
    """
    if shutil.which("go", path=environ.get("PATH")) is None:
        raise BuildError("Go is missing: install it (https://go.dev/dl, or your system's package), 1.26 or newer")
    keys, cache = _keys(_go_version()), cache_folder(environ)
    plane = _plane(keys, environ)
    if plane.is_dir() and not _missing(cache, keys, TOOLS):
        return plane
    with _locked(cache):
        wanted = [*([] if plane.is_dir() else MODULES), *TOOLS]  # somebody else may have built it in the meantime
        missing = _missing(cache, keys, [name for name in wanted if name not in _assets(environ)])
        for number, name in enumerate(missing, 1):
            _say(f"building {name} ({number} of {len(missing)}; all twelve take about fifteen minutes the first time)")
            _build_module(cache, name, keys[name])
        if plane.is_dir():
            return plane
        for version, checksum in CERT_MANAGER_CRDS.items():
            _fetch_crds(cache / "crds" / version, CERT_MANAGER.format(version), "deploy/crds", checksum)
        version, checksum = OPERATOR_CRDS
        _fetch_crds(operator_crds(cache), OPERATOR.format(version), "example/prometheus-operator-crd", checksum)
        return _assemble(plane, cache, keys, environ)


def _missing(cache: Path, keys: Mapping[str, str], names: Iterable[str]) -> list[str]:
    return [name for name in names if not _built(cache, name, keys[name]).is_file()]


def _plane(keys: Mapping[str, str], environ: Mapping[str, str]) -> Path:
    parts = [f"{name}={keys[name]}" for name in MODULES] + [
        f"{n}={s}" for n, s in [*CERT_MANAGER_CRDS.items(), OPERATOR_CRDS]
    ]
    parts += [f"{name}={path}" for name, path in _assets(environ).items()]
    return cache_folder(environ) / "planes" / _digest("\n".join(parts).encode())


def _assets(environ: Mapping[str, str]) -> dict[str, Path]:
    """Binaries that are given; an empty dict where none are."""
    folder = environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        return {}
    found = {name: Path(folder).resolve() / name for name in ASSETS}
    for name, path in found.items():
        if not os.access(path, os.X_OK):
            raise BuildError(f"KUBEBUILDER_ASSETS is {folder}, where there is no {name} to run: correct it or unset it")
    return found


def _keys(go_version: str) -> dict[str, str]:
    """A hash for each module: what is built, with what, for what."""
    found: dict[str, str] = {}
    for name, folder in EVERYTHING.items():
        sources = sorted(path for path in (HERE / folder).iterdir() if path.suffix in (".go", ".mod", ".sum"))
        content = b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in sources)
        built_with = f"{go_version} {platform.system()} {platform.machine()}{_flags(name)}"
        found[name] = _digest(content + built_with.encode())
    return found


def _flags(name: str) -> str:
    """The flags of the linker that are a module's own."""
    if name not in FLAGS:
        return ""
    requirements = (HERE / EVERYTHING[name] / "go.mod").read_text()
    found = re.search(r"k8s\.io/kubernetes v([0-9]+\.([0-9]+)\.[0-9]+)", requirements)
    return FLAGS[name].format(*found.groups()) if found else ""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _go_version() -> str:
    try:
        printed = subprocess.run(["go", "version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"`go version` does not work ({error}): install Go anew") from None
    return printed.stdout.strip()


def _built(cache: Path, name: str, key: str) -> Path:
    return cache / "modules" / f"{name}-{key}"


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One build at a time; the lock goes with the process that holds it."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another build is under way, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_module(cache: Path, name: str, key: str) -> None:
    target = _built(cache, name, key)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f"{target.name}.*"):
        left.unlink()
    # A name of this build's own: a Go that has outlived the build before may still write to its own.
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    log = cache / f"{name}.log"
    command = ["go", "build", "-p", str(JOBS), "-ldflags", f"-s -w{_flags(name)}"]
    command += ["-o", str(partial), PACKAGES.get(name, ".")]
    if nice := shutil.which("nice"):
        command = [nice, *command]
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=HERE / EVERYTHING[name], stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(HEARTBEAT)
                    break
                if time.monotonic() - started > BUILD_TIMEOUT:
                    raise BuildError(f"{name} was not built within {BUILD_TIMEOUT:.0f} s: see {log}")
                _say(f"  {name}: {time.monotonic() - started:.0f} s")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        last = [line for line in log.read_text(errors="replace").splitlines() if line][-3:]
        raise BuildError(f"{name} does not build: {' / '.join(last) or 'go printed nothing'} (whole output: {log})")
    partial.replace(target)
    _say(f"  {name}: built in {time.monotonic() - started:.0f} s")


def operator_crds(plane: Path) -> Path:
    """Where a plane, or the cache, has the CRDs of Prometheus Operator."""
    return plane / "crds" / f"operator-{OPERATOR_CRDS[0]}"


def _fetch_crds(target: Path, module: str, folder: str, checksum: str) -> None:
    """Copy the CRDs out of a module, without the Helm templates that cert-manager's hold before 1.19."""
    if target.is_dir():
        return
    printed = subprocess.run(
        ["go", "mod", "download", "-json", module],
        cwd=HERE / "etcd",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = json.loads(printed.stdout or "{}")
    if printed.returncode != 0 or "Dir" not in found:
        raise BuildError(f"{module} cannot be downloaded: {found.get('Error') or printed.stderr.strip()}")
    if found["Sum"] != checksum:
        raise BuildError(f"{module} has the checksum {found['Sum']}, and not {checksum} as it had: do not use it")
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in sorted(Path(found["Dir"], folder).glob("*.yaml")):
        lines = [line for line in path.read_text().splitlines() if "{{" not in line]
        text = re.sub(r"(?m)^ +labels:\n(?!    )", "", "\n".join(lines) + "\n")
        (partial / path.name).write_text(text)
    partial.replace(target)


def _assemble(plane: Path, cache: Path, keys: Mapping[str, str], environ: Mapping[str, str]) -> Path:
    plane.parent.mkdir(parents=True, exist_ok=True)
    partial = plane.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    assets = _assets(environ)
    for name in MODULES:
        if name in assets:
            (partial / name).symlink_to(assets[name])
        else:
            (partial / name).hardlink_to(_built(cache, name, keys[name]))
    (partial / "crds").symlink_to(cache / "crds")
    partial.replace(plane)
    return plane


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Build, and print the folder in one line at the end."""
    try:
        plane = build()
    except BuildError as error:
        print(f"control plane: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("control plane: stopped; call it again to go on", file=sys.stderr)
        return 130
    print(f"control plane: {plane}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
