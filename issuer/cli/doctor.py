"""`cdn-issuer doctor`: what is wrong, in one sentence each, and the command that helps."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click
import msgspec

from issuer.cli.cluster import cluster_options, coloured, columns, dump, resource_name, view, with_cluster
from issuer.cli.environment import Command
from issuer.inspection.bundle import gather
from issuer.inspection.diagnosis import diagnose
from issuer.inspection.findings import summary
from issuer.inspection.reader import Reader, Subject, Target, narrowed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from issuer.inspection.findings import Finding
    from issuer.kube.client import KubeClient

_ALIASES: Final = {
    "certificates": "certificate",
    "cert": "certificate",
    "certs": "certificate",
    "certificaterequests": "certificaterequest",
    "request": "certificaterequest",
    "cr": "certificaterequest",
    "crs": "certificaterequest",
    "certificatesigningrequests": "certificatesigningrequest",
    "csr": "certificatesigningrequest",
    "csrs": "certificatesigningrequest",
    "issuers": "issuer",
    "cdnissuer": "issuer",
    "cdnissuers": "issuer",
    "clusterissuers": "clusterissuer",
    "cdnclusterissuer": "clusterissuer",
    "cdnclusterissuers": "clusterissuer",
}
SUBJECTS: Final = ("all", "certificate", "certificaterequest", "certificatesigningrequest", "issuer", "clusterissuer")
_KINDS: Final = f"{', '.join(SUBJECTS[1:-1])} or {SUBJECTS[-1]}"
_IN_NO_NAMESPACE: Final = ("certificatesigningrequest", "clusterissuer")


class SubjectType(click.Choice[str] if TYPE_CHECKING else click.Choice):  # type: ignore[misc]
    """What is looked at; kubectl's other names of the same work too."""

    name = "subject"

    def __init__(self) -> None:
        super().__init__(SUBJECTS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """One of `SUBJECTS`."""
        return super().convert(_ALIASES.get(str(value).lower(), value), param, ctx)


@click.command("doctor", cls=Command, short_help="Say what is wrong, and what helps.")
@click.argument("subject", type=SubjectType(), default="all", metavar="[KIND]")
@click.argument("name", default="")
@cluster_options
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write what a bug report needs into this .tar.gz; no Secret's contents are in it.",
)
def doctor(subject: str, name: str, bundle: Path | None, **flags: Any) -> None:
    r"""Say in one sentence each what is wrong, and in one command what helps.

    \b
    Examples:
      cdn-issuer doctor                             all of ours in the namespace of the context
      cdn-issuer doctor certificate www -n shop     one Certificate, and all that it hangs on
      cdn-issuer doctor csr www                     one CertificateSigningRequest, and the same
      cdn-issuer doctor issuer web -n shop          one CDNIssuer; clusterissuer for a CDNClusterIssuer
      kubectl cdn-issuer doctor -A -o json          everywhere, as a list of objects
      cdn-issuer doctor -n shop --bundle shop.tar.gz

    KIND is all, certificate, certificaterequest, certificatesigningrequest, issuer or clusterissuer.
    CertificateSigningRequests are in no namespace, so all of them are looked at with -A only.

    It walks from the Certificate over its request, issuer, Secrets and authorities to the controller, and tells the
    cause before what follows from it. It reads and changes nothing. What you may not read is named and left out.

    The exit code is 0 without problems, 1 with one, 2 for wrong usage; warnings and notes are no problems.
    """
    seen = view(flags)
    if name and not seen.namespace and subject not in _IN_NO_NAMESPACE:
        raise click.UsageError("an object with a name is in one namespace: give --namespace, or no name")
    if name and subject == "all":
        raise click.UsageError(f"say what the name is of: {_KINDS}")
    target = Target(cast("Subject", subject), seen.namespace, name)

    async def work(client: KubeClient) -> int:
        snapshot = narrowed(await Reader(client).read(target), target)
        findings = diagnose(snapshot)
        _show(findings, seen.output)
        if bundle is not None:
            _write(bundle, await gather(client, snapshot, findings))
        return int(any(finding.is_error for finding in findings))

    with_cluster(seen, work)


def _show(findings: Sequence[Finding], output: str) -> None:
    if output in ("json", "yaml"):
        dump(findings, output)
    elif output == "name":
        for name in dict.fromkeys(resource_name(finding.object) for finding in findings):
            click.echo(name)
    elif output == "wide":
        rows = [(one.severity, one.code, one.object, one.sentence, one.fix) for one in findings]
        for line in columns(("SEVERITY", "CODE", "OBJECT", "WHAT", "FIX"), rows) if rows else ():
            click.echo(line)
    else:
        for finding in findings:
            click.echo(
                f"{coloured(finding.severity, finding.severity)}: {finding.object}: {finding.sentence} [{finding.code}]"
            )
            if finding.fix:
                click.echo(f"  fix: {finding.fix}")
    click.echo(summary(findings), err=output in ("json", "yaml", "name"))


def _write(path: Path, files: Mapping[str, Any]) -> None:
    """Write a bundle, to be read by its owner alone.

    Raises:
        click.FileError: it cannot be written.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            body = msgspec.json.format(msgspec.json.encode(content)) + b"\n"
            entry = tarfile.TarInfo(f"cdn-issuer-bundle/{name}")
            entry.size, entry.mode = len(body), 0o600
            archive.addfile(entry, io.BytesIO(body))
    try:
        path.touch(mode=0o600)
        path.write_bytes(packed.getvalue())
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None
    click.echo(f"{path} is written: it names hosts and objects; read it before you attach it to a report", err=True)
