"""`kubectl cdn-issuer` as the real krew installs it, called by the real kubectl."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509

from issuer import __version__
from issuer.cli.main import COMMANDS
from issuer.sandbox import objects
from tests.controlplane.plane import ROOT
from tests.e2e.kubectl import BINARY
from tests.krew.conftest import BUILD_TIMEOUT, NOWHERE, Installed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + 120)


def kubeconfig(folder: Path, **user: Any) -> str:
    """Of a cluster where nobody answers."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": NOWHERE}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "shop"}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def from_source(*arguments: str) -> str:
    """What the same command prints here."""
    command = [sys.executable, "-m", "issuer", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def test_kubectl_runs_it_through_krews_link(installed: Installed) -> None:
    assert installed.link.is_symlink()
    assert installed.link.resolve().is_relative_to(installed.root / "store" / "cdn-issuer" / f"v{__version__}")
    done = installed.plugin("version")
    python = platform.python_version()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"cdn-issuer {__version__} (cdn-issuer.io/v1alpha1, Python {python})\n"


def test_each_command_is_in_it(installed: Installed) -> None:
    listed = installed.plugin("--help").stdout
    assert listed.startswith("Usage: kubectl cdn-issuer [OPTIONS] COMMAND")
    assert all(f"\n  {command} " in listed for command in COMMANDS)
    for command in COMMANDS:
        done = installed.run(installed.link, command, "--help")
        assert (done.returncode, done.stderr) == (0, ""), command


@pytest.mark.parametrize("arguments", [("crds",), ("manifests", "--image", "registry.example.com/cdn-issuer:1.0")])
def test_what_it_prints_to_apply_is_what_the_source_prints(installed: Installed, arguments: tuple[str, ...]) -> None:
    done = installed.plugin(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == from_source(*arguments)
    assert len(list(yaml.safe_load_all(done.stdout))) >= 2


@pytest.mark.parametrize("command", ["doctor", "status", "check"])
def test_a_cluster_that_does_not_answer_is_told_in_one_line(installed: Installed, command: str, tmp_path: Path) -> None:
    done = installed.plugin(command, "--kubeconfig", kubeconfig(tmp_path))
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert line.startswith("Error: the API server does not answer (GET /apis/")


def test_the_sandbox_plays_an_outage(installed: Installed) -> None:
    done = installed.plugin("demo", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["pending"], summary["duplicates"]) == (0, 0), summary
    assert len(summary["by_authority"]) == 2, "both authorities have signed"


def test_it_signs_without_a_cluster(installed: Installed, tmp_path: Path) -> None:
    issuer = objects.issuer("web", [{"name": "own", "ca": {"secretRef": {"name": "own-ca"}}}], namespace="shop")
    (tmp_path / "issuer.yaml").write_text(yaml.safe_dump_all([issuer, objects.ca_secret("own-ca", "shop")]))
    (tmp_path / "request.csr").write_bytes(objects.signing_request(["www.example.com"]))
    done = installed.plugin("sign", "--issuer-file", tmp_path / "issuer.yaml", tmp_path / "request.csr")
    assert done.returncode == 0, done.stderr
    leaf = x509.load_pem_x509_certificate(done.stdout.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["www.example.com"]
    assert done.stderr.startswith("signed by authority own")


@pytest.mark.parametrize("before", [None, "/opt/theirs"])
def test_a_credential_plugin_gets_the_library_path_of_the_user(
    installed: Installed, before: str | None, tmp_path: Path
) -> None:
    """That of the bundle would have aws, gcloud and the like load the bundle's libraries."""
    seen = tmp_path / "seen"
    script = tmp_path / "credential"
    version = "client.authentication.k8s.io/v1"
    credential = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": {"token": "x"}})
    script.write_text(f"#!/bin/sh\nprintf %s \"${{LD_LIBRARY_PATH-unset}}\" > {seen}\necho '{credential}'\n")
    script.chmod(0o755)
    exec_ = {"apiVersion": version, "command": str(script), "interactiveMode": "Never"}
    file = kubeconfig(tmp_path, exec=exec_)
    done = installed.plugin("status", "--kubeconfig", file, **({"LD_LIBRARY_PATH": before} if before else {}))
    assert "the API server does not answer" in done.stderr
    assert seen.read_text() == (before or "unset")


def test_kubectl_completes_it_once_it_is_linked_as_the_caveats_say(installed: Installed) -> None:
    assert BINARY is not None
    (manifest,) = (installed.root / "receipts").iterdir()
    command = yaml.safe_load(manifest.read_text())["spec"]["caveats"].splitlines()[-1].strip()
    assert command.startswith("ln -s ")
    assert installed.run("/bin/sh", "-c", command).returncode == 0
    try:
        done = installed.run(BINARY, "__complete", "cdn-issuer", "re")
    finally:
        (installed.root / "bin" / "kubectl_complete-cdn_issuer").unlink()
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} >= {"renew", "retry", "rehearse", ":4"}


def test_krew_refuses_an_archive_that_is_not_the_one_of_the_manifest(
    installed: Installed, dist: Path, archive: Path, tmp_path: Path
) -> None:
    other = tmp_path / archive.name
    other.write_bytes(archive.read_bytes()[:-1] + b"x")
    elsewhere = Installed(installed.krew, tmp_path / "root", tmp_path)
    done = elsewhere.install(dist / "cdn-issuer.yaml", other)
    assert done.returncode == 1
    assert "checksum does not match" in done.stderr
    assert not elsewhere.link.exists()


def test_the_archive_is_of_plain_files_with_fixed_owners_and_times_and_has_all_licences(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        entries = opened.getmembers()
    assert {(one.type, one.uid, one.gid, one.uname, one.mtime) for one in entries} == {
        (tarfile.REGTYPE, 0, 0, "", 315532800)
    }, "krew unpacks no links"
    names = [one.name for one in entries]
    assert names == sorted(names)
    assert {"LICENSE", "kubectl-cdn_issuer", "licenses/packages.txt", "licenses/python/LICENSE.txt"} <= set(names)
    assert {name.partition("/")[0] for name in names} == {"LICENSE", "licenses", "_internal", "kubectl-cdn_issuer"}
    assert not [name for name in names if "numpy" in name or "libreadline" in name], "no tool, and nothing of the GPL"
    # gzip's header would tell when it was made.
    assert archive.read_bytes()[4:8] == bytes(4)


def test_the_manifest_has_the_checksum_of_the_archive(dist: Path, archive: Path) -> None:
    made = yaml.safe_load((dist / "cdn-issuer.yaml").read_text())
    (only,) = made["spec"]["platforms"]
    assert only["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert only["uri"] == archive.as_uri()
