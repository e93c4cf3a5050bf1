"""Where the API server is, and which credential opens it: kubeconfigs and pods."""

from __future__ import annotations

import json
import ssl
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml
from aiohttp import web

from issuer.kube.access import Access, locate, namespace_of
from issuer.kube.client import KubeClient
from issuer.kube.errors import ConfigurationError, UnreachableError
from issuer.kube.resource import SECRETS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def tls_server(ca: trustme.CA, *names: str, client_certificates: bool = False) -> AsyncIterator[int]:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peercert") or {}
        return web.json_response({"authorization": request.headers.get("Authorization"), "peer": bool(peer)})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    if client_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def pod(tmp_path: Path, ca: trustme.CA, token: str) -> Path:
    files = tmp_path / "serviceaccount"
    files.mkdir()
    (files / "token").write_text(token)
    ca.cert_pem.write_to_path(files / "ca.crt")
    return files


def kubeconfig(tmp_path: Path, port: int, user: dict[str, Any], **cluster: Any) -> str:
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "one",
                "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}", **cluster}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [
                    {"name": "one", "context": {"cluster": "c", "user": "u"}},
                    {"name": "two", "context": {"cluster": "c", "user": "nobody"}},
                ],
            }
        )
    )
    return str(path)


def ca_file(tmp_path: Path, ca: trustme.CA) -> str:
    path = tmp_path / "ca.crt"
    ca.cert_pem.write_to_path(path)
    return str(path)


async def seen_by(access: Access) -> dict[str, Any]:
    async with KubeClient(access) as client:
        seen: dict[str, Any] = json.loads(await client.get(SECRETS, "ns", "name"))
        return seen


async def test_a_pod_uses_its_own_files_and_picks_up_a_token_replaced_on_disk(tmp_path: Path, ca: trustme.CA) -> None:
    files, clock = pod(tmp_path, ca, "first\n"), Clock()
    async with tls_server(ca) as port:
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
        access = await locate(None, None, environ=environ, service_account=files, monotonic=clock)
        assert (await seen_by(access))["authorization"] == "Bearer first"
        (files / "token").write_text("second")
        assert (await seen_by(access))["authorization"] == "Bearer first"
        clock.now += 61
        assert (await seen_by(access))["authorization"] == "Bearer second"


async def test_a_token_file_that_cannot_be_read_for_a_while_leaves_the_old_token(
    tmp_path: Path, ca: trustme.CA
) -> None:
    files, clock = pod(tmp_path, ca, "first"), Clock()
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    access = await locate(None, None, environ=environ, service_account=files, monotonic=clock)
    (files / "token").unlink()
    clock.now += 61
    assert await access.authorization() == "Bearer first"
    (files / "token").write_text("second")
    clock.now += 61
    assert await access.authorization() == "Bearer second"


async def test_a_refused_credential_is_read_again_at_once_but_not_in_a_storm(tmp_path: Path, ca: trustme.CA) -> None:
    files, clock = pod(tmp_path, ca, "first"), Clock()
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    access = await locate(None, None, environ=environ, service_account=files, monotonic=clock)
    clock.now += 6
    assert not await access.renew("Bearer first")
    (files / "token").write_text("second")
    assert not await access.renew("Bearer first")
    clock.now += 6
    assert await access.renew("Bearer first")
    assert await access.authorization() == "Bearer second"


async def test_a_kubeconfig_comes_before_the_pods_files_if_it_was_asked_for(tmp_path: Path, ca: trustme.CA) -> None:
    files = pod(tmp_path, ca, "of-the-pod")
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    path = kubeconfig(tmp_path, 2, {"token": "of-the-file"}, **{"certificate-authority": ca_file(tmp_path, ca)})
    asked = await locate(path, None, environ=environ, service_account=files)
    assert await asked.authorization() == "Bearer of-the-file"
    named = await locate(None, None, environ={**environ, "KUBECONFIG": path}, service_account=files)
    assert await named.authorization() == "Bearer of-the-file"
    neither = await locate(None, None, environ=environ, service_account=files)
    assert await neither.authorization() == "Bearer of-the-pod"


async def test_another_context_of_the_kubeconfig_can_be_asked_for(tmp_path: Path, ca: trustme.CA) -> None:
    path = kubeconfig(tmp_path, 2, {"token": "t"})
    (tmp_path / "config").write_text((tmp_path / "config").read_text().replace("https:", "http:"))
    assert await (await locate(path, "one", environ={})).authorization() == "Bearer t"
    assert await (await locate(path, "two", environ={})).authorization() is None
    with pytest.raises(ConfigurationError):
        await locate(path, "three", environ={})


