"""`cdn-issuer retry`: what has failed is issued again; what has not is left alone.

A CertificateRequest that has failed stays so: cert-manager makes another one when the issuance of its Certificate
starts again. So whichever of the two is named, it is the Certificate that is started, as `renew` does it. Which
failures an outage has left says the recovery controller's own judgement (`issuer.controllers.renewal`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from issuer.api.issuer import GROUP
from issuer.api.request import CertificateRequest
from issuer.cli import issuance
from issuer.cli.cluster import cluster_options, view, with_cluster
from issuer.cli.environment import Command
from issuer.controllers.renewal import Judgement, failure_of, judge
from issuer.inspection.signingrequests import again
from issuer.inspection.snapshot import REQUESTS
from issuer.kube.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.api.certificate import Certificate
    from issuer.api.meta import ObjectKey
    from issuer.cli.cluster import View
    from issuer.controllers.renewal import Failure
    from issuer.kube.client import KubeClient

_KINDS = {
    "certificate": "certificate",
    "cert": "certificate",
    "certificaterequest": "certificaterequest",
    "cr": "certificaterequest",
    "certificatesigningrequest": "certificatesigningrequest",
    "csr": "certificatesigningrequest",
}


class _Page(msgspec.Struct, frozen=True):
    items: tuple[CertificateRequest, ...] = ()


class _NotRetriedError(Exception):
    """Why one that was named is not retried, and what to do instead."""


@click.command("retry", cls=Command, short_help="Have Certificates whose issuance failed issued again now.")
@cluster_options
@click.option("--all-failed", is_flag=True, help="All Certificates of ours whose issuance failed because of an outage.")
@click.option("--any-cause", is_flag=True, help="With --all-failed: whatever they failed for.")
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@click.argument("names", metavar="[[KIND/]NAME]...", nargs=-1)
def retry(names: tuple[str, ...], **flags: Any) -> None:
    r"""Have Certificates whose issuance failed issued again now; what has not failed is left alone.

    \b
    Examples:
      cdn-issuer retry www -n shop                         the Certificate, if its last issuance failed
      cdn-issuer retry certificaterequest/www-3 -n shop    the Certificate of a request that failed
      cdn-issuer retry --all-failed -A                     what an outage has left

    A name alone is that of a Certificate, or else of a CertificateRequest. A request that has failed stays so:
    cert-manager makes a new one. With --all-failed, those that an authority or an approver refused are left alone,
    since they would be refused again. It needs the right to patch certificates/status, and to list
    certificaterequests. A CertificateSigningRequest (csr/www) cannot be retried, and how to make another is said.
    The exit code is 1 if one could not be retried.
    """
    if bool(names) == flags["all_failed"]:
        raise click.UsageError("give names of Certificates or CertificateRequests, or --all-failed")
    if flags["any_cause"] and not flags["all_failed"]:
        raise click.UsageError(
            "--any-cause goes with --all-failed: one that is named is retried whatever it failed for"
        )
    targets = [_target(name) for name in names]
    seen = view(flags)
    if names and not seen.namespace:
        raise click.UsageError("names are those of one namespace: give --namespace instead of --all-namespaces")

    async def work(client: KubeClient) -> int:
        if names:
            found, trouble = await _named(client, seen, targets)
        else:
            found, trouble = await _failed(client, seen, any_cause=flags["any_cause"]), 0
        for certificate in found:
            trouble += not await issuance.start(client, certificate, "retry", dry_run=flags["dry_run"])
        if not found and not trouble:
            click.echo("no Certificate is to be retried")
        return int(trouble > 0)

    with_cluster(seen, work)


def _target(name: str) -> tuple[str, str]:
    """Kind and name; the kind is empty where none is given."""
    kind, slash, rest = name.rpartition("/")
    if not slash:
        return "", rest
    found = _KINDS.get(kind.lower().partition(".")[0].removesuffix("s"))
    if found is None:
        raise click.UsageError(f"{name!r}: the kind is certificate or certificaterequest")
    return found, rest


async def _failed(client: KubeClient, seen: View, *, any_cause: bool) -> list[Certificate]:
    """All whose last issuance failed, because of an outage or for any cause."""
    failed = [one for one in await issuance.listed(client, seen.namespace) if issuance.has_failed(one)]
    if any_cause or not failed:
        return failed
    page = msgspec.json.decode(await client.list(REQUESTS, seen.namespace), type=_Page)
    outages, now = _outages(page.items), datetime.now(UTC)
    due = {
        failure.certificate
        for one in failed
        for failure in outages.get(one.metadata.key, ())
        if judge(failure, one, now) is Judgement.RENEW
    }
    left = [one for one in failed if one.metadata.key not in due]
    if left:
        names = ", ".join(str(one.metadata.key) for one in left[:3]) + (", ..." if len(left) > 3 else "")  # noqa: PLR2004
        click.echo(
            f"{len(left)} failed for another cause, or only now ({names}): see cdn-issuer doctor; --any-cause retries "
            "them too",
            err=True,
        )
    return [one for one in failed if one.metadata.key in due]


def _outages(requests: Sequence[CertificateRequest]) -> dict[ObjectKey, list[Failure]]:
    """What failed in an outage, by Certificate."""
    found: dict[ObjectKey, list[Failure]] = {}
    for request in requests:
        if request.issuer_ref.group == GROUP and (failure := failure_of(request)) is not None:
            found.setdefault(failure.certificate, []).append(failure)
    return found


async def _named(client: KubeClient, seen: View, targets: Sequence[tuple[str, str]]) -> tuple[list[Certificate], int]:
    """Those that are named and have failed, each once, and how many of the others there are."""
    found: dict[ObjectKey, Certificate] = {}
    trouble = 0
    for kind, name in targets:
        try:
            one = await _find(client, seen.namespace, kind, name)
        except _NotRetriedError as error:
            issuance.tell(str(error))
            trouble += 1
        else:
            found[one.metadata.key] = one
    return list(found.values()), trouble


async def _find(client: KubeClient, namespace: str, kind: str, name: str) -> Certificate:
    """The Certificate that a name means.

    Raises:
        _NotRetriedError: there is none, or it has not failed.
    """
    if kind == "certificatesigningrequest":
        raise _NotRetriedError(
            f"CertificateSigningRequest {name} is not retried: until its deadline the controller tries by itself, and "
            f"Kubernetes opens none again that has ended; to make another: {again(name)}"
        )
    certificate = await issuance.named(client, namespace, name) if kind != "certificaterequest" else None
    if certificate is None:
        if kind == "certificate":
            raise _NotRetriedError(f"Certificate {namespace}/{name} does not exist")
        certificate = await _of_request(client, namespace, name, kind)
    title = issuance.title(certificate)
    if not issuance.is_ours(certificate):
        raise _NotRetriedError(f"{title} is of another issuer: use cmctl renew")
    if not issuance.has_failed(certificate) and not issuance.is_under_way(certificate):
        raise _NotRetriedError(f"{title} has not failed: cdn-issuer renew issues it again all the same")
    return certificate


async def _of_request(client: KubeClient, namespace: str, name: str, kind: str) -> Certificate:
    title = f"CertificateRequest {namespace}/{name}"
    try:
        request = msgspec.json.decode(await client.get(REQUESTS, namespace, name), type=CertificateRequest)
    except NotFoundError:
        either = title if kind else f"neither a Certificate nor a CertificateRequest {namespace}/{name}"
        raise _NotRetriedError(f"{either} {'does not exist' if kind else 'exists'}") from None
    if not request.has_failed:
        raise _NotRetriedError(f"{title} has not failed: see cdn-issuer doctor certificaterequest {name}")
    owner = request.owner
    certificate = await issuance.named(client, namespace, owner.name) if owner else None
    if owner is None or certificate is None or certificate.metadata.uid != owner.uid:
        raise _NotRetriedError(f"{title} belongs to no Certificate that exists: whoever made it has to make another")
    return certificate
