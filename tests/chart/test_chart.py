"""The chart: what Helm makes of it, what it refuses, and that what is made of it is as it would be made now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from issuer.cli import run as run_module
from issuer.controllers.certificaterequests import RULES
from issuer.controllers.certificatesigningrequests import RULES as SIGNING_RULES
from issuer.controllers.manager import EVENT_RULES
from issuer.observe import logs
from tests.chart import render
from tests.chart.helm import CHART, KUBERNETES, Helm, HelmError
from tests.controlplane.plane import ROOT

if TYPE_CHECKING:
    from pathlib import Path

VALUES = sorted((ROOT / "tests" / "chart" / "values").glob("*.yaml"))
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm.required(request.param, tmp_path_factory.mktemp("helm"))


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [one for one in objects if one["kind"] in kinds]


def args(objects: Objects) -> list[str]:
    (deployment,) = of_kind(objects, "Deployment")
    found: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def reads_secrets(objects: Objects) -> set[tuple[str, str]]:
    """Where Secrets may be read: kind of role and its namespace."""
    return {
        (role["kind"], role["metadata"].get("namespace", ""))
        for role in of_kind(objects, "Role", "ClusterRole")
        for rule in role["rules"]
        if "secrets" in rule["resources"]
    }


def test_helm_lint_has_nothing_against_it(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.run("lint", CHART, "--strict", "--kube-version", KUBERNETES)


@pytest.mark.parametrize("helm", ["helm3"], indirect=True)  # blank lines of the other are others; objects are compared
def test_what_is_made_of_the_chart_and_for_it_is_as_it_would_be_made_now(helm: Helm) -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in render.files(helm).items() if path.read_text() != text]
    assert stale == [], "run `make chart`"


def test_both_helms_make_the_objects_of_the_manifests(helm: Helm) -> None:
    ours = render.manifests(helm, render.SYSTEM)
    text = (render.DEPLOY / "manifests" / "cluster.yaml").read_text()
    (namespace, *rest) = list(yaml.safe_load_all(text))
    assert namespace["kind"] == "Namespace"
    assert [one for one in yaml.safe_load_all(ours) if one] == rest


def test_the_crds_of_the_chart_are_those_of_the_code(helm: Helm) -> None:
    made = {one["metadata"]["name"]: one for one in of_kind(helm.objects(), "CustomResourceDefinition")}
    sources = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    assert {one["metadata"]["name"]: one["spec"] for one in sources} == {n: one["spec"] for n, one in made.items()}
    assert all(one["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for one in made.values())


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_each_set_of_values_gives_a_controller_whose_flags_are_read(
    helm: Helm, values: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = helm.objects("--values", values)
    seen: dict[str, Any] = {}

    async def taken(flags: dict[str, Any]) -> int:
        seen.update(flags)
        return 0

    monkeypatch.setattr(run_module, "_run", taken)
    monkeypatch.setattr(run_module, "spare_the_collector", lambda: None)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    (command, *flags) = args(objects)
    result = CliRunner().invoke(run_module.run, flags)
    assert (command, result.exit_code) == ("run", 0), result.output
    (deployment,) = of_kind(objects, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > seen["grace"] + 5
    assert seen["listen"].port == pod["containers"][0]["ports"][0]["containerPort"]
    keys = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("replicaCount=two", "replicaCount"),
        ("replicas=3", "replicas"),
        ("image.pullPolicy=Sometimes", "image/pullPolicy"),
        ("image.digest=abc", "image/digest"),
        ("grace=0", "grace"),
        ("extraArgs={--grace=3s}", "extraArgs/0"),
        ("scope.namespaces={A_b}", "scope/namespaces/0"),
        ("leaderElection.leaseDuration=soon", "leaderElection/leaseDuration"),
        ("serviceMonitor.enabled=true", "enabled"),
        ("prometheusRule.runbookBaseURL=docs", "prometheusRule/runbookBaseURL"),
        ("resources.limit.cpu=1", "limit"),
        ("issuers[0].name=web", "issuers/0"),
        ("caBundle.configMapName=a,caBundle.secretName=b", "caBundle.configMapName and caBundle.secretName"),
        ("podDisruptionBudget.minAvailable=1,podDisruptionBudget.maxUnavailable=1", "podDisruptionBudget.minAvailable"),
        ("serviceMonitor.create=true,podMonitor.create=true", "podMonitor.create"),
        ("serviceAccount.create=false", "serviceAccount.name"),
        (
            "certificateSigningRequests.enabled=true,scope.namespaces={web}",
            "certificateSigningRequests.enabled and scope.namespaces exclude each other",
        ),
        ("extraArgs={--certificate-signing-requests}", "extraArgs/0"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_field(helm: Helm, setting: str, told: str) -> None:
    with pytest.raises(HelmError) as error:
        helm.template("--set", setting)
    assert told in str(error.value)


def test_some_namespaces_have_a_role_each_and_no_right_to_secrets_elsewhere(helm: Helm) -> None:
    objects = helm.objects("--set", "scope.namespaces={web,shop}")
    assert reads_secrets(objects) == {("Role", "web"), ("Role", "shop"), ("Role", "cdn-issuer-system")}
    assert {"--namespace=web", "--namespace=shop", "--cluster-issuers"} <= set(args(objects))
    alone = helm.objects("--set", "scope.namespaces={web},scope.clusterIssuers=false")
    assert reads_secrets(alone) == {("Role", "web")}
    bound = [
        one["roleRef"]["name"]
        for one in of_kind(alone, "ClusterRoleBinding")
        if one["subjects"][0]["name"] == "cdn-issuer"
    ]
    assert bound == []
    assert "--no-cluster-issuers" in args(alone)


def test_a_namespace_gives_the_rights_that_its_controllers_name(helm: Helm) -> None:
    objects = helm.objects("--set", "scope.namespaces={web},scope.clusterIssuers=false")
    roles = {one["metadata"]["name"]: one for one in of_kind(objects, "Role") if one["metadata"]["namespace"] == "web"}
    for rule in (*RULES, *EVENT_RULES):
        assert rule.manifest() in roles["cdn-issuer-controller"]["rules"]
    assert "cdn-issuer-issuer-refs" in roles


def test_signing_requests_are_served_by_a_role_of_its_own_or_not_at_all(helm: Helm) -> None:
    def rules(objects: Objects) -> Objects:
        roles = of_kind(objects, "ClusterRole", "Role")
        return [rule for role in roles for rule in role["rules"] if "certificates.k8s.io" in rule["apiGroups"]]

    flag, on = "--certificate-signing-requests", "certificateSigningRequests.enabled=true"
    assert rules(helm.objects()) == []
    assert flag not in args(helm.objects())
    served = helm.objects("--set", on)
    assert rules(served) == [rule.manifest() for rule in SIGNING_RULES]
    assert flag in args(served)
    (_, _, sign) = rules(helm.objects("--set", f"{on},scope.clusterIssuers=false"))
    assert sign["resourceNames"] == ["cdnissuers.cdn-issuer.io/*"]


def verbs(objects: Objects) -> dict[str, list[str]]:
    """What the controller may do with Certificates and their status."""
    found: dict[str, list[str]] = {}
    for role in of_kind(objects, "ClusterRole", "Role"):
        if role["metadata"]["name"].endswith("-controller"):
            for rule in role["rules"]:
                for resource in rule["resources"]:
                    if resource.startswith("certificates"):
                        found.setdefault(resource, []).extend(rule["verbs"])
    return found


@pytest.mark.parametrize("scope", ["", ",scope.namespaces={web}"])
def test_with_certificates_the_controller_may_do_what_is_switched_on(helm: Helm, scope: str) -> None:
    renewing, watching = {"certificates/status": ["patch"]}, ["list", "watch"]

    def made(again: str, health: str, *, failback: str = "") -> Objects:
        enabled = {"recovery": again, "failback": failback or again, "certificateHealth": health}
        return helm.objects("--set", ",".join(f"{name}.enabled={value}" for name, value in enabled.items()) + scope)

    assert verbs(made("true", "true")) == {"certificates": ["get", *watching], **renewing}
    assert verbs(made("true", "false")) == {"certificates": ["get"], **renewing}
    assert verbs(made("true", "false", failback="false")) == {"certificates": ["get"], **renewing}
    assert verbs(made("false", "false", failback="true")) == {"certificates": ["get"], **renewing}
    assert verbs(made("false", "true")) == {"certificates": watching}
    assert verbs(made("false", "false")) == {}
    flags = {"--no-recovery", "--no-failback", "--no-certificate-health"}
    assert flags <= set(args(made("false", "false")))
    assert not flags & set(args(made("true", "true")))


def test_without_clean_up_nothing_may_be_deleted(helm: Helm) -> None:
    def may_delete(objects: Objects) -> bool:
        roles = of_kind(objects, "ClusterRole", "Role")
        rules = [rule for role in roles if role["metadata"]["name"].endswith("-controller") for rule in role["rules"]]
        return any("delete" in rule["verbs"] and rule["resources"] == ["certificaterequests"] for rule in rules)

    assert may_delete(helm.objects())
    without = helm.objects("--set", "cleanup.enabled=false")
    assert not may_delete(without)
    assert "--no-cleanup" in args(without)


def test_two_releases_have_no_object_in_common_but_the_crds(helm: Helm) -> None:
    places = [("cdn-issuer", "cdn-issuer-system"), ("cdn-issuer", "other"), ("second", "other")]
    keys: list[tuple[str, str, str]] = []
    leases = set()
    for release, namespace in places:
        objects = helm.objects("--set", "crds.enabled=false", release=release, namespace=namespace)
        keys += [
            (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"])
            for one in objects
            if one["metadata"].get("namespace") != "default"
        ]
        leases.add(tuple(arg for arg in args(objects) if arg.startswith("--lease-n")))
    assert len(keys) == len(set(keys))
    assert len(leases) == len(places)


def test_the_pod_is_as_pod_security_restricted_asks(helm: Helm) -> None:
    (deployment,) = of_kind(helm.objects(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_roots_and_proxies_of_values_reach_the_container(helm: Helm) -> None:
    objects = helm.objects("--values", CHART.parents[1] / "tests" / "chart" / "values" / "proxy.yaml")
    (deployment,) = of_kind(objects, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    environment = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    assert environment["SSL_CERT_FILE"] == "/etc/cdn-issuer/ca/bundle.pem"
    assert environment["NO_PROXY"] == "$(KUBERNETES_SERVICE_HOST),.svc,.internal.example"
    assert environment["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert pod["volumes"] == [{"name": "ca-bundle", "configMap": {"name": "roots"}}]


def test_the_alerts_come_with_the_chart_as_they_are(helm: Helm) -> None:
    objects = helm.objects("--values", CHART.parents[1] / "tests" / "chart" / "values" / "monitoring.yaml")
    (rule,) = of_kind(objects, "PrometheusRule")
    text = (CHART / "files" / "alerts.yaml").read_text()
    assert "runbook_url: docs/alerts.md#" in text
    assert rule["spec"] == yaml.safe_load(text.replace(": docs/", ": https://git.example.com/docs/"))
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_each_value_is_in_the_table() -> None:
    named = {row[0].strip("`") for row in render.rows()}

    def leaves(values: Any, path: str) -> list[str]:
        if path in named or not isinstance(values, dict):
            return [path]
        return [leaf for key, value in values.items() for leaf in leaves(value, f"{path}.{key}".lstrip("."))]

    assert [leaf for leaf in leaves(yaml.safe_load((CHART / "values.yaml").read_text()), "") if leaf not in named] == []


@pytest.mark.parametrize("scope", ["", ",scope.namespaces={web}", ",scope.namespaces={web},scope.clusterIssuers=false"])
def test_other_issuers_are_asked_by_a_role_of_its_own_or_not_at_all(helm: Helm, scope: str) -> None:
    def rules(objects: Objects) -> Objects:
        roles = of_kind(objects, "ClusterRole", "Role")
        return [rule for role in roles if role["metadata"]["name"].endswith("-issuer-refs") for rule in role["rules"]]

    kinds = "issuerRefs.kinds[0].group=certmanager.step.sm,issuerRefs.kinds[0].resources={stepissuers}"
    usual = helm.objects("--set", f"{kinds}{scope}")
    assert {"apiGroups": ["certmanager.step.sm"], "resources": ["stepissuers"], "verbs": ["get", "list"]} in rules(
        usual
    )
    assert any("create" in rule["verbs"] for rule in rules(usual))
    assert "--no-issuer-refs" not in args(usual)
    without = helm.objects("--set", f"issuerRefs.enabled=false{scope}")
    assert rules(without) == []
    assert "--no-issuer-refs" in args(without)
