"""Fixtures of the control plane: one a session, with our CRDs, our roles and cert-manager's CRDs in it.

Where it is not built its tests are skipped, and the last lines of the run say so; with
`CDN_ISSUER_REQUIRE_CONTROL_PLANE` set, as in CI, they fail instead.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from tests.controlplane import build
from tests.controlplane.plane import ROOT, ControlPlane, documents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUIRED: Final = "CDN_ISSUER_REQUIRE_CONTROL_PLANE"
LOGS: Final = ROOT / ".test-logs"
"""Where the servers' logs go when a test has failed."""
STARTED: Final = pytest.StashKey[bool]()
NEWEST: Final = "1.21.2"
NAMESPACES: Final = ("cdn-issuer-system", "cert-manager")


def binaries() -> Path:
    """The folder of the control plane; the test that asks is skipped, or fails, where it is not built."""
    try:
        found = build.find()
    except build.BuildError as error:
        pytest.fail(str(error), pytrace=False)
    return found or _missing("the control plane")


def tool(name: str) -> Path:
    """One of `build.TOOLS`; the test that asks is skipped, or fails, where it is not built."""
    return build.find_tool(name) or _missing(name)


def _missing(what: str) -> NoReturn:
    message = f"{what} is not built: run `make control-plane`"
    if os.environ.get(REQUIRED):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@contextmanager
def started(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver for whoever asks, with nothing in them; their logs are kept if a test has failed."""
    with ControlPlane(binaries(), keep_logs_in=LOGS) as plane:
        request.config.stash[STARTED] = True
        yield plane
        plane.failed |= request.session.testsfailed > 0


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver, with the CRDs of both sides and the roles of `deploy/`."""
    with started(request) as plane:
        install(plane)
        yield plane


def install(plane: ControlPlane, cert_manager: str = NEWEST) -> None:
    """Install what a user installs: cert-manager's CRDs, ours, and `deploy/`, which grants us our rights."""
    crds = sorted((plane.binaries / "crds" / cert_manager).glob("*.yaml"))
    plane.apply_all(documents(*crds, *sorted((ROOT / "crds").glob("*.yaml"))))
    for name in NAMESPACES:
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    plane.apply({**account, "metadata": {"name": "cert-manager", "namespace": "cert-manager"}})
    plane.apply_all(documents(ROOT / "deploy" / "rbac.yaml"))


def summary(config: pytest.Config) -> str:
    """One line for the end of a test run: whether the tests on a real control plane ran."""
    try:
        found = build.find()
    except build.BuildError as error:
        return str(error)
    if found is None:
        return "not built, so the tests on a real API server were skipped; `make control-plane` builds it"
    if not config.stash.get(STARTED, False):
        return f"no test that was chosen needs a real API server ({found})"
    return f"the tests on a real API server ran ({found})"
