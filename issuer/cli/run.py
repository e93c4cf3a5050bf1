"""`cdn-issuer run`: the controller, as it runs in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import uvloop

from issuer import __version__
from issuer.api.duration import human
from issuer.cli.environment import Command
from issuer.cli.parameters import Address, ListenAddress, Namespace, ObjectName, Seconds
from issuer.controllers.program import Options, Program
from issuer.kube.backoff import Backoff
from issuer.kube.client import KubeClient
from issuer.kube.errors import KubeError, LeaseLostError
from issuer.observe import logs
from issuer.observe.metrics import Metrics
from issuer.observe.server import ListenError, ObserveServer

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE: Final = "cdn-issuer-system"
ALIASES: Final = {
    "--leader-election-namespace": "--lease-namespace",
    "--leader-election-lease-duration": "--lease-duration",
    "--leader-election-renew-deadline": "--renew-deadline",
    "--leader-election-retry-period": "--retry-period",
    "--metrics-bind-address": "--listen",
}
"""What cert-manager or controller-runtime call an option, and our name of it."""
LOOP_FACTORY: Final = uvloop.new_event_loop
"""The event loop that the controller runs on, and with it each test that drives the controller."""

log = logs.get_logger(__name__)


def own_namespace() -> str:
    """The namespace this pod runs in; `cdn-issuer-system` outside a cluster."""
    with contextlib.suppress(OSError):
        return NAMESPACE_FILE.read_text().strip() or DEFAULT_NAMESPACE
    return DEFAULT_NAMESPACE


@click.command(
    "run",
    cls=Command,
    aliases=ALIASES,
    short_help="Run the controller.",
    epilog="Names of cert-manager and controller-runtime work too: "
    + ", ".join(f"{alias} for {name}" for alias, name in ALIASES.items())
    + ".",
    context_settings={"show_default": True},
)
@click.option(
    "--kubeconfig", type=click.Path(), default=None, help="Kubeconfig file; without it, the pod's own account."
)
@click.option("--context", default=None, help="Context of the kubeconfig; without it, its current one.")
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    type=Namespace(),
    multiple=True,
    help="Serve this namespace only; may be repeated. In the environment, with commas.",
)
@click.option(
    "--cluster-issuers/--no-cluster-issuers", default=True, help="Serve CDNClusterIssuers (needs cluster-wide rights)."
)
@click.option(
    "--cluster-resource-namespace",
    type=Namespace(),
    default=own_namespace,
    show_default="the pod's namespace",
    help="Where the Secrets of CDNClusterIssuers are.",
)
@click.option(
    "--recovery/--no-recovery",
    default=True,
    help="Issue Certificates again whose requests failed in an outage, once an authority signs.",
)
@click.option(
    "--failback/--no-failback",
    default=True,
    help="Issue Certificates again that a draining authority signed, or a later one where spec.failback says so.",
)
@click.option(
    "--issuer-refs/--no-issuer-refs",
    default=True,
    help="Ask other issuers of the cluster (authorities of kind issuerRef), by CertificateRequests.",
)
@click.option(
    "--certificate-signing-requests/--no-certificate-signing-requests",
    default=False,
    help="Serve CertificateSigningRequests of Kubernetes too, with signers cdnissuers.cdn-issuer.io/NAMESPACE.NAME and "
    "cdnclusterissuers.cdn-issuer.io/NAME (needs cluster-wide rights).",
)
@click.option("--leader-elect/--no-leader-elect", default=True, help="Work only while holding the Lease.")
@click.option(
    "--lease-namespace",
    type=Namespace(),
    default=own_namespace,
    show_default="the pod's namespace",
    help="Namespace of the Lease.",
)
@click.option("--lease-name", type=ObjectName(), default="cdn-issuer", help="Name of the Lease.")
@click.option(
    "--lease-duration",
    type=Seconds(),
    default="15s",
    help="Time after which a silent leader is replaced.",
)
@click.option(
    "--renew-deadline",
    type=Seconds(),
    default="10s",
    help="Time after which a leader that cannot renew the Lease gives up; less than --lease-duration.",
)
@click.option(
    "--retry-period",
    type=Seconds(),
    default="2s",
    help="Time between two tries to get or renew the Lease; less than --renew-deadline.",
)
@click.option(
    "--identity",
    default=None,
    show_default="host name, process id and a random part",
    help="Name of this process in the Lease; no two may have the same.",
)
@click.option("--kube-api-timeout", type=Seconds(), default="10s", help="Time that a call to the API server may take.")
@click.option("--kube-api-qps", type=click.FloatRange(min=0), default=0.0, help="Calls a second to it; 0 for no limit.")
@click.option(
    "--cleanup/--no-cleanup",
    default=True,
    help="Delete failed CertificateRequests that nobody needs any more; needs the right to delete them.",
)
@click.option(
    "--rehearsals/--no-rehearsals", default=True, help="Rehearse the authorities of issuers that have spec.rehearsal."
)
@click.option(
    "--certificate-health/--no-certificate-health",
    default=True,
    help="Watch Certificates for what is wrong with them; needs the rights to list and watch them.",
)
@click.option(
    "--grace",
    type=Seconds(),
    default="25s",
    help="Time that a clean stop may take to deliver what was signed; keep it below the pod's "
    "terminationGracePeriodSeconds (30 unless given).",
)
@click.option(
    "--listen",
    type=ListenAddress(),
    default=":8080",
    help="Address of /healthz, /readyz and /metrics, as HOST:PORT, [IPV6]:PORT or :PORT; without a host, all of IPv4 "
    "and IPv6.",
)
@click.option(
    "--log-format", type=click.Choice(["json", "console"]), default="json", help="Log lines for machines or for people."
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", help="Minimum level."
)
@click.option(
    "--allow-insecure-endpoints", is_flag=True, help="Let authorities be reached over plain http (tests only)."
)
def run(**flags: Any) -> None:
    r"""Run the controller.

    \b
    Examples:
      cdn-issuer run                                     in a pod, for the whole cluster
      cdn-issuer run --kubeconfig ~/.kube/config -n web  from a desk, for one namespace
      cdn-issuer run --lease-duration 1m --renew-deadline 40s --retry-period 5s
      CDN_ISSUER_RUN_NAMESPACE=web,shop cdn-issuer run   options from the environment

    Durations are as in a CDNIssuer: 15s, 500ms, 1m30s; a number alone is seconds.
    """
    _check_times(flags["retry_period"], flags["renew_deadline"], flags["lease_duration"])
    if flags["certificate_signing_requests"] and flags["namespaces"]:
        raise click.UsageError(
            "--certificate-signing-requests and --namespace exclude each other: CertificateSigningRequests are in no "
            "namespace, and serving them takes rights on the whole cluster"
        )
    logs.configure(flags["log_format"], flags["log_level"])
    spare_the_collector()
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        sys.exit(runner.run(_run(flags)))


async def _run(flags: dict[str, Any]) -> int:
    """The exit code: 0 after a clean stop, 1 when the Lease was lost or something could not start."""
    stop = asyncio.Event()
    _on_signals(stop.set)
    options = _options(flags)
    metrics = Metrics()
    try:
        client = await KubeClient.connect(
            flags["kubeconfig"],
            flags["context"],
            timeout=flags["kube_api_timeout"],
            rate=flags["kube_api_qps"] or None,
            observer=metrics.api_call,
        )
    except KubeError as error:
        log.error("no Kubernetes API", error=str(error))  # noqa: TRY400 - a traceback says no more
        return 1
    program = Program(client, metrics, options)
    client.guard = program.may_write
    listen: Address = flags["listen"]
    server = ObserveServer(listen.host, listen.port, metrics, healthy=program.trouble, ready=program.unready)
    try:
        await server.start()
        log.info("starting", version=__version__, api=client.url, **_starting(flags, options))
        if await _reached(client, stop):
            await program.run(stop)
    except ListenError as error:
        log.error("cannot listen", error=str(error))  # noqa: TRY400
        return 1
    except LeaseLostError as error:
        log.error("lease lost, leaving the work to another replica", error=str(error))  # noqa: TRY400
        return 1
    finally:
        await server.stop()
        await program.transport.aclose()
        await client.close()
    log.info("stopped")
    return 0


async def _reached(client: KubeClient, stop: asyncio.Event) -> bool:
    """Wait until the API server answers; False if the process is to stop before.

    A process that ended instead would be started again ever later, and be missing for minutes once the API server is
    back.
    """
    backoff, complaint = Backoff(0.5, 15.0, random.Random()), ""
    while not stop.is_set():
        try:
            await client.reach()
        except KubeError as error:
            if str(error) != complaint:
                complaint = str(error)
                log.error("no Kubernetes API, waiting for it", url=client.url, error=complaint)  # noqa: TRY400
        else:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.next()):
                await stop.wait()
    return False


def _check_times(retry_period: float, renew_deadline: float, lease_duration: float) -> None:
    """A leader must have given up before it is replaced, and be able to try more than once before it gives up.

    Raises:
        click.UsageError: the times of the Lease do not allow that.
    """
    if not retry_period < renew_deadline < lease_duration:
        raise click.UsageError(
            f"--retry-period ({human(retry_period)}) must be less than --renew-deadline ({human(renew_deadline)}), "
            f"and that less than --lease-duration ({human(lease_duration)})"
        )


def spare_the_collector() -> None:
    """Have the garbage collector leave alone what stays for ever, and look at the rest a little at a time.

    A full collection walks every module and every cached request; by default bursts of requests set off several a
    second, each long enough to be late for the next call. One of the middle generation walks what has come since the
    last, here 50,000 objects at the most, in some 40 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 1_000)


