"""`cdn-issuer rehearse`: have the authorities of an issuer sign for nobody now, and hear how that went.

The command signs nothing: it asks by an annotation, and the controller that leads does it, within the limits of every
rehearsal. What was seen to stands in the status of the issuer, which the command reads until each authority has been.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from issuer.api.issuer import (
    CLUSTER_ISSUER_KIND,
    ISSUER_KIND,
    REHEARSE_AT,
    REHEARSE_AUTHORITIES,
    Issuer,
)
from issuer.api.issuerstatus import AuthorityStatus, RehearsalResult
from issuer.api.meta import format_micro_time
from issuer.cli.cluster import cluster_options, coloured, dump, resource_name, told_of, view, with_cluster
from issuer.cli.environment import Command
from issuer.cli.parameters import ListedText, Seconds
from issuer.inspection.snapshot import ISSUERS
from issuer.kube.errors import KubeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from issuer.cli.cluster import View
    from issuer.kube.client import KubeClient

EVERY: Final = 0.5
"""Seconds between two looks at an issuer."""
_SUCCEEDED: Final = "Succeeded"
_KINDS: Final = {
    "issuer": ISSUER_KIND,
    "cdnissuer": ISSUER_KIND,
    "clusterissuer": CLUSTER_ISSUER_KIND,
    "cdnclusterissuer": CLUSTER_ISSUER_KIND,
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the rehearsal of one authority went.

    Attributes:
        object: the issuer.
        authority: its name there.
        result: Succeeded, Failed, or NotRehearsed.
        duration: how long it took.
        message: why it failed.
    """

    object: str
    authority: str
    result: RehearsalResult | str
    duration: str = ""
    message: str = ""


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    state: str = "Active"


class _Spec(msgspec.Struct, frozen=True):
    rehearsal: Any = None
    authorities: tuple[_Named, ...] = ()


class _Page(msgspec.Struct, frozen=True):
    items: tuple[Issuer, ...] = ()


@click.command("rehearse", cls=Command, short_help="Have authorities sign for nobody now, to see that they can.")
@cluster_options
@click.option("--authority", type=ListedText(), multiple=True, help="Only this one; may be repeated.")
@click.option("--timeout", type=Seconds(minimum=1.0), default="3m", help="How long to wait for the results.")
@click.argument("names", metavar="[[KIND/]ISSUER]...", nargs=-1)
def rehearse(names: tuple[str, ...], **flags: Any) -> None:
    r"""Have the authorities of an issuer rehearsed now, and say how each did.

    \b
    Examples:
      cdn-issuer rehearse web -n shop                       each authority of one CDNIssuer
      cdn-issuer rehearse web -n shop --authority backup    the fallback, after its credential was changed
      cdn-issuer rehearse clusterissuer/web                 a CDNClusterIssuer
      cdn-issuer rehearse -A                                all CDNIssuers that have spec.rehearsal

    It signs a certificate for spec.rehearsal.dnsNames, for nobody, and has it revoked where the authority can do that.
    The controller does it, one at a time, and not while an authority has no calls left. It needs the right to patch
    the issuer, which the Kubernetes roles edit and admin have.

    The exit code is 1 if an authority failed, or was not rehearsed within --timeout.
    """
    seen = view(flags)
    targets = [_target(name) for name in names]
    if not seen.namespace and any(kind == ISSUER_KIND for kind, _ in targets):
        raise click.UsageError("names are those of one namespace: give --namespace instead of --all-namespaces")

    async def work(client: KubeClient) -> int:
        issuers = await _issuers(client, seen, targets)
        if not issuers:
            click.echo("no CDNIssuer has spec.rehearsal: see kubectl explain cdnissuer.spec.rehearsal", err=True)
            return 1
        outcomes: list[Outcome] = []
        trouble = 0
        for issuer in issuers:
            try:
                async for outcome in _rehearse(client, issuer, flags["authority"], flags["timeout"]):
                    outcomes.append(outcome)
                    _show(outcome, seen.output)
            except KubeError as error:
                click.echo(f"error: {_title(issuer)}: {told_of(error)}", err=True)
                trouble += 1
        if seen.output in ("json", "yaml"):
            dump(outcomes, seen.output)
        return int(trouble > 0 or any(one.result != _SUCCEEDED for one in outcomes))

    with_cluster(seen, work)


