"""The build of the control plane, with a `go` that builds text files and writes down what it was asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.controlplane import build

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(build.__file__)
SLOW = 60.0
"""Seconds that anything here is waited for at most."""

SUMS = dict([*build.CERT_MANAGER_CRDS.items(), build.OPERATOR_CRDS])
"""Versions of modules with CRDs, and their checksums."""

FAKE_GO = """#!{python} -S
import json, pathlib, sys, time
base = pathlib.Path({base!r})
with (base / "calls").open("a") as calls:
    calls.write(json.dumps([pathlib.Path.cwd().name, *sys.argv[1:]]) + "\\n")
if sys.argv[1] == "version":
    print("go version go1.99 linux/fake")
elif sys.argv[1] == "build":
    module = pathlib.Path.cwd().name
    if (base / ("fails-" + module)).exists():
        sys.exit("one\\ntwo\\nthree\\nfour: undefined: x")
    target = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
    target.write_text("half of it")
    end = time.monotonic() + 60
    while (base / ("holds-" + module)).exists() and time.monotonic() < end:
        time.sleep(0.02)
    target.write_text("whole " + module)
    target.chmod(0o755)
elif sys.argv[1:3] == ["mod", "download"]:
    version = sys.argv[-1].rpartition("@v")[2]
    source = base / "source" / version
    for folder in ("deploy/crds", "example/prometheus-operator-crd"):
        (source / folder).mkdir(parents=True, exist_ok=True)
        (source / folder / "one.yaml").write_text("kind: X\\n{{{{ helm }}}}\\n")
    sums = json.loads((base / "sums").read_text())
    print(json.dumps({{"Dir": str(source), "Sum": sums[version]}}))
"""


class Workshop:
    """A folder with a fake Go, a cache, and what was asked of Go."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.cache = base / "cache"
        path = base / "bin"
        path.mkdir()
        for tool in ("nice",):
            if found := shutil.which(tool):
                (path / tool).symlink_to(found)
        self.environ = {"PATH": str(path), "CDN_ISSUER_CACHE": str(self.cache), "HOME": str(base)}
        self.write_sums(SUMS)

    def install_go(self) -> None:
        go = self.base / "bin" / "go"
        go.write_text(FAKE_GO.format(python=sys.executable, base=str(self.base)))
        go.chmod(0o755)

    def write_sums(self, sums: dict[str, str]) -> None:
        (self.base / "sums").write_text(json.dumps(sums))

    def hold(self, module: str) -> Path:
        """A module is being built for as long as this file is there."""
        held = self.base / f"holds-{module}"
        held.touch()
        return held

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self) -> tuple[int, list[str], list[str]]:
        """Exit code, and the lines of both outputs."""
        process = self.start()
        out, err = process.communicate(timeout=SLOW)
        return process.returncode, out.splitlines(), err.splitlines()

    def calls(self, word: str) -> list[list[str]]:
        """What was asked of Go with that word first; the folder it was asked in comes before it."""
        path = self.base / "calls"
        found: list[list[str]] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [one for one in found if one[1] == word]

    @property
    def built(self) -> list[str]:
        """Folders of the modules that were built, in order."""
        return [one[0] for one in self.calls("build")]

    def find(self, monkeypatch: pytest.MonkeyPatch) -> Path | None:
        """`find` as a test calls it, in this environment."""
        monkeypatch.setenv("PATH", self.environ["PATH"])
        return build.find(self.environ)

    def find_tool(self, name: str, monkeypatch: pytest.MonkeyPatch) -> Path | None:
        """`find_tool` as a test calls it, in this environment."""
        monkeypatch.setenv("PATH", self.environ["PATH"])
        return build.find_tool(name, self.environ)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.install_go()
    return made


def test_without_go_one_line_says_so(tmp_path: Path) -> None:
    code, out, err = Workshop(tmp_path).run()
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("control plane: Go is missing: install it")


