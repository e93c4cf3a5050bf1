"""Starting the issuance of a Certificate again: what `renew` and `retry` share.

The condition Issuing becomes True, as `cmctl renew` has it, on the version of the Certificate that was read.
cert-manager does the rest, and does not wait where it otherwise would.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
import msgspec

from issuer.api import condition
from issuer.api.certificate import ISSUING, REASON_FAILED, Certificate
from issuer.api.issuer import GROUP
from issuer.cli.cluster import told_of
from issuer.controllers.issuance import start_patch
from issuer.inspection.snapshot import CERTIFICATES
from issuer.kube.errors import KubeError, NotFoundError

if TYPE_CHECKING:
    from issuer.kube.client import KubeClient

REASON: Final = "ManuallyTriggered"
"""Of the condition Issuing, as `cmctl renew` gives it."""


class _Page(msgspec.Struct, frozen=True):
    items: tuple[Certificate, ...] = ()


async def listed(client: KubeClient, namespace: str) -> list[Certificate]:
    """The Certificates of a namespace, or of all, whose issuer is one of ours."""
    page = msgspec.json.decode(await client.list(CERTIFICATES, namespace), type=_Page)
    return [one for one in page.items if is_ours(one)]


async def named(client: KubeClient, namespace: str, name: str) -> Certificate | None:
    """One Certificate; None if there is none of that name."""
    try:
        return msgspec.json.decode(await client.get(CERTIFICATES, namespace, name), type=Certificate)
    except NotFoundError as error:
        if error.name != name:  # the API server has no Certificates at all
            raise
        return None


def is_ours(certificate: Certificate) -> bool:
    """Whether its issuer is one of ours."""
    return certificate.spec.issuer_ref.group == GROUP


def has_failed(certificate: Certificate) -> bool:
    """Whether its last issuance has failed, and no other one is under way."""
    issuing = certificate.issuing
    return issuing is not None and issuing.status == condition.FALSE and issuing.reason == REASON_FAILED


def is_under_way(certificate: Certificate) -> bool:
    """Whether it is being issued."""
    return condition.is_true(certificate.status.conditions, ISSUING)


async def start(client: KubeClient, certificate: Certificate, command: str, *, dry_run: bool) -> bool:
    """Start its issuance, on the version that was read, and say so.

    Args:
        client: of the cluster.
        certificate: as it was read.
        command: which command does it, for the message of the condition.
        dry_run: say so, and change nothing.

    Returns:
        Whether that was done, or is under way.
    """
    meta = certificate.metadata
    name = title(certificate)
    if is_under_way(certificate):
        click.echo(f"{name} is being issued already")
        return True
    if dry_run:
        click.echo(f"{name} would be issued again")
        return True
    message = f"issued again by hand, with cdn-issuer {command}"
    body = start_patch(certificate, REASON, message, datetime.now(UTC))
    try:
        await client.patch(CERTIFICATES, meta.namespace, meta.name, body, subresource="status")
    except KubeError as error:
        tell(f"{name}: {told_of(error)}")
        return False
    click.echo(f"{name} is issued again")
    return True


def title(certificate: Certificate) -> str:
    """What it is called in messages."""
    return f"Certificate {certificate.metadata.key}"


def tell(trouble: str) -> None:
    """Say what could not be done with one of several objects."""
    click.echo(f"error: {trouble}", err=True)
