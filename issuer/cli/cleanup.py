"""`cdn-issuer cleanup`: what clean-up of failed requests would delete, or to have it deleted now."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from issuer.api.duration import human
from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, Cleanup, Issuer
from issuer.api.request import CertificateRequest
from issuer.cli.cluster import cluster_options, told_of, view, with_cluster
from issuer.cli.environment import Command
from issuer.controllers.cleanup import expendable
from issuer.controllers.deletion import delete_options
from issuer.controllers.issuercache import IssuerId, issuer_id
from issuer.inspection.issuers import read_spec
from issuer.inspection.snapshot import ISSUERS, REQUESTS
from issuer.kube.errors import ForbiddenError, KubeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from issuer.kube.client import KubeClient


@click.command("cleanup", cls=Command, short_help="Delete failed requests that nobody needs any more.")
@cluster_options
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
def cleanup(**flags: Any) -> None:
    r"""Delete failed requests of ours that nobody needs any more.

    \b
    Examples:
      cdn-issuer cleanup -n shop --dry-run
      cdn-issuer cleanup -A

    The controller does it by itself every minute; this is for where it may not, and to see what it would do. Which ones
    go says spec.cleanup of their issuer: those of a Certificate that failed long ago, but for its newest. It needs the
    right to delete certificaterequests. The exit code is 1 if one could not be deleted.
    """
    seen = view(flags)

    async def work(client: KubeClient) -> int:
        specs = await _specs(client, seen.namespace)
        page = msgspec.json.decode(await client.list(REQUESTS, seen.namespace), type=_Requests)
        now, trouble = datetime.now(UTC), 0
        found = due(page.items, specs, now)
        for request in found:
            trouble += not await _delete(client, request, now, dry_run=flags["dry_run"])
        if not found:
            click.echo("no failed request is to be deleted")
        return int(trouble > 0)

    with_cluster(seen, work)


def due(
    requests: Iterable[CertificateRequest], specs: dict[IssuerId, Cleanup], now: datetime
) -> list[CertificateRequest]:
    """Those that may go, of the issuers that are known."""
    failed: dict[tuple[IssuerId, str], list[CertificateRequest]] = defaultdict(list)
    for request in requests:
        id_ = issuer_id(request.issuer_ref, request.metadata.namespace)
        if request.issuer_ref.group == GROUP and id_ in specs and request.has_failed and request.owner is not None:
            failed[id_, request.owner.uid].append(request)
    return [one for (id_, _), of_one in failed.items() for one in expendable(of_one, specs[id_], now)]


class _Requests(msgspec.Struct, frozen=True):
    items: tuple[CertificateRequest, ...] = ()


class _Issuers(msgspec.Struct, frozen=True):
    items: tuple[Issuer, ...] = ()


async def _specs(client: KubeClient, namespace: str) -> dict[IssuerId, Cleanup]:
    """What each issuer says of clean-up. Those of the whole cluster are left out where they may not be listed."""
    found: dict[IssuerId, Cleanup] = {}
    for kind, resource in ISSUERS.items():
        try:
            page = msgspec.json.decode(
                await client.list(resource, "" if kind == CLUSTER_ISSUER_KIND else namespace), type=_Issuers
            )
        except ForbiddenError as error:
            if kind != CLUSTER_ISSUER_KIND:
                raise
            click.echo(f"note: requests of CDNClusterIssuers are left out: {told_of(error)}", err=True)
            continue
        for issuer in page.items:
            spec = read_spec(issuer)
            if spec is not None:
                found[IssuerId(issuer.kind, issuer.metadata.key)] = spec.cleanup
    return found


async def _delete(client: KubeClient, request: CertificateRequest, now: datetime, *, dry_run: bool) -> bool:
    meta, failed_at = request.metadata, request.failed_at
    ago = human((now - failed_at).total_seconds()) if failed_at else "long"
    name = f"CertificateRequest {meta.namespace}/{meta.name}, which failed {ago} ago,"
    if dry_run:
        click.echo(f"{name} would be deleted")
        return True
    try:
        await client.delete(REQUESTS, meta.namespace, meta.name, body=delete_options(meta))
    except KubeError as error:
        click.echo(f"error: {name} was not deleted: {told_of(error)}", err=True)
        return False
    click.echo(f"{name} is deleted")
    return True
