"""Pebble, Let's Encrypt's ACME server for tests, as a process, and cert-manager's ACME issuer that talks to it.

cert-manager's own controllers make the account, orders and challenges. Two things are not as in the world: Pebble takes
each challenge for solved (`PEBBLE_VA_ALWAYS_VALID`), since nothing runs the pods that would solve it; and the solver
has `waitInsteadOfSelfCheck: 0s`, since cert-manager would look for the answer at the name itself.

It keeps accounts and keys in memory: frozen it forgets nothing, and killed all of it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Final

import httpx
from cryptography import x509

from tests.controlplane.process import Server, free_port
from tests.e2e.delegating import cert_manager_issuer
from tests.e2e.world import read_condition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.controlplane.plane import ControlPlane, Manifest
    from tests.e2e.world import World

START: Final = 30.0
ENVIRONMENT: Final = {"PEBBLE_VA_ALWAYS_VALID": "1", "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}


class Pebble:
    """One ACME server with a CA of its own; freeze and kill it by `server`.

    Args:
        plane: whose CA signs the certificate that it serves with.
        called: tells its files from those of another one.
        refuses: domains that it makes no orders for.
    """

    def __init__(self, plane: ControlPlane, called: str, *, refuses: Sequence[str] = ()) -> None:
        self._plane = plane
        self._port, self._management = free_port(), free_port()
        certificate, key = plane.folder / f"{called}.crt", plane.folder / f"{called}.key"
        issued = plane.ca.issue_cert("127.0.0.1")
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        settings = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "keyAlgorithm": "ecdsa",
            "domainBlocklist": list(refuses),
            "retryAfter": {"authz": 1, "order": 1},
        }
        config = plane.folder / f"{called}.json"
        config.write_text(json.dumps({"pebble": settings}))
        command: list[str | Path] = [plane.binaries / "pebble", f"-config={config}"]
        self.server = Server(command, plane.folder / f"{called}.log", environment=ENVIRONMENT)

    @property
    def directory(self) -> str:
        """Where an ACME client begins."""
        return f"https://127.0.0.1:{self._port}/dir"

    def start(self) -> None:
        """Start it, with another CA each time, and wait until it answers."""
        self.server.start()
        self.server.wait_until(self._answers, START)

    def intermediate(self) -> x509.Certificate:
        """What it signs with."""
        return x509.load_pem_x509_certificate(self._get(f"https://127.0.0.1:{self._management}/intermediates/0"))

    def root(self) -> x509.Certificate:
        """What its chains end in."""
        return x509.load_pem_x509_certificate(self._get(f"https://127.0.0.1:{self._management}/roots/0"))

    async def issuer(self, world: World, name: str, *, email: str = "") -> None:
        """An Issuer of cert-manager's; waits until it has an account here. With another address it makes a new one."""
        acme: Manifest = {
            "server": self.directory,
            "caBundle": b64encode(self._plane.ca.cert_pem.bytes()).decode(),
            "privateKeySecretRef": {"name": f"{name}-account"},
            "solvers": [{"http01": {"ingress": {}}, "waitInsteadOfSelfCheck": "0s"}],
        }
        if email:
            acme["email"] = email
        cert_manager_issuer(world, name, {"acme": acme})
        path = f"/apis/cert-manager.io/v1/namespaces/{world.namespace}/issuers/{name}"

        def has_account() -> bool:
            issuer = world.plane.ask("GET", path)
            account = issuer.get("status", {}).get("acme", {})
            registered = account.get("lastRegisteredEmail", "") == email and bool(account.get("uri"))
            return registered and read_condition(issuer, "Ready")[0] == "True"

        await world.until(has_account, f"{name} has an account")

    def _get(self, url: str) -> bytes:
        return httpx.get(url, verify=self._plane.ssl_context(), timeout=5).raise_for_status().content

    def _answers(self) -> bool:
        try:
            return bool(self._get(self.directory)) and bool(self.root())
        except httpx.HTTPError:
            return False
