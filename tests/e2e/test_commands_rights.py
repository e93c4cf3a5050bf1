"""The commands with the rights of somebody who has few, on a real control plane: what is missing is named."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

from tests.e2e.inspecting import call
from tests.e2e.test_doctor import may_read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World

REHEARSAL = {"dnsNames": ["rehearsal.example.com"]}


async def test_who_may_not_patch_an_issuer_is_told_so_in_one_line(world: World) -> None:
    await world.issuer(rehearsal=REHEARSAL)
    result = await call(world, "rehearse", "web", kubeconfig=may_read(world))
    (line,) = result.output.splitlines()
    assert result.exit_code == 1
    assert line.startswith(f"error: CDNIssuer {world.namespace}/web: a right is missing: ")
    assert 'cannot patch resource "cdnissuers"' in line


async def test_a_rehearsal_is_done_by_the_controller_with_the_rights_that_it_has(world: World) -> None:
    await world.issuer(backup=True, rehearsal=REHEARSAL)
    result = await call(world, "rehearse", "web", "--output", "json")
    assert result.exit_code == 0, result.output
    assert {one["authority"]: one["result"] for one in json.loads(result.stdout)} == {
        "edge": "Succeeded",
        "backup": "Succeeded",
    }
    assert [one.hostnames for one in world.cdn.certificates.values()] == [("rehearsal.example.com",)]


async def test_who_may_not_start_an_issuance_is_told_so_in_one_line(world: World) -> None:
    await world.issuer()
    world.cdn.faults.set("rejected", code=1010, message="this zone is not yours", methods=["POST"])
    world.certificate()
    await world.until(lambda: world.condition("certificates", "site", "Issuing") == ("False", "Failed"), "a failure")
    reader = may_read(world)
    for names in (["site"], ["--all-failed", "--any-cause"]):
        result = await call(world, "retry", *names, kubeconfig=reader)
        (line,) = result.output.splitlines()
        assert result.exit_code == 1
        assert line.startswith(f"error: Certificate {world.namespace}/site: a right is missing: ")
        assert 'cannot patch resource "certificates/status"' in line
    world.cdn.faults.clear()
    result = await call(world, "retry", "site-1")
    assert (result.exit_code, result.output) == (0, f"Certificate {world.namespace}/site is issued again\n")
    await world.ready()


async def test_a_bundle_of_who_may_read_one_namespace_says_what_is_not_in_it(world: World, tmp_path: Path) -> None:
    await world.issuer()
    world.certificate()
    await world.ready()
    file = tmp_path / "bundle.tar.gz"
    await call(world, "doctor", "--bundle", str(file), kubeconfig=may_read(world))
    with tarfile.open(file) as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive}
        files = {name.rpartition("/")[2]: json.loads(body.read()) for name, body in found.items() if body}
    sentences = {one["sentence"].partition(", so")[0] for one in files["findings.json"]}
    assert f"you may not list events in namespace {world.namespace}" in sentences
    assert "you may not get customresourcedefinitions.apiextensions.k8s.io" in sentences
    assert f"you may not get secrets in namespace {world.namespace}" in sentences
    assert [one["metadata"]["name"] for one in files["certificates.json"]] == ["site"]
    assert files["certificaterequests.json"]
    assert files["secrets.json"] == []
