"""The krew manifest as a function, and the command that writes it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from deploy.krew.manifest import ManifestError, main, manifest
from deploy.krew.platforms import PLATFORMS, Platform, UnknownPlatformError, known, read_archive_name, this_machine
from issuer import __version__
from tests.controlplane.plane import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOWNLOADS = "https://example.com/releases/download/v1.2.3"
SUM = "0123456789abcdef" * 4
ARCHIVES = {platform.archive("1.2.3"): SUM for platform in PLATFORMS}


def test_each_platform_has_its_archive_and_its_checksum() -> None:
    sums = {name: f"{number:064x}" for number, name in enumerate(ARCHIVES)}
    made = manifest("1.2.3", DOWNLOADS, sums, homepage="https://example.com")
    assert (made["apiVersion"], made["kind"]) == ("krew.googlecontainertools.github.com/v1alpha2", "Plugin")
    assert made["metadata"] == {"name": "cdn-issuer"}
    spec = made["spec"]
    assert (spec["version"], spec["homepage"]) == ("v1.2.3", "https://example.com")
    assert "\n" not in spec["shortDescription"], "krew refuses it"
    assert len(spec["shortDescription"]) <= 50, "krew cuts it"
    assert spec["platforms"] == [
        {
            "selector": {"matchLabels": {"os": system, "arch": arch}},
            "uri": f"{DOWNLOADS}/cdn-issuer_1.2.3_{system}_{arch}.tar.gz",
            "sha256": f"{number:064x}",
            "bin": "kubectl-cdn_issuer",
        }
        for number, (system, arch) in enumerate(
            [("linux", "amd64"), ("linux", "arm64"), ("darwin", "amd64"), ("darwin", "arm64")]
        )
    ]


def test_a_manifest_for_one_machine_asks_for_no_other_archive() -> None:
    mac = Platform("darwin", "arm64")
    made = manifest("1.2.3", DOWNLOADS, {mac.archive("1.2.3"): SUM}, platforms=[mac])
    assert [one["selector"]["matchLabels"]["os"] for one in made["spec"]["platforms"]] == ["darwin"]
    assert "homepage" not in made["spec"]


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.2.3rc1", "01.2.3", "1.2.3+build", "", "1.2.3\n"])
def test_a_version_that_is_not_semantic_is_refused(version: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(f"version {version!r} is not semantic")):
        manifest(version, DOWNLOADS, {platform.archive(version): SUM for platform in PLATFORMS})


def test_a_prerelease_is_semantic() -> None:
    archives = {platform.archive("1.2.3-rc.1"): SUM for platform in PLATFORMS}
    assert manifest("1.2.3-rc.1", DOWNLOADS, archives)["spec"]["version"] == "v1.2.3-rc.1"


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ({"cdn-issuer_1.2.3_plan9_amd64.tar.gz": SUM}, "plan9/amd64 is none of linux/amd64, linux/arm64, darwin/amd64"),
        ({"cdn-issuer_1.2.4_linux_amd64.tar.gz": SUM}, "is of version 1.2.4, and not of 1.2.3"),
        ({"notes.txt": SUM}, "notes.txt is no archive of the plugin: they are called cdn-issuer_1.2.3_linux_amd64"),
        ({"cdn-issuer_1.2.3_linux_amd64.tar.gz": "ABC"}, "'ABC' is no SHA-256 in hex"),
    ],
)
def test_an_archive_that_has_no_place_in_it_is_refused(added: dict[str, str], told: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(told)):
        manifest("1.2.3", DOWNLOADS, {**ARCHIVES, **added})


def test_archives_that_are_missing_are_named() -> None:
    few = {name: SUM for name in ARCHIVES if "arm64" not in name}
    told = "no archive cdn-issuer_1.2.3_darwin_arm64.tar.gz, cdn-issuer_1.2.3_linux_arm64.tar.gz: build it on such a"
    with pytest.raises(ManifestError, match=re.escape(told)):
        manifest("1.2.3", DOWNLOADS, few)


@pytest.mark.parametrize("address", ["", "http://example.com", "example.com", "ftp://example.com"])
def test_an_address_that_is_not_safe_to_download_from_is_refused(address: str) -> None:
    with pytest.raises(ManifestError, match="is no address to download from"):
        manifest("1.2.3", address, ARCHIVES)
    with pytest.raises(ManifestError, match="is no address to download from"):
        manifest("1.2.3", DOWNLOADS, ARCHIVES, homepage=address)


@pytest.mark.parametrize(
    ("system", "machine", "found"),
    [
        ("linux", "x86_64", "linux/amd64"),
        ("linux", "aarch64", "linux/arm64"),
        ("darwin", "x86_64", "darwin/amd64"),
        ("darwin", "arm64", "darwin/arm64"),
    ],
)
def test_python_has_other_words_for_a_platform_than_krew(system: str, machine: str, found: str) -> None:
    assert str(this_machine(system, machine)) == found


@pytest.mark.parametrize(("system", "machine"), [("win32", "AMD64"), ("linux", "riscv64")])
def test_a_machine_that_nothing_is_made_for_is_told(system: str, machine: str) -> None:
    with pytest.raises(UnknownPlatformError, match="is none of linux/amd64, "):
        this_machine(system, machine)


def test_the_name_of_an_archive_tells_its_version_and_its_platform() -> None:
    for platform in PLATFORMS:
        assert read_archive_name(platform.archive("1.2.3-rc.1")) == ("1.2.3-rc.1", platform)
        assert known(*platform) == platform
    assert read_archive_name("cdn-issuer.yaml") is None


def test_a_release_gets_its_manifest_beside_the_archives(tmp_path: Path) -> None:
    for platform in PLATFORMS:
        (tmp_path / platform.archive(__version__)).write_bytes(str(platform).encode())
    result = CliRunner().invoke(main, [str(tmp_path), "--downloads", DOWNLOADS])
    assert (result.exit_code, result.output) == (0, f"{tmp_path / 'cdn-issuer.yaml'}\n")
    made = yaml.safe_load((tmp_path / "cdn-issuer.yaml").read_text())
    expected = [hashlib.sha256(str(platform).encode()).hexdigest() for platform in PLATFORMS]
    assert [one["sha256"] for one in made["spec"]["platforms"]] == expected


def test_a_release_without_an_archive_ends_in_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(tmp_path), "--downloads", DOWNLOADS])
    (line,) = result.output.splitlines()
    assert (result.exit_code, line.startswith("Error: no archive cdn-issuer_")) == (1, True)
    assert not (tmp_path / "cdn-issuer.yaml").exists()


def test_the_release_builds_each_platform() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())
    built = workflow["jobs"]["plugin"]["strategy"]["matrix"]["include"]
    assert [one["platform"] for one in built] == [str(platform) for platform in PLATFORMS]
    (base,) = re.findall(r"(?m)^FROM (python:\S+) AS build$", (ROOT / "Dockerfile").read_text())
    assert {one.get("container") for one in built} == {base, None}, "Linux is built on the base that Dependabot renews"
