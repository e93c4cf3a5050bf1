"""`cdn-issuer renew`: have Certificates issued again at once, whatever cert-manager waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from issuer.cli import issuance
from issuer.cli.cluster import cluster_options, view, with_cluster
from issuer.cli.environment import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.api.certificate import Certificate
    from issuer.cli.cluster import View
    from issuer.kube.client import KubeClient


@click.command("renew", cls=Command, short_help="Have Certificates issued again now.")
@cluster_options
@click.option("--failed", is_flag=True, help="Those whose last issuance failed, which cert-manager leaves for hours.")
@click.option("--all", "everything", is_flag=True, help="All Certificates of ours.")
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@click.argument("names", metavar="[CERTIFICATE]...", nargs=-1)
def renew(names: tuple[str, ...], **flags: Any) -> None:
    r"""Have Certificates issued again now, as cmctl renew does.

    \b
    Examples:
      cdn-issuer renew www -n shop        one of them
      cdn-issuer renew --failed -A        what an outage has left, where spec.recovery is off
      cdn-issuer renew --all -A --dry-run

    Only Certificates whose issuer is a CDNIssuer or CDNClusterIssuer. The condition Issuing becomes True; that needs
    the right to patch certificates/status. The exit code is 1 if one of them could not be renewed.
    """
    chosen = bool(names) + flags["failed"] + flags["everything"]
    if chosen != 1:
        raise click.UsageError("give names of Certificates, or --failed, or --all")
    seen = view(flags)
    if names and not seen.namespace:
        raise click.UsageError("names are those of one namespace: give --namespace instead of --all-namespaces")

    async def work(client: KubeClient) -> int:
        found, trouble = await _chosen(client, seen, names, only_failed=flags["failed"])
        for certificate in found:
            trouble += not await issuance.start(client, certificate, "renew", dry_run=flags["dry_run"])
        if not found and not trouble:
            click.echo("no Certificate is to be renewed")
        return int(trouble > 0)

    with_cluster(seen, work)


async def _chosen(
    client: KubeClient, seen: View, names: Sequence[str], *, only_failed: bool
) -> tuple[list[Certificate], int]:
    """The Certificates that are meant, and how many of them cannot be."""
    if not names:
        found = await issuance.listed(client, seen.namespace)
        return [one for one in found if not only_failed or issuance.has_failed(one)], 0
    found, trouble = [], 0
    for name in names:
        one = await issuance.named(client, seen.namespace, name)
        if one is not None and issuance.is_ours(one):
            found.append(one)
            continue
        why = "does not exist" if one is None else "is of another issuer: use cmctl renew"
        issuance.tell(f"Certificate {seen.namespace}/{name} {why}")
        trouble += 1
    return found, trouble