def _target(name: str) -> tuple[str, str]:
    """Kind and name; a name alone is that of a CDNIssuer."""
    kind, slash, rest = name.lower().partition("/")
    if not slash:
        return ISSUER_KIND, name
    found = _KINDS.get(kind.partition(".")[0].removesuffix("s"))
    if found is None:
        raise click.UsageError(f"{name!r}: the kind is {' or '.join(_KINDS)}")
    return found, rest


async def _issuers(client: KubeClient, seen: View, targets: Sequence[tuple[str, str]]) -> list[Issuer]:
    """Those that are meant: by name, or all that are to be rehearsed."""
    if targets:
        raw = [
            await client.get(ISSUERS[kind], "" if kind == CLUSTER_ISSUER_KIND else seen.namespace, name)
            for kind, name in targets
        ]
        return [msgspec.json.decode(one, type=Issuer) for one in raw]
    page = msgspec.json.decode(await client.list(ISSUERS[ISSUER_KIND], seen.namespace), type=_Page)
    return [one for one in page.items if _spec(one).rehearsal is not None]


async def _rehearse(
    client: KubeClient, issuer: Issuer, wanted: Sequence[str], timeout: float
) -> AsyncIterator[Outcome]:
    """Ask, and say of each authority how it went, as soon as that is known."""
    spec, title = _spec(issuer), _title(issuer)
    known = [one.name for one in spec.authorities]
    if unknown := sorted(set(wanted) - set(known)):
        raise click.UsageError(f"{title} has no authority {', '.join(unknown)}; it has {', '.join(known)}")
    if spec.rehearsal is None:
        raise click.ClickException(
            f"{title} has no spec.rehearsal: add to its spec `rehearsal: {{dnsNames: [a hostname in a zone of yours "
            "that nobody uses]}`"
        )
    asked = format_micro_time(datetime.now(UTC))
    annotations = {REHEARSE_AT: asked, REHEARSE_AUTHORITIES: ",".join(wanted) or None}
    body = msgspec.json.encode({"metadata": {"annotations": annotations}})
    meta, resource = issuer.metadata, ISSUERS[issuer.kind]
    await client.patch(resource, meta.namespace, meta.name, body)
    active = [one.name for one in spec.authorities if one.state == "Active"]  # the others sign for nobody
    open_ = dict.fromkeys(wanted or active, "")
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while open_:
        latest = msgspec.json.decode(await client.get(resource, meta.namespace, meta.name), type=Issuer)
        for one in latest.status.authorities:
            if one.name not in open_:
                continue
            last = one.last_rehearsal
            # One that another person has asked for since is as good.
            if last is not None and last.requested_at >= asked:
                del open_[one.name]
                yield Outcome(
                    object=title, authority=one.name, result=last.result, duration=last.duration, message=last.message
                )
            else:
                open_[one.name] = _obstacle(one)
        if loop.time() >= end:
            break
        await asyncio.sleep(min(EVERY, max(0.0, end - loop.time())))
    for name, why in open_.items():
        yield Outcome(object=title, authority=name, result="NotRehearsed", message=why or _NOBODY)


_NOBODY: Final = "the controller has not done it in time: see cdn-issuer doctor, and whether it has --no-rehearsals"


def _obstacle(authority: AuthorityStatus) -> str:
    """Why an authority is not rehearsed, as far as its state says."""
    if authority.state in ("Available", "Unknown", "Untested"):
        return ""
    said = f": {authority.message}" if authority.message else ""
    return f"it is {authority.state}{said}"


def _show(outcome: Outcome, output: str) -> None:
    if output == "name":
        click.echo(resource_name(outcome.object))
    elif output not in ("json", "yaml"):
        severity = "" if outcome.result == _SUCCEEDED else "error"
        took = f" in {outcome.duration}" if outcome.duration else ""
        said = f": {outcome.message}" if outcome.message else ""
        result = coloured(severity, outcome.result) if severity else outcome.result
        click.echo(" ".join(f"{outcome.object}: {outcome.authority}: {result}{took}{said}".split()))


def _spec(issuer: Issuer) -> _Spec:
    """What is of interest here; nothing, where it cannot be read."""
    try:
        return msgspec.json.decode(issuer.spec, type=_Spec)
    except msgspec.DecodeError:
        return _Spec()


def _title(issuer: Issuer) -> str:
    return f"{issuer.kind} {issuer.metadata.key}"