async def test_a_client_certificate_of_a_kubeconfig_is_shown_to_the_server(tmp_path: Path, ca: trustme.CA) -> None:
    certificate = ca.issue_cert("me@example.org")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    async with tls_server(ca, client_certificates=True) as port:
        path = kubeconfig(
            tmp_path,
            port,
            {"client-certificate": str(tmp_path / "cert.pem"), "client-key": str(tmp_path / "key.pem")},
            **{"certificate-authority": ca_file(tmp_path, ca)},
        )
        assert (await seen_by(await locate(path, None, environ={})))["peer"] is True


async def test_a_server_of_another_ca_is_not_talked_to(tmp_path: Path, ca: trustme.CA) -> None:
    async with tls_server(trustme.CA()) as port:
        path = kubeconfig(tmp_path, port, {"token": "t"}, **{"certificate-authority": ca_file(tmp_path, ca)})
        with pytest.raises(UnreachableError) as caught:
            await seen_by(await locate(path, None, environ={}))
        assert not caught.value.sent
        trusting = kubeconfig(tmp_path, port, {"token": "t"}, **{"insecure-skip-tls-verify": True})
        assert (await seen_by(await locate(trusting, None, environ={})))["authorization"] == "Bearer t"


async def test_the_name_in_the_servers_certificate_can_differ_from_its_address(tmp_path: Path, ca: trustme.CA) -> None:
    async with tls_server(ca, "kubernetes.example.org") as port:
        authority = {"certificate-authority": ca_file(tmp_path, ca)}
        with pytest.raises(UnreachableError):
            await seen_by(await locate(kubeconfig(tmp_path, port, {"token": "t"}, **authority), None, environ={}))
        path = kubeconfig(tmp_path, port, {"token": "t"}, **authority, **{"tls-server-name": "kubernetes.example.org"})
        await seen_by(await locate(path, None, environ={}))


async def test_an_exec_plugin_is_asked_again_when_its_token_may_have_ended(tmp_path: Path, ca: trustme.CA) -> None:
    (tmp_path / "token").write_text("one")
    plugin = (
        "import json, pathlib; print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', "
        "'kind': 'ExecCredential', 'status': {'token': "
        f"pathlib.Path({str(tmp_path / 'token')!r}).read_text()}}}}))"
    )
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": ["-c", plugin],
        }
    }
    clock = Clock()
    path = kubeconfig(tmp_path, 1, user, **{"certificate-authority": ca_file(tmp_path, ca)})
    access = await locate(path, None, environ={}, monotonic=clock)
    assert await access.authorization() == "Bearer one"
    (tmp_path / "token").write_text("two")
    clock.now += 61
    assert await access.authorization() == "Bearer two"


@pytest.mark.parametrize("text", ["", "[]", "nonsense: [", "clusters: []\nusers: []\ncontexts: []\n", "a: b\n"])
async def test_a_broken_kubeconfig_is_a_configuration_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(ConfigurationError):
        await locate(str(tmp_path / "config"), None, environ={})


async def test_no_configuration_at_all_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give --kubeconfig"):
        await locate(str(tmp_path / "nothing"), None, environ={}, service_account=tmp_path)


async def test_connect_takes_the_clients_options(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, 1, {"token": "t"}, **{"insecure-skip-tls-verify": True})
    client = await KubeClient.connect(path, None, timeout=1.0, rate=None)
    assert client.url == "https://127.0.0.1:1"
    await client.close()


def test_an_access_does_not_show_its_token() -> None:
    assert "secret" not in repr(Access("http://x/", token="Bearer secret"))


@pytest.mark.parametrize(("written", "namespace"), [("shop", "shop"), (None, "default"), ("", "default")])
def test_the_namespace_is_that_of_the_context(written: str | None, namespace: str, tmp_path: Path) -> None:
    context = {"cluster": "c", "user": "u", **({"namespace": written} if written is not None else {})}
    file = tmp_path / "config"
    content = {"current-context": "a", "contexts": [{"name": "a", "context": context}], "clusters": [], "users": []}
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    assert namespace_of(str(file), None, environ={}) == namespace
    assert namespace_of(None, "a", environ={"KUBECONFIG": str(file)}) == namespace
    with pytest.raises(ConfigurationError, match="has no context b; it has a"):
        namespace_of(str(file), "b", environ={})
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content, "current-context": ""}))
    assert namespace_of(str(file), "a", environ={}) == namespace
    with pytest.raises(ConfigurationError, match="has no current context: give --context, of a"):
        namespace_of(str(file), None, environ={})


@pytest.mark.parametrize(("written", "namespace"), [("shop\n", "shop"), (None, "default")])
def test_the_namespace_in_a_pod_is_its_own(written: str | None, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    if written is not None:
        (tmp_path / "namespace").write_text(written)
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert namespace_of(None, None, environ=pod, service_account=tmp_path) == namespace
