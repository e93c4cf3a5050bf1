"""`cdn-issuer convert` as it is called: files and standard input, what goes where, and that an API server takes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from issuer.cli.conversion import THEIR_GROUP
from issuer.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.component.api_client import Api

THEIRS = """\
apiVersion: v1
kind: List
items:
- apiVersion: cert-manager.k8s.cloudflare.com/v1
  kind: OriginIssuer
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: |
        {"apiVersion":"cert-manager.k8s.cloudflare.com/v1","kind":"OriginIssuer"}
    creationTimestamp: "2025-03-04T05:06:07Z"
    generation: 2
    name: prod-issuer
    namespace: shop
    resourceVersion: "812734"
    uid: 0fd1b0a5-8f6c-4c0e-9d44-5a3d1c9f0f61
  spec:
    auth:
      serviceKeyRef:
        key: key
        name: service-key
    requestType: OriginRSA
  status:
    conditions:
    - lastTransitionTime: "2025-03-04T05:06:08Z"
      message: OriginIssuer verified and ready to sign certificates
      reason: Verified
      status: "True"
      type: Ready
- apiVersion: cert-manager.k8s.cloudflare.com/v1
  kind: ClusterOriginIssuer
  metadata:
    name: everywhere
  spec:
    auth:
      tokenRef:
        key: token
        name: origin-token
    requestType: OriginECC
- apiVersion: cert-manager.io/v1
  kind: Certificate
  metadata:
    annotations:
      example.com/released: 2026-01-02T03:04:05Z
      example.com/build: "1e3"
      example.com/answer: "yes"
    name: web
    namespace: shop
  spec:
    dnsNames: [www.example.com]
    duration: 2400h
    issuerRef:
      group: cert-manager.k8s.cloudflare.com
      kind: OriginIssuer
      name: prod-issuer
    secretName: web-tls
- apiVersion: cert-manager.io/v1
  kind: Certificate
  metadata:
    name: internal
    namespace: shop
  spec:
    dnsNames: [db.shop.svc]
    issuerRef:
      kind: ClusterIssuer
      name: internal
    secretName: internal-tls
kind: List
"""
INGRESS = """\
# The shop.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: shop
  annotations:
    cert-manager.io/issuer: everywhere
    cert-manager.io/issuer-kind: ClusterOriginIssuer
    cert-manager.io/issuer-group: cert-manager.k8s.cloudflare.com
spec:
  tls: [{hosts: [shop.example.com], secretName: shop-tls}]
---
---
apiVersion: v1
kind: ConfigMap
metadata: {name: unconcerned}
"""


def converted(*arguments: str, given: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["convert", *arguments], input=given)


def documents(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_what_kubectl_printed_comes_out_as_ours_with_the_warnings_above_it_and_on_stderr(arguments: list[str]) -> None:
    result = converted(*arguments, given=THEIRS)
    assert [(one["kind"], one["metadata"]["name"]) for one in documents(result)] == [
        ("CDNIssuer", "prod-issuer"),
        ("CDNClusterIssuer", "everywhere"),
        ("Certificate", "web"),
    ]
    assert "\n# Warning: it uses an Origin CA service key" in result.stdout
    assert result.stderr.splitlines()[0].startswith(
        "warning: CDNIssuer shop/prod-issuer: it uses an Origin CA service key"
    )
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["warning"] * 3 + ["left out"]
    assert "left out: 1 other object refers to no issuer" in result.stderr


def test_files_are_read_one_after_another_and_json_is_yaml(tmp_path: Path) -> None:
    first, second = tmp_path / "issuers.json", tmp_path / "ingress.yaml"
    first.write_text(json.dumps(yaml.safe_load(THEIRS), indent=4, default=str))
    second.write_text(INGRESS)
    result = converted(str(first), str(second))
    assert [one["kind"] for one in documents(result)] == ["CDNIssuer", "CDNClusterIssuer", "Certificate", "Ingress"]
    assert documents(result)[-1]["metadata"]["annotations"] == {
        "cert-manager.io/issuer": "everywhere",
        "cert-manager.io/issuer-kind": "CDNClusterIssuer",
        "cert-manager.io/issuer-group": "cdn-issuer.io",
    }


def test_text_stays_the_text_that_it_was_for_every_parser() -> None:
    result = converted(given=THEIRS)
    annotations = documents(result)[-1]["metadata"]["annotations"]
    assert annotations == {
        "example.com/released": "2026-01-02T03:04:05Z",
        "example.com/build": "1e3",
        "example.com/answer": "yes",
    }
    assert "example.com/build: '1e3'" in result.stdout, "YAML 1.2 reads 1e3 as a number"


def test_what_was_converted_is_nothing_to_convert() -> None:
    again = converted(given=converted(given=THEIRS).stdout)
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.splitlines()[-1].startswith("Error: nothing to convert: no object is, or refers to, an issuer")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "nothing to convert"),
        ("just words", "nothing to convert"),
        ("a: [1", "standard input is no YAML: line 1: "),
        ("a: {{ .Values.name }}\n", "standard input is no YAML: line 1: "),
        ("a:\n\tb: 1\n", "standard input is no YAML: line 2: "),
        (b"\xff\xfe\xfa", "standard input is no YAML: "),
        ("a: !!python/object:os.system x", "standard input is no YAML: line 1: "),
        ("[" * 20000, "standard input is nested too deeply"),
        ("&a\nkind: List\nitems: [*a]\n", "the input is nested too deeply, or an alias in it refers to itself"),
    ],
)
def test_input_that_cannot_be_used_is_told_in_one_line(given: str | bytes, said: str) -> None:
    result = converted(given=given)
    assert (result.exit_code, result.stdout) == (1, "")
    (told,) = result.stderr.splitlines()
    assert told.startswith(f"Error: {said}")
    assert len(told) < 300


def test_a_line_break_in_a_name_does_not_end_the_comment() -> None:
    theirs = yaml.safe_load(THEIRS)
    theirs["items"][0]["spec"]["auth"]["serviceKeyRef"]["name"] = "x\nkind: Secret\u2028y"
    result = converted(given=json.dumps(theirs, default=str))
    assert documents(result)[0]["kind"] == "CDNIssuer"
    assert "\nkind: Secret" not in result.stdout
    assert len(result.stderr.splitlines()) == 4, "each warning is one line"


@example("\x85")
@example("one\u2028two")
@given(text=st.text() | st.from_regex(r"[-+.0-9_eobxa-f:~ \n\t|>'\"#]+", fullmatch=True))
def test_any_text_passes_through_unchanged(text: str) -> None:
    theirs = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"annotations": {"note": text}}}
    issuer = {"issuerRef": {"group": THEIR_GROUP, "kind": "OriginIssuer", "name": "prod"}}
    ours = yaml.safe_load(converted(given=json.dumps({**theirs, "spec": issuer})).stdout)
    assert ours["metadata"]["annotations"] == {"note": text}


async def test_an_api_server_takes_the_issuers(api: Api) -> None:
    for document in documents(converted(given=THEIRS))[:2]:
        cluster_wide = document["kind"] == "CDNClusterIssuer"
        plural = document["kind"].lower() + "s"
        place = "" if cluster_wide else f"/namespaces/{api.namespace}"
        document["metadata"].pop("namespace", None)
        answer = await api.call(
            "POST", f"/apis/cdn-issuer.io/v1alpha1{place}/{plural}?dryRun=All&fieldValidation=Strict", document
        )
        assert answer.status == 201, answer