def _options(flags: dict[str, Any]) -> Options:
    return Options(
        namespaces=flags["namespaces"],
        cluster_issuers=flags["cluster_issuers"],
        cluster_resource_namespace=flags["cluster_resource_namespace"],
        leader_election=flags["leader_elect"],
        recovery=flags["recovery"],
        failback=flags["failback"],
        issuer_refs=flags["issuer_refs"],
        cleanup=flags["cleanup"],
        certificate_signing_requests=flags["certificate_signing_requests"],
        lease_namespace=flags["lease_namespace"],
        lease_name=flags["lease_name"],
        lease_duration=flags["lease_duration"],
        renew_deadline=flags["renew_deadline"],
        retry_period=flags["retry_period"],
        identity=flags["identity"] or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
        grace=flags["grace"],
        allow_insecure_endpoints=flags["allow_insecure_endpoints"],
        rehearsals=flags["rehearsals"],
        certificate_health=flags["certificate_health"],
    )


def _starting(flags: dict[str, Any], options: Options) -> dict[str, object]:
    """What the first line of the log says of how this process runs."""
    listen: Address = flags["listen"]
    return {
        "scope": "namespaces" if options.namespaces else "cluster",
        "namespaces": list(options.namespaces) or None,
        "cluster_issuers": options.cluster_issuers,
        "cluster_resource_namespace": options.cluster_resource_namespace,
        "recovery": options.recovery,
        "failback": options.failback,
        "issuer_refs": options.issuer_refs,
        "cleanup": options.cleanup,
        "certificate_signing_requests": options.certificate_signing_requests,
        "rehearsals": options.rehearsals,
        "certificate_health": options.certificate_health,
        "listen": f"[{listen.host}]:{listen.port}" if ":" in listen.host else f"{listen.host}:{listen.port}",
        "identity": options.identity,
        "lease": f"{options.lease_namespace}/{options.lease_name}" if options.leader_election else None,
    }


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
