"""How to reach the API server: its address, TLS, and a credential that is renewed while the program runs.

kubernetes-asyncio reads the configuration (kubeconfig with client certificates, tokens, exec plugins and auth
providers, or the files of a pod). Importing any part of it imports its 800 models, 40 MB that stay for ever, so it is
imported only where there is something to read: never for the sandbox's plain address.

A credential is read again every minute and when the server answers 401, because a pod's token file is replaced on disk
about once an hour and an exec plugin's token ends when it ends.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import structlog

from issuer.kube.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

log = structlog.get_logger(__name__)

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token and the cluster's CA."""
REFRESH: Final = 60.0
"""Seconds after which a credential is read again."""
RETRY: Final = 5.0
"""Seconds between two readings at the least, however many calls are refused."""
LOAD_TIMEOUT: Final = 30.0
"""Seconds that reading a credential may take; an exec plugin may wait for a network."""


class Access:
    """An address and what is needed to be let in.

    Attributes:
        url: of the API server, without a slash at the end.
        ssl: verifies the server and carries the client certificate, if there is one; None for plain http.
        server_hostname: the name to expect in the server's certificate, if it is not the address.
        proxy: URL of a proxy named in the kubeconfig.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        proxy: str | None = None,
        token: str | None = None,
        load: Callable[[], Awaitable[str | None]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self.ssl = ssl
        self.server_hostname = server_hostname
        self.proxy = proxy
        self._token = token
        self._load = load
        self._monotonic = monotonic
        self._loaded_at = monotonic()
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Access({self.url!r})"

    async def authorization(self) -> str | None:
        """The value of the Authorization header; None if there is none. Never raises: an old one may still do."""
        if self._load is not None and self._monotonic() - self._loaded_at >= REFRESH:
            async with self._lock:
                if self._monotonic() - self._loaded_at >= REFRESH:
                    await self._reload()
        return self._token

    async def renew(self, refused: str | None) -> bool:
        """Look for a newer credential than the one that was refused; whether there is one."""
        async with self._lock:
            if self._token == refused and self._load is not None and self._monotonic() - self._loaded_at >= RETRY:
                await self._reload()
            return self._token != refused

    async def _reload(self) -> None:
        assert self._load is not None
        self._loaded_at = self._monotonic()
        try:
            async with asyncio.timeout(LOAD_TIMEOUT):
                self._token = await self._load()
        except (ConfigurationError, TimeoutError) as error:
            log.warning("the credential for the Kubernetes API could not be read again", error=str(error) or "timeout")


async def locate(
    kubeconfig: str | None,
    context: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
    monotonic: Callable[[], float] = time.monotonic,
) -> Access:
    """Find the API server as kubectl and a pod do.

    A kubeconfig or context that was asked for comes first, then `$KUBECONFIG`, then the pod's own files, then
    `~/.kube/config`.

    Raises:
        ConfigurationError: there is none, or it is nonsense.
    """
    in_pod = "KUBERNETES_SERVICE_HOST" in environ and (service_account / "token").is_file()
    if not (kubeconfig or context or environ.get("KUBECONFIG")) and in_pod:
        return await _from_pod(environ, service_account, monotonic)
    path = kubeconfig or environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return await _from_kubeconfig(path, context, monotonic)


async def _from_pod(environ: Mapping[str, str], files: Path, monotonic: Callable[[], float]) -> Access:
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415 - 40 MB, see above
    from kubernetes_asyncio.config import load_incluster_config  # noqa: PLC0415

    configuration = Configuration()

    async def load() -> str | None:
        def read() -> None:
            load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration,
                try_refresh_token=False,
                token_filename=str(files / "token"),
                cert_filename=str(files / "ca.crt"),
                environ=environ,
            )

        await _checked(asyncio.to_thread(read))
        return _token_of(configuration)

    return _access(configuration, await load(), load, monotonic)


async def _from_kubeconfig(path: str, context: str | None, monotonic: Callable[[], float]) -> Access:
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415 - 40 MB, see above
    from kubernetes_asyncio.config import load_kube_config  # noqa: PLC0415

    if not _exists(path):
        raise ConfigurationError(f"no kubeconfig at {path}, and this is no pod: give --kubeconfig or $KUBECONFIG")
    configuration = Configuration()
    async with asyncio.timeout(LOAD_TIMEOUT):
        loader = await _checked(
            load_kube_config(
                config_file=path, context=context, client_configuration=configuration, persist_config=False
            )
        )

    async def load() -> str | None:
        await _checked(loader.load_and_set(configuration))
        return _token_of(configuration)

    return _access(configuration, _token_of(configuration), load, monotonic)


def _exists(path: str) -> bool:
    """Whether there is a file at one of the paths, which `$KUBECONFIG` separates as `$PATH` does."""
    return any(Path(part).expanduser().is_file() for part in path.split(os.pathsep) if part)


async def _checked(loading: Awaitable[Any]) -> Any:
    """The library asserts, subscripts None and lets YAML's errors through; make one kind of error of them all."""
    try:
        return await loading
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - see the docstring
        raise ConfigurationError(
            f"the Kubernetes configuration is not usable: {type(error).__name__}: {error}"
        ) from None


