"""A control plane of the tests' own: etcd and kube-apiserver on loopback, data in memory, RBAC on.

One a test session; it is up in about three seconds. Everything in it is made by hand that a cluster would make by
itself: ServiceAccounts come from manifests, tokens from the TokenRequest API. There is no controller manager unless a
test starts one, so nothing collects owned objects and no namespace is ever deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.controlplane.process import Server, ServerError, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

Manifest = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[2]
START_TIMEOUT: Final = 60.0
PREFIX: Final = "cdn-issuer-plane-"
AUDIT_LOG: Final = "audit.log"
MERGE: Final = "application/merge-patch+json"

_PLURALS: Final = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "CustomResourceDefinition": "customresourcedefinitions",
    "Lease": "leases",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "ServiceAccount": "serviceaccounts",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "Ingress": "ingresses",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
}
_CLUSTER_SCOPED: Final = frozenset(
    {
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Namespace",
        "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "CDNClusterIssuer",
        "ClusterIssuer",
    }
)


TRIES: Final = 10
"""Consecutive conflicts that are answered by reading again: controllers write to the same objects."""


class RefusedError(Exception):
    """The API server answered with an error."""

    def __init__(self, method: str, path: str, answer: httpx.Response) -> None:
        super().__init__(f"{method} {path}: HTTP {answer.status_code}: {answer.text[:2000]}")
        self.status = answer.status_code


class ControlPlane:
    """etcd and kube-apiserver; use it with `with`.

    Calls to it block: it is another process, and a test that asks it something waits for nothing else.

    Args:
        binaries: the folder that `make control-plane` prints.
        keep_logs_in: where the logs go if `failed` is set in the end, or it does not start.
        audited: the API server writes down each call that ServiceAccounts make; see `audit`.

    Attributes:
        failed: a test has failed, so the logs are worth keeping.
        is_warm: each of our kinds has been made once, see `RealCluster.start`.
    """

    def __init__(self, binaries: Path, *, keep_logs_in: Path | None = None, audited: bool = False) -> None:
        self.binaries = binaries
        self._audited = audited
        self.failed = False
        self.is_warm = False
        self._keep_logs_in = keep_logs_in
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(_memory_folder())
            stack.push(self._keep_logs)
            self._write_keys()
            etcd_port, self.port = free_port(), free_port()
            self.etcd_url = f"http://127.0.0.1:{etcd_port}"
            self.url = f"https://127.0.0.1:{self.port}"
            self.etcd = Server(self._etcd_command(), self.folder / "etcd.log")
            stack.callback(self.etcd.kill)
            self.etcd.start()
            self.apiserver = Server(self._apiserver_command(), self.folder / "kube-apiserver.log")
            stack.callback(self.apiserver.kill)
            self._client = stack.enter_context(
                httpx.Client(
                    base_url=self.url,
                    verify=self.ssl_context(),
                    headers={"Authorization": f"Bearer {self.admin_token}"},
                    timeout=20,
                )
            )
            self.start_apiserver()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.failed |= exc_type is not None
        self._stack.close()

    def start_apiserver(self) -> None:
        """Start the API server, or start it again on the same etcd, and wait until it works."""
        self.apiserver.start()
        self.apiserver.wait_until(self._is_up, START_TIMEOUT)

    def _is_up(self) -> bool:
        """As `is_ready`, but an etcd that has ended is told by its own words, not by those of who misses it."""
        self.etcd.check()
        return self.is_ready()

    def audit(self, user: str) -> list[Manifest]:
        """The calls of a user that have been answered (audit.k8s.io/v1 Event), of an API server that is `audited`."""
        lines = (self.folder / AUDIT_LOG).read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["user"]["username"] == user]

    def is_ready(self) -> bool:
        """Whether the API server answers and its first objects are there."""
        with contextlib.suppress(httpx.HTTPError):
            return self._client.get("/readyz", timeout=2).status_code == httpx.codes.OK
        return False

    def ssl_context(self) -> Any:
        """For clients that verify the API server."""
        import ssl

        return ssl.create_default_context(cafile=str(self.ca_file))

    # What can be asked of it.

    def call(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", token: str = ""
    ) -> httpx.Response:
        """One call as an admin, or with another token; any answer is returned."""
        headers = {"Content-Type": content_type}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self._client.request(method, path, json=body, headers=headers)

    def ask(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Manifest:
        """One call as an admin that has to succeed.

        A "429 Too Many Requests" is waited for: a new CRD's storage is being set up.

        Raises:
            RefusedError: it did not.
        """
        end = time.monotonic() + START_TIMEOUT
        while True:
            answer = self.call(method, path, body, content_type=content_type)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS or time.monotonic() > end:
                break
            time.sleep(0.1)
        if answer.is_error:
            raise RefusedError(method, path, answer)
        found: Manifest = answer.json()
        return found

    def apply(self, manifest: Manifest) -> Manifest:
        """Create an object, or replace what there is of that name, also where somebody else writes to it meanwhile."""
        path = path_of(manifest)
        collection, _, name = path.rpartition("/")
        for _ in range(TRIES):
            old = self.call("GET", path)
            if old.status_code == httpx.codes.NOT_FOUND:
                return self.ask("POST", collection, manifest)
            version = old.json()["metadata"]["resourceVersion"]
            metadata = {**manifest["metadata"], "name": name, "resourceVersion": version}
            try:
                return self.ask("PUT", path, {**manifest, "metadata": metadata})
            except RefusedError as error:
                # Changed meanwhile, or gone: one that is being deleted may be there for a moment yet.
                if error.status not in (httpx.codes.CONFLICT, httpx.codes.NOT_FOUND):
                    raise
        raise TimeoutError(f"{path} is written to all the time")

    def apply_all(self, manifests: Iterable[Manifest]) -> None:
        """Apply objects in their order, and wait until CRDs are served."""
        crds = []
        for manifest in manifests:
            self.apply(manifest)
            if manifest["kind"] == "CustomResourceDefinition":
                crds.append(manifest)
        for crd in crds:
            self.wait_served(crd)

    def wait_served(self, crd: Manifest) -> None:
        """Wait until the objects of a CRD can be listed.

        Raises:
            ServerError: they cannot, within a minute.
        """
        spec = crd["spec"]
        version = next(v["name"] for v in spec["versions"] if v.get("served", True))
        path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
        end = time.monotonic() + START_TIMEOUT
        while self.call("GET", f"{path}?limit=1").is_error:
            if time.monotonic() > end:
                raise ServerError(f"{path} is not served after {START_TIMEOUT:.0f} s")
            time.sleep(0.05)

    def token(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """A token of a ServiceAccount (TokenRequest API)."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        answer = self.ask("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body)
        token: str = answer["status"]["token"]
        return token

    def kubeconfig(self, name: str, token: str, *, url: str = "") -> Path:
        """A kubeconfig file for a token, kept in a file beside it as in a pod; with the URL of a proxy if one is given.

        What is written to `NAME.token` later is the new token.
        """
        token_file = self.folder / f"{name}.token"
        token_file.write_text(token)
        cluster: Manifest = {"server": url or self.url}
        if cluster["server"].startswith("https"):
            cluster["certificate-authority"] = str(self.ca_file)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"tokenFile": str(token_file)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path

    def compact(self) -> None:
        """Have etcd forget all but the present, as the API server has it do every five minutes."""
        status = httpx.post(f"{self.etcd_url}/v3/maintenance/status", json={}, timeout=10).raise_for_status().json()
        revision = status["header"]["revision"]
        body = {"revision": revision, "physical": True}
        httpx.post(f"{self.etcd_url}/v3/kv/compaction", json=body, timeout=30).raise_for_status()

    def _write_keys(self) -> None:
        self.ca = trustme.CA()
        self.ca_file = self.folder / "ca.crt"
        self.ca.cert_pem.write_to_path(self.ca_file)
        serving = self.ca.issue_cert("127.0.0.1", "localhost")
        serving.private_key_and_cert_chain_pem.write_to_path(self.folder / "serving.pem")
        accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (self.folder / "accounts.key").write_bytes(
            accounts.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.admin_token = secrets.token_hex(16)
        (self.folder / "tokens.csv").write_text(f'{self.admin_token},admin,admin,"system:masters"\n')

    def _etcd_command(self) -> list[str | Path]:
        return [
            self.binaries / "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
            "--unsafe-no-fsync",
        ]

    def _apiserver_command(self) -> list[str | Path]:
        return [
            self.binaries / "kube-apiserver",
            f"--etcd-servers={self.etcd_url}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--tls-cert-file={self.folder / 'serving.pem'}",
            f"--tls-private-key-file={self.folder / 'serving.pem'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            f"--service-account-key-file={self.folder / 'accounts.key'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",  # no controller makes the default account of a namespace
            *(self._audit_flags() if self._audited else ()),
        ]

    def _audit_flags(self) -> list[str]:
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
        }
        path = self.folder / "audit-policy.yaml"
        path.write_text(yaml.safe_dump(policy))
        return [f"--audit-policy-file={path}", f"--audit-log-path={self.folder / AUDIT_LOG}"]

    def _keep_logs(self, exc_type: type[BaseException] | None, *_: object) -> None:
        """Called when all is over, or with the error that came before all was there."""
        if not (self.failed or exc_type) or self._keep_logs_in is None:
            return
        self._keep_logs_in.mkdir(parents=True, exist_ok=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, self._keep_logs_in)


def path_of(manifest: Manifest) -> str:
    """The path of an object, as its manifest names it."""
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = "" if kind in _CLUSTER_SCOPED else f"/namespaces/{metadata.get('namespace', 'default')}"
    return f"{prefix}{namespace}/{plural}/{metadata['name']}"


def documents(*paths: Path) -> list[Manifest]:
    """All documents of some YAML files."""
    return [document for path in paths for document in yaml.safe_load_all(path.read_text()) if document]


@contextlib.contextmanager
def _memory_folder() -> Iterator[Path]:
    """A folder in memory where there is such a thing; what a killed session left behind goes first."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    for left in base.glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