def test_everything_is_built_and_the_last_line_names_the_folder(workshop: Workshop) -> None:
    code, out, err = workshop.run()
    assert (code, err) == (0, [])
    plane = folder(out)
    assert plane.parent == workshop.cache / "planes"
    assert workshop.built == list(build.EVERYTHING.values())
    for name, module in build.MODULES.items():
        assert (plane / name).read_text() == f"whole {module}"
        assert os.access(plane / name, os.X_OK)
    folders = [*build.CERT_MANAGER_CRDS, build.operator_crds(plane).name]
    assert sorted(path.name for path in (plane / "crds").iterdir()) == sorted(folders)
    assert (plane / "crds" / "1.21.2" / "one.yaml").read_text() == "kind: X\n", "without what is Helm's"


def test_a_second_call_builds_nothing(workshop: Workshop) -> None:
    _, first, _ = workshop.run()
    asked = len(workshop.calls("build")), len(workshop.calls("mod"))
    code, second, err = workshop.run()
    assert (code, second, err) == (0, [first[-1]], [])
    assert (len(workshop.calls("build")), len(workshop.calls("mod"))) == asked


def test_nothing_is_found_before_it_is_built_and_it_is_found_afterwards(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workshop.find(monkeypatch) is None
    _, out, _ = workshop.run()
    assert workshop.find(monkeypatch) == folder(out)
    (workshop.base / "bin" / "go").unlink()
    assert workshop.find(monkeypatch) is None, "without Go nobody knows which one is meant"


def test_helm_that_is_missing_is_built_beside_a_control_plane_that_is_there(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, _ = workshop.run()
    (helm,) = workshop.cache.glob("modules/helm4-*")
    assert workshop.find_tool("helm4", monkeypatch) == helm
    helm.unlink()
    assert workshop.find_tool("helm4", monkeypatch) is None
    code, second, err = workshop.run()
    assert (code, second[-1], err) == (0, first[-1], [])
    assert workshop.built == [*build.EVERYTHING.values(), "helm4"]
    assert workshop.calls("build")[-1][-1] == build.PACKAGES["helm4"]
    assert helm.read_text() == "whole helm4"


def test_another_go_builds_anew(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before, _ = workshop.run()
    go = workshop.base / "bin" / "go"
    go.write_text(go.read_text().replace("go1.99", "go2.0"))
    assert workshop.find(monkeypatch) is None
    _, after, _ = workshop.run()
    assert folder(after) != folder(before)
    assert len(workshop.built) == 2 * len(build.EVERYTHING)


def test_given_binaries_are_taken_and_not_built(workshop: Workshop) -> None:
    assets = workshop.base / "assets"
    assets.mkdir()
    for name in build.ASSETS:
        (assets / name).write_text("given")
        (assets / name).chmod(0o755)
    workshop.environ["KUBEBUILDER_ASSETS"] = str(assets)
    code, out, err = workshop.run()
    assert (code, err) == (0, [])
    for name in build.ASSETS:
        assert (folder(out) / name).resolve() == (assets / name).resolve()
    assert workshop.built == [module for name, module in build.EVERYTHING.items() if name not in build.ASSETS]


@pytest.mark.parametrize("lacking", build.ASSETS)
def test_a_folder_of_binaries_that_lacks_one_is_told_in_one_line(workshop: Workshop, lacking: str) -> None:
    assets = workshop.base / "assets"
    assets.mkdir()
    for name in build.ASSETS:
        (assets / name).write_text("given")
        (assets / name).chmod(0o644 if name == lacking else 0o755)
    workshop.environ["KUBEBUILDER_ASSETS"] = str(assets)
    code, out, err = workshop.run()
    assert (code, out, len(err)) == (1, [], 1)
    assert f"there is no {lacking} to run" in err[0]
    assert str(assets) in err[0]
    assert workshop.built == []


def test_a_build_that_fails_says_why_and_where_in_one_line(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    (workshop.base / "fails-apiserver").touch()
    code, _, err = workshop.run()
    assert (code, len(err)) == (1, 1)
    assert err[0].startswith("control plane: kube-apiserver does not build: two / three / four: undefined: x")
    log = workshop.cache / "kube-apiserver.log"
    assert str(log) in err[0]
    assert log.read_text().splitlines()[0] == "one"
    assert [path.name.rpartition("-")[0] for path in (workshop.cache / "modules").iterdir()] == ["etcd"]
    assert workshop.find(monkeypatch) is None


def test_a_build_that_has_failed_goes_on_where_it_was_once_it_can(workshop: Workshop) -> None:
    (workshop.base / "fails-apiserver").touch()
    workshop.run()
    (workshop.base / "fails-apiserver").unlink()
    code, out, _ = workshop.run()
    assert code == 0
    assert (folder(out) / "kube-apiserver").read_text() == "whole apiserver"
    assert workshop.built.count("etcd") == 1


@pytest.mark.parametrize("module", ["etcd", "certmanager"])
def test_a_build_that_was_killed_is_gone_on_with_and_nothing_half_built_is_used(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    held = workshop.hold(module)
    process = workshop.start()
    wait_for(lambda: any(path.read_text() == "half of it" for path in workshop.cache.glob("modules/*")))
    process.kill()  # and not Go, which writes on as an orphan
    process.communicate(timeout=SLOW)
    assert workshop.find(monkeypatch) is None
    held.unlink()
    code, out, err = workshop.run()
    assert (code, err) == (0, [])
    assert [(folder(out) / name).read_text() for name in build.MODULES] == [
        f"whole {one}" for one in build.MODULES.values()
    ]
    assert workshop.built.count(module) == 2
    assert len(workshop.built) == len(build.EVERYTHING) + 1, "what was whole is not built again"
    assert not list(workshop.cache.glob("planes/*.partial"))


def test_ctrl_c_is_told_in_one_line_and_ends_go(workshop: Workshop) -> None:
    workshop.hold("etcd")
    process = workshop.start()
    wait_for(lambda: bool(workshop.built))
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=SLOW)
    assert (process.returncode, err) == (130, "control plane: stopped; call it again to go on\n")


def test_crds_of_another_checksum_are_refused(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.write_sums({**SUMS, "1.13.6": "h1:other="})
    code, _, err = workshop.run()
    assert (code, len(err)) == (1, 1)
    assert "github.com/cert-manager/cert-manager@v1.13.6 has the checksum h1:other=" in err[0]
    assert not (workshop.cache / "crds" / "1.13.6").exists()
    assert workshop.find(monkeypatch) is None
    workshop.write_sums(SUMS)
    assert workshop.run()[0] == 0


def test_two_at_a_time_wait_for_one_another(workshop: Workshop) -> None:
    held = workshop.hold("etcd")
    first = workshop.start()
    wait_for(lambda: workshop.built == ["etcd"])
    second = workshop.start()
    assert second.stdout is not None
    assert second.stdout.readline() == "another build is under way, waiting for it\n"
    assert workshop.built == ["etcd"]
    held.unlink()
    (one, _), (other, trouble) = (process.communicate(timeout=SLOW) for process in (first, second))
    assert (first.returncode, second.returncode) == (0, 0), trouble
    assert folder(one.splitlines()) == folder(other.splitlines())
    assert workshop.built == list(build.EVERYTHING.values()), "each was built once"


def test_the_cache_is_where_it_was_wished_to_be_or_in_the_users_own() -> None:
    assert build.cache_folder({"CDN_ISSUER_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert build.cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/cdn-issuer")
    assert build.cache_folder({}) == Path.home() / ".cache" / "cdn-issuer"


def folder(lines: list[str]) -> Path:
    """The folder that the last line names."""
    prefix, _, path = lines[-1].partition(": ")
    assert prefix == "control plane"
    return Path(path)


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + SLOW
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
