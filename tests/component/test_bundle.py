"""`cdn-issuer doctor --bundle`: what a bug report needs is in it, and no secret is, wherever one was put."""

from __future__ import annotations

import asyncio
import json
import tarfile
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from issuer.cli.main import main
from issuer.sandbox import objects
from tests.component.harness import BRISK, QUICK, admin
from tests.component.test_retry import failed

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

CANARY = "canary-3b5d5c3712955042"


async def call(stage: Stage, folder: Path, *arguments: str) -> Result:
    """The command, as an admin, in a thread of its own: the API server may be on this loop."""
    line = ["doctor", "-n", stage.namespace, *arguments, "--kubeconfig", admin(stage, folder)]
    return await asyncio.to_thread(CliRunner().invoke, main, line)


def unpacked(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as archive:
        content = {entry.name: archive.extractfile(entry) for entry in archive}
        return {
            name.removeprefix("cdn-issuer-bundle/"): json.loads(body.read()) for name, body in content.items() if body
        }


async def test_what_a_report_needs_is_in_it_and_no_secret_is(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK, approve=False, controlled=False) as stage:
        spread = {
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"stringData": {"token": CANARY}}),
            "example.com/password": CANARY,
            "cdn-issuer.io/note": f"Authorization: Bearer {CANARY}",
        }
        secret = objects.secret("cloudflare", stage.namespace, {"token": CANARY.encode()})
        secret["metadata"]["annotations"] = spread
        await stage.apply(secret)
        web = objects.issuer("web", [stage.edge(**QUICK), stage.backup()], namespace=stage.namespace)
        web["metadata"]["annotations"] = spread
        await stage.apply(web)
        await failed(stage, "www", "Unavailable")
        certificate = stage.cluster.get("certificates", stage.namespace, "www")
        certificate["metadata"]["annotations"] = spread
        certificate["spec"]["secretTemplate"] = {"annotations": {"password": CANARY}}
        certificate["spec"]["keystores"] = {"jks": {"create": True, "password": CANARY}}
        await stage.apply({key: certificate[key] for key in ("apiVersion", "kind", "metadata", "spec")})
        about = {"kind": "CDNIssuer", "namespace": stage.namespace, "name": "web"}
        event = {"apiVersion": "v1", "kind": "Event", "involvedObject": about, "reason": "Told", "type": "Warning"}
        meta = {"name": "web.1", "namespace": stage.namespace}
        await stage.apply({**event, "metadata": meta, "message": f"401 for Bearer {CANARY}"})
        file = tmp_path / "bundle.tar.gz"
        result = await call(stage, tmp_path, "--bundle", str(file))
        assert f"{file} is written: " in result.stderr
        found = unpacked(file)
        assert CANARY not in json.dumps(found)
        assert "PRIVATE KEY" not in json.dumps(found)
        assert "BEGIN CERTIFICATE REQUEST" not in json.dumps(found)
        assert {"namespace": stage.namespace, "name": "cloudflare", "exists": True, "keys": ["token"]} in found[
            "secrets.json"
        ]
        (www,) = found["certificates.json"]
        assert www["spec"]["dnsNames"] == ["www.example.com"]
        assert {one["type"] for one in www["status"]["conditions"]} == {"Issuing", "Ready"}
        assert found["certificaterequests.json"][0]["status"]["failureTime"]
        assert found["cdnissuers.json"][0]["spec"]["authorities"][0]["cloudflare"]["apiTokenSecretRef"]["name"]
        assert [one["reason"] for one in found["events.json"]] == ["Told"]
        assert found["versions.json"]["cdn-issuer"]
        assert file.stat().st_mode & 0o077 == 0, "it is nobody else's business"


async def test_a_bundle_that_cannot_be_written_is_told_in_one_line(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK, controlled=False) as stage:
        result = await call(stage, tmp_path, "--bundle", str(tmp_path / "absent" / "bundle.tar.gz"))
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error: Could not open file ")