def _token_of(configuration: Any) -> str | None:
    token: str | None = configuration.api_key.get("BearerToken")
    # A token file that ends with a newline would make an invalid header.
    return token.strip() if token else None


def _access(
    configuration: Any,
    token: str | None,
    load: Callable[[], Awaitable[str | None]],
    monotonic: Callable[[], float],
) -> Access:
    url: str = configuration.host
    try:
        context = _tls(configuration) if url.startswith("https") else None
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"TLS material of the Kubernetes configuration is not usable: {error}") from None
    return Access(
        url,
        ssl=context,
        server_hostname=configuration.tls_server_name,
        proxy=configuration.proxy or environment_proxy(url),
        token=token,
        load=load,
        monotonic=monotonic,
    )


def environment_proxy(url: str) -> str | None:
    """The proxy that the usual environment variables (`HTTPS_PROXY`, `NO_PROXY`, ...) name for a URL, or None."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    return None if proxy is None or proxy_bypass(parts.netloc) else proxy


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # From Python 3.13 on this flag is on, and refuses the CAs of many clusters, which have no key identifiers.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def namespace_of(
    kubeconfig: str | None,
    context: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> str:
    """The namespace that kubectl would look at: that of the context, or of the pod, or `default`.

    Raises:
        ConfigurationError: there is a kubeconfig, and it is nonsense, or has no such context.
    """
    in_pod = "KUBERNETES_SERVICE_HOST" in environ and (service_account / "token").is_file()
    if not (kubeconfig or context or environ.get("KUBECONFIG")) and in_pod:
        file = service_account / "namespace"
        return (file.read_text().strip() if file.is_file() else "") or "default"
    path = kubeconfig or environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not _exists(path):
        raise ConfigurationError(f"no kubeconfig at {path}, and this is no pod: give --kubeconfig or $KUBECONFIG")
    from kubernetes_asyncio.config.kube_config import KubeConfigMerger  # noqa: PLC0415 - 40 MB, see above

    try:
        # Not the library's list of contexts: it refuses a kubeconfig without a current one, where --context names one.
        found = _plain(KubeConfigMerger(path).config)
        contexts = {one["name"]: one.get("context") or {} for one in found.get("contexts") or ()}
        namespaces = {name: str(one.get("namespace") or "default") for name, one in contexts.items()}
        name: str = context or found.get("current-context") or ""
    except Exception as error:  # noqa: BLE001 - as in `_checked`
        raise ConfigurationError(
            f"the Kubernetes configuration is not usable: {type(error).__name__}: {error}"
        ) from None
    if not namespaces:
        raise ConfigurationError(f"the kubeconfig {path} has no contexts")
    if not name:
        raise ConfigurationError(f"the kubeconfig has no current context: give --context, of {', '.join(namespaces)}")
    if name not in namespaces:
        raise ConfigurationError(f"the kubeconfig has no context {name}; it has {', '.join(namespaces)}")
    return namespaces[name]


def _plain(node: Any) -> Any:
    """A part of a kubeconfig without the library's wrappers."""
    value = getattr(node, "value", node)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
