"""The commands that look at a cluster, where there is none: one line says why and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import click
import pytest
import yaml
from click.testing import CliRunner

from issuer import __version__
from issuer.cli.cluster import coloured, columns, resource_name
from issuer.cli.main import main
from issuer.cli.parameters import Days
from tests.controlplane.plane import ROOT
from tests.e2e.kubectl import BINARY, needs_kubectl

if TYPE_CHECKING:
    from pathlib import Path

LOOKING = ("doctor", "status", "check")


def kubeconfig(folder: Path, server: str = "http://127.0.0.1:1", namespace: str = "shop") -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": namespace}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return str(file)


@pytest.mark.parametrize("command", LOOKING)
def test_an_api_server_that_is_away_is_told_in_one_line(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [command, "--kubeconfig", kubeconfig(tmp_path)])
    (line,) = result.output.splitlines()
    assert result.exit_code == 1
    assert line.startswith("Error: the API server does not answer (GET /apis/")
    assert "/namespaces/shop/" in line, "the namespace of the context"
    assert line.endswith("see whether `kubectl version` gets an answer")


@pytest.mark.parametrize("command", LOOKING)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{{{", "the Kubernetes configuration is not usable: "),
        ("", "the Kubernetes configuration is not usable: "),
        ("kind: Config", "the kubeconfig "),
        (None, "no kubeconfig at "),
    ],
)
def test_a_kubeconfig_that_is_broken_is_told_in_one_line(
    command: str, content: str | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    result = CliRunner().invoke(main, [command, "--kubeconfig", str(file)])
    (line,) = result.output.splitlines()
    assert (result.exit_code, line.startswith(f"Error: {told}")) == (1, True), line


def test_a_context_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--kubeconfig", kubeconfig(tmp_path), "--context", "there"])
    assert (result.exit_code, result.output) == (1, "Error: the kubeconfig has no context there; it has here\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["doctor", "-n", "shop", "-A"], "--namespace and --all-namespaces exclude each other"),
        (["doctor", "certificate", "www", "-A"], "an object with a name is in one namespace"),
        (["doctor", "csr", "-n", "shop", "www", "more"], "unexpected extra argument (more)"),
        (["doctor", "all", "www", "-n", "shop"], "say what the name is of: certificate, "),
        (["doctor", "pod"], "'pod' is not one of 'all', 'certificate', "),
        (["status", "-o", "xml"], "'xml' is not one of 'table', "),
        (["check", "--fail-under", "soon"], "'soon' is no duration"),
        (["check", "-n", "Shop"], "is no name of a namespace"),
    ],
)
def test_wrong_usage_is_told_in_the_last_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [*arguments, "--kubeconfig", kubeconfig(tmp_path)])
    assert result.exit_code == 2
    assert told in result.output.splitlines()[-1]


def test_debug_shows_where_an_error_is_from(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", "--debug", "--kubeconfig", kubeconfig(tmp_path)])
    assert isinstance(result.exception, ExceptionGroup)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("14d", 14 * 86400), ("1d12h", 1.5 * 86400), ("36h", 36 * 3600), (" 2d ", 2 * 86400), ("90", 90)],
)
def test_days_are_taken_where_a_certificate_is_meant(text: str, seconds: float) -> None:
    assert Days().convert(text, None, None) == seconds


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert columns(("A", "LONG"), [("abc", ""), ("b", "x")]) == ["A     LONG", "abc   -", "b     x"]


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ("Certificate shop/www", "certificate.cert-manager.io/www"),
        ("CertificateSigningRequest www", "certificatesigningrequest.certificates.k8s.io/www"),
        ("CDNClusterIssuer web", "cdnclusterissuer.cdn-issuer.io/web"),
        ("Secret shop/cloudflare", "secret/cloudflare"),
        ("Cluster", "cluster"),
    ],
)
def test_a_name_is_one_that_kubectl_takes(about: str, name: str) -> None:
    assert resource_name(about) == name


def test_version_says_which_this_is() -> None:
    assert (
        CliRunner().invoke(main, ["version"]).output.startswith(f"cdn-issuer {__version__} (cdn-issuer.io/v1alpha1, ")
    )
    told = json.loads(CliRunner().invoke(main, ["version", "-o", "json"]).output)
    assert told["version"] == __version__


def test_the_plugin_of_kubectl_is_installed_beside_the_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-cdn_issuer"] == "issuer.cli.main:plugin"
    assert scripts["kubectl_complete-cdn_issuer"] == "issuer.cli.main:complete"


def script(folder: Path, name: str, function: str) -> None:
    """A script as pip makes one of an entry point."""
    file = folder / name
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from issuer.cli.main import {function}; {function}()"
    file.write_text(f"#!{sys.executable}\n{code}\n")
    file.chmod(0o755)


@needs_kubectl
@pytest.mark.parametrize(
    ("words", "offered", "directive"),
    [
        (["do"], ["doctor\tSay what is wrong, and what helps."], ":4"),
        (["doctor", "cert"], ["certificate", "certificaterequest", "certificatesigningrequest"], ":4"),
        (["doctor", "--out"], ["--output\tHow it is shown."], ":4"),
        (["doctor", "--output", "j"], ["json"], ":4"),
        (["sign", "--issuer-file", ""], [], ":0"),
    ],
)
def test_kubectl_completes_the_plugin(words: list[str], offered: list[str], directive: str, tmp_path: Path) -> None:
    assert BINARY is not None
    script(tmp_path, "kubectl-cdn_issuer", "plugin")
    script(tmp_path, "kubectl_complete-cdn_issuer", "complete")
    done = subprocess.run(
        [BINARY, "__complete", "cdn-issuer", *words],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines() == [*offered, directive], done.stderr


@pytest.mark.parametrize(("value", "is_coloured"), [(None, True), ("", True), ("1", False)])
def test_no_color_means_no_colours(value: str | None, *, is_coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    assert ("\x1b" in coloured("error", "text")) is is_coloured


def test_what_is_no_terminal_gets_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)

    @click.command()
    def show() -> None:
        click.echo(coloured("error", "text"))

    assert CliRunner().invoke(show).output == "text\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    program = "import sys; sys.argv[0] = 'cdn-issuer'; from issuer.cli.main import main; main(prog_name='cdn-issuer')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"_CDN_ISSUER_COMPLETE": f"{shell}_source", "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "_CDN_ISSUER_COMPLETE" in done.stdout, done.stderr
    assert "cdn-issuer" in done.stdout
