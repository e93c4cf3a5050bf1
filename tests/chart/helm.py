"""Helm, as `make control-plane` builds it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.controlplane import build
from tests.controlplane.fixtures import tool
from tests.controlplane.plane import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CHART: Final = ROOT / "deploy" / "chart"
KUBERNETES: Final = "1.34.0"
"""What a chart is rendered for; a Helm that is built from its module takes an ancient one by itself."""
TIMEOUT: Final = 60.0


class HelmError(Exception):
    """Helm refused; the text is what it said."""


class Helm:
    """One of the two Helms.

    Args:
        path: of the binary.
        home: a folder for its caches and settings, so that it reads nobody's own.
    """

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self.home = home
        self._environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(home)}

    @classmethod
    def built(cls, name: str, home: Path) -> Helm | None:
        """`helm3` or `helm4`, or None where it is not built."""
        found = build.find_tool(name)
        return None if found is None else cls(found, home)

    @classmethod
    def required(cls, name: str, home: Path) -> Helm:
        """`helm3` or `helm4`; the test that asks is skipped, or fails, where it is not built."""
        return cls(tool(name), home)

    def run(self, *arguments: str | Path) -> str:
        """What it prints.

        Raises:
            HelmError: it ended with an error.
        """
        done = subprocess.run(
            [self.path, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        if done.returncode != 0:
            raise HelmError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def on(self, kubeconfig: Path) -> Helm:
        """The same, for a cluster."""
        found = Helm(self.path, self.home)
        found._environment = {**self._environment, "KUBECONFIG": str(kubeconfig)}
        return found

    def template(
        self, *arguments: str | Path, release: str = "cdn-issuer", namespace: str = "cdn-issuer-system"
    ) -> str:
        """The chart, rendered."""
        place = ("--namespace", namespace, "--kube-version", KUBERNETES)
        return self.run("template", release, CHART, *place, *arguments)

    def objects(
        self, *arguments: str | Path, release: str = "cdn-issuer", namespace: str = "cdn-issuer-system"
    ) -> list[dict[str, Any]]:
        """The objects of the chart, rendered."""
        text = self.template(*arguments, release=release, namespace=namespace)
        return [one for one in yaml.safe_load_all(text) if one]
