"""`cdn-issuer renew`: have Certificates issued again at once, whatever cert-manager waits for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from issuer.api import condition
from issuer.api.certificate import ISSUING, REASON_FAILED, Certificate
from issuer.api.condition import Condition
from issuer.api.issuer import GROUP
from issuer.cli.cluster import cluster_options, told_of, view, with_cluster
from issuer.cli.environment import Command
from issuer.inspection.snapshot import CERTIFICATES
from issuer.kube.errors import KubeError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.cli.cluster import View
    from issuer.kube.client import KubeClient

REASON: Final = "ManuallyTriggered"
"""Of the condition Issuing, as `cmctl renew` gives it."""


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
            trouble += not await _renew(client, certificate, dry_run=flags["dry_run"])
        if not found and not trouble:
            click.echo("no Certificate is to be renewed")
        return int(trouble > 0)

    with_cluster(seen, work)


async def _chosen(
    client: KubeClient, seen: View, names: Sequence[str], *, only_failed: bool
) -> tuple[list[Certificate], int]:
    """The Certificates that are meant, and how many of them cannot be."""
    if not names:
        page = msgspec.json.decode(await client.list(CERTIFICATES, seen.namespace), type=_Page)
        return [one for one in page.items if is_ours(one) and (not only_failed or has_failed(one))], 0
    found, trouble = [], 0
    for name in names:
        try:
            one = msgspec.json.decode(await client.get(CERTIFICATES, seen.namespace, name), type=Certificate)
        except NotFoundError:
            click.echo(f"error: Certificate {seen.namespace}/{name} does not exist", err=True)
            trouble += 1
            continue
        if is_ours(one):
            found.append(one)
        else:
            click.echo(f"error: Certificate {seen.namespace}/{name} is of another issuer: use cmctl renew", err=True)
            trouble += 1
    return found, trouble


class _Page(msgspec.Struct, frozen=True):
    items: tuple[Certificate, ...] = ()


def is_ours(certificate: Certificate) -> bool:
    """Whether its issuer is one of ours."""
    return certificate.spec.issuer_ref.group == GROUP


def has_failed(certificate: Certificate) -> bool:
    """Whether its last issuance has failed, and no other one is under way."""
    issuing = certificate.issuing
    return issuing is not None and issuing.status == condition.FALSE and issuing.reason == REASON_FAILED


async def _renew(client: KubeClient, certificate: Certificate, *, dry_run: bool) -> bool:
    """Start its issuance, to the version that was read; whether that was done, or is under way."""
    meta, issuing = certificate.metadata, certificate.issuing
    name = f"Certificate {meta.namespace}/{meta.name}"
    if issuing is not None and issuing.status == condition.TRUE:
        click.echo(f"{name} is being issued already")
        return True
    if dry_run:
        click.echo(f"{name} would be issued again")
        return True
    new = Condition(
        ISSUING,
        condition.TRUE,
        REASON,
        "issued again by hand, with cdn-issuer renew",
        observed_generation=meta.generation or None,
    )
    conditions = condition.upsert(certificate.status.conditions, new, datetime.now(UTC))
    body = {"metadata": {"resourceVersion": meta.resource_version}, "status": {"conditions": conditions}}
    try:
        await client.patch(CERTIFICATES, meta.namespace, meta.name, msgspec.json.encode(body), subresource="status")
    except KubeError as error:
        click.echo(f"error: {name}: {told_of(error)}", err=True)
        return False
    click.echo(f"{name} is issued again")
    return True
