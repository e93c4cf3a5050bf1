"""`cdn-issuer sign`: one CSR, signed by an issuer's authorities without a cluster.

It is the controller's own engine on one request: the same limits, retries and failover, verification, and look for a
lost answer. What differs is that nobody comes again after one pass over the list.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from issuer.api.duration import human
from issuer.authorities.base import AuthorityContext, SigningOrder
from issuer.authorities.transport import SharedTransport
from issuer.cli import documents, issuerfile
from issuer.cli.cluster import INTERRUPTED
from issuer.cli.environment import Command
from issuer.cli.parameters import Days, ListedText, Seconds
from issuer.controllers.causes import cause_of
from issuer.controllers.issuercache import IssuerCache
from issuer.observe import logs
from issuer.pki.csr import MAX_PEM, InvalidRequestError, SigningRequest, parse_pem
from issuer.signing.engine import FailoverEngine
from issuer.signing.failures import Misconfigured, SecretNotFound, Withdrawn, moment
from issuer.signing.observer import NullObserver
from issuer.signing.plan import Issued

if TYPE_CHECKING:
    from issuer.api.issuer import Issuer
    from issuer.controllers.issuercache import CachedIssuer, IssuerId
    from issuer.signing.plan import IssuerPlan, NotIssued

ADVICE: Final = {
    "InProgress": "it is accepted and takes longer than one pass: let the controller do it",
    "Unavailable": "try again when the provider answers, or add an authority",
    "RateLimited": "try again later",
    "Unauthorized": "put a credential that is accepted into the Secret",
    "Rejected": "change what the CSR asks for",
    "Unsupported": "change what the CSR asks for, or add an authority that signs it",
    "Withdrawn": "set its state to Active in the file, or name another one with --authority",
    "NotAsked": "give it more time with --timeout",
}
"""What to do, by the cause that is most likely to pass."""


@click.command("sign", cls=Command, short_help="Sign one CSR by an issuer's file, without a cluster.")
@click.option(
    "--issuer-file",
    "-f",
    type=click.File("rb"),
    required=True,
    help="File with a CDNIssuer or CDNClusterIssuer, and perhaps its Secrets; - for standard input.",
)
@click.option(
    "--secret-file",
    type=click.File("rb"),
    multiple=True,
    help="A further file with Secrets; may be repeated. - for standard input.",
)
@click.option("--authority", type=ListedText(), multiple=True, help="Let only this one sign; may be repeated.")
@click.option("--duration", type=Days(), default="7d", help="How long the certificate should live.")
@click.option("--timeout", type=Seconds(minimum=1.0), default="2m", help="How long all of it may take.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    show_default="standard output",
    help="Write the certificate there.",
)
@click.option(
    "--allow-insecure-endpoints", is_flag=True, help="Let authorities be reached over plain http (tests only)."
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and what the engine logs.")
@click.argument("request_file", metavar="CSR", type=click.File("rb"))
def sign(issuer_file: IO[bytes], secret_file: tuple[IO[bytes], ...], request_file: IO[bytes], **flags: Any) -> None:
    r"""Sign one CSR in PEM by an issuer's file, without a cluster: to try credentials, or when there is none.

    \b
    Examples:
      cdn-issuer sign --issuer-file web.yaml request.csr -o www.pem
      kubectl -n shop get secret cloudflare -o yaml |
        cdn-issuer sign --issuer-file web.yaml --secret-file - request.csr
      cdn-issuer sign --issuer-file web.yaml --authority backup request.csr

    The Secrets that the issuer names are documents of the same file, or of a --secret-file, with data or stringData.

    It is one pass over the list, by the engine of the controller: timeouts, retries and failover are those of the
    issuer. The certificate with its intermediates goes to standard output; who signed, and why others did not, to
    standard error. The certificate is a real one, and nobody revokes it.

    The exit code is 0 with a certificate, 1 without one, 2 for wrong usage.
    """
    logs.configure("console", "debug" if flags["debug"] else "critical")
    streams = (issuer_file, *secret_file, request_file)
    if sum(documents.name_of(one) == "standard input" for one in streams) > 1:
        raise click.UsageError("only one of the files can be standard input")
    found = list(documents.read(issuer_file, secret=True))
    try:
        id_, issuer = issuerfile.issuer_of(found)
        found += [one for file in secret_file for one in documents.read(file, secret=True)]
        csr = parse_pem(request_file.read(MAX_PEM + 1))
        outcome = asyncio.run(_sign(id_, issuer, found, csr, flags))
    except RecursionError:
        raise click.ClickException("the input is nested too deeply, or an alias in it refers to itself") from None
    except InvalidRequestError as error:
        name = documents.name_of(request_file)
        raise click.ClickException(f"{name} cannot be signed by anybody: {error.message}") from None
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except click.ClickException:
        raise
    except Exception as error:
        if flags["debug"]:
            raise
        raise click.ClickException(f"{type(error).__name__} inside cdn-issuer: --debug shows where") from None
    _deliver(outcome, flags["output"])


async def _sign(
    id_: IssuerId, issuer: Issuer, found: list[Any], csr: SigningRequest, flags: dict[str, Any]
) -> Issued | NotIssued:
    transport = SharedTransport()
    try:
        context = AuthorityContext(
            namespace="",
            secrets=issuerfile.FileSecrets(found, any_namespace=not id_.key.namespace),
            transport=transport.handle,
            now=_now,
            allow_insecure_endpoints=flags["allow_insecure_endpoints"],
        )
        entry = IssuerCache({id_.kind: lambda _: issuer}, context, issuerfile.NAMESPACE).find(id_)
        plan, only = _plan(entry), _only(entry, flags["authority"])
        engine = FailoverEngine(now=_now, random=random.Random(), guard=lambda: None, observer=NullObserver())
        order = SigningOrder(
            uid=f"sign-{secrets.token_hex(16)}",
            namespace=id_.key.namespace,
            name=f"cdn-issuer sign by {id_.key.name}",
            created=_now(),
            csr=csr,
            duration=timedelta(seconds=flags["duration"]),
        )
        seconds = min(plan.deadline, flags["timeout"])
        outcome = await engine.sign(order, plan, deadline=asyncio.get_running_loop().time() + seconds, only=only)
        engine.settle(order.uid, outcome.fingerprint if isinstance(outcome, Issued) else None)
        await engine.clean_up()
        for user in engine.suspected():
            _say(
                f"warning: {user.authority} may have made a certificate that nobody received, since its answer was "
                "lost: look for it at the provider, and revoke it there"
            )
        return outcome
    finally:
        await transport.aclose()


def _plan(entry: CachedIssuer | None) -> IssuerPlan:
    """What the engine goes by.

    Raises:
        click.ClickException: the specification is nonsense.
    """
    if entry is None or entry.plan is None:
        problem = entry.view.problem if entry else "it is not there"
        raise click.ClickException(f"{entry.view.title if entry else 'the issuer'} cannot be used: {problem}")
    for field in entry.view.ignored:
        _say(f"warning: {field} is no field that this version knows, and has no effect")
    return entry.plan


def _only(entry: CachedIssuer | None, names: tuple[str, ...]) -> frozenset[str] | None:
    known = entry.view.authorities if entry else ()
    if unknown := sorted(set(names) - set(known)):
        raise click.UsageError(
            f"--authority: no authority {', '.join(map(repr, unknown))} in the issuer; it has {', '.join(known)}"
        )
    return frozenset(names) or None


def _deliver(outcome: Issued | NotIssued, output: Path | None) -> None:
    """Print what came of it.

    Raises:
        click.ClickException: nobody signed.
    """
    if not isinstance(outcome, Issued):
        reasons = "; ".join(one.final for one in outcome.failures) or "no authority could be asked"
        # What is wrong with a Secret says itself what to do.
        is_told = any(isinstance(failure, SecretNotFound | Misconfigured) for failure in outcome.failures)
        cause = "Withdrawn" if _is_withdrawn(outcome) else cause_of(outcome.failures)
        advice = "" if is_told else f": {ADVICE[cause]}"
        raise click.ClickException(_line(f"not signed: {reasons}{advice}"))
    for failure in outcome.passed_over:
        _say(f"not signed by authority {failure.final}")
    lifetime = human(outcome.granted.total_seconds())
    signed = f"signed by authority {outcome.authority}, valid for {lifetime} until {moment(outcome.not_after)}"
    _say("; ".join((signed, *outcome.notes)))
    if output is None:
        click.echo(outcome.certificate.decode().rstrip("\n"))
        return
    try:
        output.write_bytes(outcome.certificate)
    except OSError as error:
        click.echo(outcome.certificate.decode().rstrip("\n"))
        raise click.ClickException(
            f"{str(output)!r} cannot be written ({error.strerror}): the certificate is on standard output instead"
        ) from None


def _is_withdrawn(outcome: NotIssued) -> bool:
    return bool(outcome.failures) and all(isinstance(failure, Withdrawn) for failure in outcome.failures)


def _say(text: str) -> None:
    click.echo(_line(text), err=True)


def _line(text: str) -> str:
    """One line, whatever a provider said: nothing in it steers a terminal."""
    return "".join(character if character.isprintable() else " " for character in " ".join(text.split()))


def _now() -> datetime:
    return datetime.now(UTC)
