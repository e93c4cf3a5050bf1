"""What goes into the archive, how it is packed, and what its executable sets right before it runs."""

from __future__ import annotations

import io
import subprocess
import tarfile
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from deploy.krew import bundle, contents
from deploy.krew.plugin import find_roots, restore_library_path

if TYPE_CHECKING:
    from pathlib import Path


def test_packages_are_followed_to_what_they_ask_for() -> None:
    names = {one.name.lower() for one in contents.at_run_time()}
    assert {
        "uvloop",
        "cryptography",
        "cffi",
        "msgspec",
        "jsonschema_rs",
        "common-expression-language",
        "certifi",
    } <= names
    assert not names & {"pytest", "mypy", "ruff", "numpy", "pyinstaller", "cdn-issuer"}


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(metadata.PackageNotFoundError, match="no-such-package"):
        contents.required(["no-such-package>=1"])


def test_modules_of_other_packages_are_excluded_and_no_other() -> None:
    found = set(contents.excluded(contents.at_run_time()))
    assert {"pytest", "mypy", "readline"} <= found
    assert not found & {"issuer", "cel", "uvloop", "cryptography", "_cffi_backend", "yaml", "dateutil", "ssl"}


def test_each_package_says_its_licence() -> None:
    packages = contents.at_run_time()
    texts = dict(contents.licences(packages))
    listed = texts["licenses/packages.txt"].decode().splitlines()
    assert [line.partition(" ")[0] for line in listed] == [one.name for one in packages]
    assert any(name.startswith("licenses/cryptography-") for name in texts)


def test_links_are_packed_as_the_files_that_they_lead_to_and_twice_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "library.so").write_bytes(b"code")
    (tmp_path / "program").write_bytes(b"#!")
    (tmp_path / "program").chmod(0o700)
    (tmp_path / "library.so").symlink_to("real/library.so")
    (tmp_path / "folder").symlink_to("real")
    packed = bundle.pack(tmp_path, [("LICENSE", b"text")], {})
    assert packed == bundle.pack(tmp_path, [("LICENSE", b"text")], {})
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert [(one.name, one.mode, one.isreg()) for one in archive] == [
            ("LICENSE", 0o644, True),
            ("folder/library.so", 0o644, True),
            ("library.so", 0o644, True),
            ("program", 0o755, True),
            ("real/library.so", 0o644, True),
        ]
        assert {one.mtime for one in archive.getmembers()} == {bundle.EPOCH}
    assert packed != bundle.pack(tmp_path, [("LICENSE", b"text")], {"SOURCE_DATE_EPOCH": "1700000000"})


def test_what_pyinstaller_complains_of_last_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "one\ntwo\nERROR: three\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(bundle.BundleError, match=r"^PyInstaller: ERROR: three$"):
        bundle.freeze(tmp_path, {})


@pytest.mark.parametrize(
    ("environ", "then"),
    [
        ({"LD_LIBRARY_PATH": "/bundle"}, {}),
        ({"LD_LIBRARY_PATH": "/bundle:/own", "LD_LIBRARY_PATH_ORIG": "/own"}, {"LD_LIBRARY_PATH": "/own"}),
        ({}, {}),
    ],
)
def test_the_library_path_is_again_what_it_was(environ: dict[str, str], then: dict[str, str]) -> None:
    restore_library_path(environ)
    assert environ == then


def test_roots_of_the_system_are_named_where_openssl_finds_none(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    roots.touch()
    nowhere = str(tmp_path / "nowhere")
    environ: dict[str, str] = {}
    find_roots(environ, [nowhere], [nowhere, str(roots)])
    assert environ == {"SSL_CERT_FILE": str(roots)}


def test_roots_that_openssl_finds_or_the_user_names_are_left_alone(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    roots.touch()
    environ: dict[str, str] = {}
    find_roots(environ, [str(roots)], [str(roots)])
    assert environ == {}
    find_roots(environ, [], [str(tmp_path / "nowhere")])
    assert environ == {}
    named = {"SSL_CERT_DIR": "/own"}
    find_roots(named, [], [str(roots)])
    assert named == {"SSL_CERT_DIR": "/own"}
