"""`cdn-issuer sign`: one CSR by an issuer's file, without a cluster."""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import yaml
from click.testing import CliRunner
from cryptography import x509

from issuer.cli.main import main
from issuer.cli.stage import TOKEN
from issuer.sandbox import objects
from issuer.sandbox.cdn import MockCDN
from tests.component.harness import QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from click.testing import Result

CANARY = "canary-d41d8cd98f00b204"
"""A credential that nobody accepts, and that nothing may show."""


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command sets up logging for its process, and this one is that of all tests."""
    loggers = [
        logging.getLogger(name) for name in (None, "aiohttp", "asyncio", "httpcore", "httpx", "kubernetes_asyncio")
    ]
    levels, handlers = [one.level for one in loggers], loggers[0].handlers[:]
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
async def cdn() -> AsyncIterator[MockCDN]:
    async with MockCDN(tokens=[TOKEN], zones=["example.com"]) as cdn:
        yield cdn


def edge(cdn: MockCDN, **fields: Any) -> dict[str, Any]:
    reference = {"name": "cloudflare", "key": "token"}
    config = {"apiTokenSecretRef": reference, "endpoint": cdn.endpoint}
    return {"name": "edge", "cloudflare": config, "caBundle": cdn.roots_pem, **QUICK, **fields}


BACKUP: dict[str, Any] = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}


def token(value: str = TOKEN, **meta: str) -> dict[str, Any]:
    metadata = {"name": "cloudflare", **meta}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}}


def files(folder: Path, *documents: Any, name: str = "issuer.yaml") -> str:
    file = folder / name
    file.write_text(yaml.safe_dump_all(documents))
    return str(file)


def request(folder: Path, hostname: str = "www.example.com") -> str:
    file = folder / "request.csr"
    file.write_bytes(objects.signing_request([hostname]))
    return str(file)


async def call(*arguments: str, stdin: str | None = None) -> Result:
    """The command, in a thread of its own: the provider is on this loop."""
    line = ["sign", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, line, input=stdin)


def issuer(*authorities: Any, **fields: Any) -> dict[str, Any]:
    return objects.issuer("web", list(authorities), namespace="shop", **fields)


INSECURE = "--allow-insecure-endpoints"


async def test_the_certificate_is_on_stdout_and_who_signed_on_stderr(cdn: MockCDN, tmp_path: Path) -> None:
    file = files(tmp_path, issuer(edge(cdn)), token())
    result = await call("--issuer-file", file, INSECURE, request(tmp_path))
    assert result.exit_code == 0, result.output
    leaf = x509.load_pem_x509_certificates(result.stdout.encode())[0]
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ) == ["www.example.com"]
    assert result.stderr.startswith("signed by authority edge, valid for 7d until ")
    assert TOKEN not in result.output
    assert not any(one.revoked for one in cdn.certificates.values()), "it belongs to who asked for it"


async def test_the_next_authority_signs_and_it_is_said_why(cdn: MockCDN, tmp_path: Path) -> None:
    cdn.faults.set("unauthorized")
    file = files(tmp_path, issuer(edge(cdn), BACKUP), token(), objects.ca_secret("backup-ca", "shop"))
    out = tmp_path / "out.pem"
    result = await call("-f", file, INSECURE, request(tmp_path), "-o", str(out))
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    first, second = result.stderr.splitlines()
    assert first.startswith("not signed by authority edge: ")
    assert "HTTP 403" in first
    assert second.startswith("signed by authority backup, ")
    assert x509.load_pem_x509_certificates(out.read_bytes())


async def test_a_credential_that_is_refused_is_one_line_and_never_shown(cdn: MockCDN, tmp_path: Path) -> None:
    file = files(tmp_path, issuer(edge(cdn)))
    secret = token("", namespace="shop") | {"stringData": None, "data": {"token": base64.b64encode(CANARY.encode())}}
    secret["data"]["token"] = secret["data"]["token"].decode()
    listed = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [secret]})
    for debug in ([], ["--debug"]):
        result = await call("-f", file, "--secret-file", "-", INSECURE, request(tmp_path), *debug, stdin=listed)
        assert result.exit_code == 1
        told = result.stderr.splitlines()[-1]
        assert told.startswith("Error: not signed: edge: ")
        assert told.endswith(": put a credential that is accepted into the Secret")
        assert CANARY not in result.output
        assert base64.b64encode(CANARY.encode()).decode() not in result.output
        assert debug or len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ([], "Secret shop/cloudflare is in none of the files: add it to the issuer's file, or give it with"),
        ([token(CANARY, namespace="other")], "Secret shop/cloudflare is in none of the files"),
        ([token(CANARY), token(CANARY)], "Secret shop/cloudflare is there more than once: leave one of them out"),
        ([token() | {"stringData": {"token": 7}}], "Secret shop/cloudflare holds no text under the key 'token'"),
        ([token() | {"data": {"token": CANARY + "!"}, "stringData": None}], "holds something that is not base64"),
        ([token() | {"stringData": {"other": CANARY}}], "token"),
        ([token() | {"stringData": CANARY}], "has data that is no mapping of keys to values"),
    ],
)
async def test_a_secret_that_is_not_right_is_told_in_one_line(
    secret: list[Any], told: str, cdn: MockCDN, tmp_path: Path
) -> None:
    result = await call("-f", files(tmp_path, issuer(edge(cdn)), *secret), INSECURE, request(tmp_path))
    (line,) = result.output.splitlines()
    assert (result.exit_code, told in line) == (1, True), line
    assert CANARY not in line


async def test_a_cluster_issuer_takes_its_secret_from_any_namespace(cdn: MockCDN, tmp_path: Path) -> None:
    everywhere = issuer(edge(cdn)) | {"kind": "CDNClusterIssuer", "metadata": {"name": "web"}}
    file = files(tmp_path, everywhere, token(namespace="cdn-issuer-system"))
    result = await call("-f", file, INSECURE, request(tmp_path))
    assert result.exit_code == 0, result.output


async def test_only_the_authority_that_is_named_signs(cdn: MockCDN, tmp_path: Path) -> None:
    file = files(tmp_path, issuer(edge(cdn), BACKUP), token(), objects.ca_secret("backup-ca", "shop"))
    result = await call("-f", file, "--authority", "backup", request(tmp_path), INSECURE)
    assert result.stderr.startswith("signed by authority backup")
    assert not cdn.certificates
    result = await call("-f", file, "--authority", "nobody", request(tmp_path), INSECURE)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith("no authority 'nobody' in the issuer; it has edge, backup")


async def test_one_that_is_to_sign_nothing_is_told_with_what_to_change(cdn: MockCDN, tmp_path: Path) -> None:
    authorities = [edge(cdn, state="Draining"), BACKUP]
    file = files(tmp_path, issuer(*authorities), token(), objects.ca_secret("backup-ca", "shop"))
    result = await call("-f", file, "--authority", "edge", request(tmp_path), INSECURE)
    (line,) = result.output.splitlines()
    assert result.exit_code == 1
    assert line.endswith(": set its state to Active in the file, or name another one with --authority"), line


async def test_what_a_lost_answer_may_have_left_is_told(cdn: MockCDN, tmp_path: Path) -> None:
    cdn.faults.set("reset-after", methods=["POST"])
    cdn.faults.set("status", status=503, methods=["GET"])
    file = files(tmp_path, issuer(edge(cdn)), token())
    result = await call("-f", file, INSECURE, request(tmp_path))
    assert result.exit_code == 1
    assert "warning: edge may have made a certificate that nobody received" in result.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: [", "is no YAML: line "),
        (f"kind: Secret\nstringData: {{token: *{CANARY}}}", "is no YAML: line 2"),
        ("kind: Deployment", "the file holds no CDNIssuer or CDNClusterIssuer of cdn-issuer.io"),
        (yaml.safe_dump_all([issuer(BACKUP)] * 2), "the file holds more than one CDNIssuer"),
        (yaml.safe_dump(issuer(BACKUP) | {"metadata": 7}), "the issuer cannot be read"),
        (yaml.safe_dump(issuer(BACKUP) | {"spec": None}), "CDNIssuer shop/web cannot be used: spec.authorities"),
        (yaml.safe_dump(issuer(BACKUP, deadline="soon")), "cannot be used: spec.deadline"),
    ],
)
async def test_a_file_that_is_no_issuer_is_told_in_one_line(content: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "issuer.yaml"
    file.write_text(content)
    result = await call("-f", str(file), request(tmp_path))
    (line,) = result.output.splitlines()
    assert (result.exit_code, told in line) == (1, True), line
    assert CANARY not in line


async def test_a_csr_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    wrong = tmp_path / "request.csr"
    wrong.write_text("what is this")
    result = await call("-f", files(tmp_path, issuer(BACKUP)), str(wrong))
    (line,) = result.output.splitlines()
    assert result.exit_code == 1
    assert line.startswith(f"Error: '{wrong}' cannot be signed by anybody: ")


async def test_standard_input_is_one_file(tmp_path: Path) -> None:
    result = await call("-f", "-", "--secret-file", "-", request(tmp_path), stdin="")
    assert (result.exit_code, "only one of the files" in result.output) == (2, True)


async def test_a_certificate_that_cannot_be_written_is_not_lost(tmp_path: Path) -> None:
    file = files(tmp_path, issuer(BACKUP), objects.ca_secret("backup-ca", "shop"))
    result = await call("-f", file, request(tmp_path), "-o", str(tmp_path / "absent" / "out.pem"))
    assert result.exit_code == 1
    assert "BEGIN CERTIFICATE" in result.stdout
    assert "the certificate is on standard output instead" in result.stderr
