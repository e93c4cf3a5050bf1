"""The two CRDs: what is in them, that the files hold what the code makes, and that every field explains itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from msgspec import Meta

from issuer.api import crd
from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, ISSUER_KIND, PLURALS
from issuer.authorities import registry
from issuer.cli.crds import crds, yaml_text
from tests.unit.api.admission import broken_rules, levels

if TYPE_CHECKING:
    from issuer.api.schema import Schema

FILES = Path(__file__).parents[3] / "crds"
NAMESPACED, CLUSTER = crd.definitions(registry.configs())
BOTH = pytest.mark.parametrize("definition", [NAMESPACED, CLUSTER], ids=[ISSUER_KIND, CLUSTER_ISSUER_KIND])


def schema_of(definition: Schema) -> Schema:
    schema: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@BOTH
def test_the_file_holds_what_the_code_makes(definition: Schema) -> None:
    text = (
        FILES / f"{definition['metadata']['name'].partition('.')[2]}_{definition['spec']['names']['plural']}.yaml"
    ).read_text()
    assert text == yaml_text(definition), "run `make crds`"


def test_there_is_no_other_file() -> None:
    assert sorted(path.name for path in FILES.iterdir()) == sorted(
        f"{GROUP}_{plural}.yaml" for plural in PLURALS.values()
    )


@BOTH
def test_the_yaml_reads_back_as_the_same_document(definition: Schema) -> None:
    text = yaml_text(definition)
    assert yaml.safe_load(text) == definition
    assert "&id" not in text


@BOTH
def test_every_field_has_a_description(definition: Schema) -> None:
    silent = [path for path, schema in levels(schema_of(definition), "") if not schema.get("description")]
    assert silent == [".metadata"]


@BOTH
def test_every_description_is_a_sentence(definition: Schema) -> None:
    for path, schema in levels(schema_of(definition), ""):
        said = schema.get("description", "X.")
        assert said[0].isupper(), path
        assert said.endswith("."), path


@BOTH
def test_every_text_and_every_list_has_a_limit(definition: Schema) -> None:
    for path, schema in levels(schema_of(definition)["properties"]["spec"], "spec"):
        assert schema["type"] != "string" or {"maxLength", "enum", "format"} & set(schema), path
        assert schema["type"] != "array" or "maxItems" in schema, path


def test_both_kinds_have_the_same_specification_and_status() -> None:
    ours, theirs = (schema_of(one)["properties"] for one in (NAMESPACED, CLUSTER))
    assert (ours["spec"], ours["status"]) == (theirs["spec"], theirs["status"])


def test_each_kind_says_where_its_secrets_are() -> None:
    assert "its own namespace" in schema_of(NAMESPACED)["description"]
    assert "--cluster-resource-namespace" in schema_of(CLUSTER)["description"]


def test_the_names_and_the_scopes() -> None:
    assert [(one["metadata"]["name"], one["spec"]["scope"]) for one in (NAMESPACED, CLUSTER)] == [
        ("cdnissuers.cdn-issuer.io", "Namespaced"),
        ("cdnclusterissuers.cdn-issuer.io", "Cluster"),
    ]
    assert [one["spec"]["names"]["shortNames"] for one in (NAMESPACED, CLUSTER)] == [["cdni"], ["cdnci"]]
    assert all(one["spec"]["names"]["categories"] == ["cert-manager"] for one in (NAMESPACED, CLUSTER))


@BOTH
def test_there_is_one_version_and_its_status_is_written_apart(definition: Schema) -> None:
    (version,) = definition["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}
    assert definition["spec"]["preserveUnknownFields"] is False


@BOTH
def test_kubectl_get_shows_what_matters_and_the_message_only_when_asked(definition: Schema) -> None:
    columns = definition["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == ["Ready", "Active", "Reason", "Age"]
    assert [column["name"] for column in columns if column.get("priority")] == ["Message"]


@BOTH
def test_every_column_shows_a_field_that_there_is(definition: Schema) -> None:
    for column in definition["spec"]["versions"][0]["additionalPrinterColumns"]:
        schema = schema_of(definition)
        for step in column["jsonPath"].removeprefix(".").replace('[?(@.type=="Ready")]', "").split("."):
            if schema["type"] == "array":
                schema = schema["items"]
            if step == "metadata":
                break
            schema = schema["properties"][step]


class Vault(msgspec.Struct, frozen=True):
    """Signs with a Vault."""

    path: Annotated[str, Meta(description="Where.", max_length=100)] = "pki"


def test_a_third_kind_is_a_field_more_and_part_of_the_rule() -> None:
    (definition, _) = crd.definitions({**registry.configs(), "vault": Vault})
    entry = schema_of(definition)["properties"]["spec"]["properties"]["authorities"]["items"]
    assert entry["properties"]["vault"] == {
        "description": "Signs with a Vault.",
        "type": "object",
        "properties": {"path": {"description": "Where.", "type": "string", "default": "pki", "maxLength": 100}},
    }
    secret: dict[str, Any] = {"secretRef": {"name": "ca"}}
    complete = {"name": "x"}
    assert broken_rules(entry, complete | {"vault": {}}) == []
    assert broken_rules(entry, complete | {"vault": {}, "ca": secret}) == [
        "exactly one of cloudflare, ca, issuerRef, vault is needed"
    ]


def test_the_command_prints_both_documents() -> None:
    result = CliRunner().invoke(crds, [])
    assert result.exit_code == 0
    assert list(yaml.safe_load_all(result.stdout)) == [NAMESPACED, CLUSTER]


def test_the_command_writes_a_file_for_each(tmp_path: Path) -> None:
    result = CliRunner().invoke(crds, ["--directory", str(tmp_path / "new")])
    assert result.exit_code == 0
    written = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert written == {path.name: path.read_text() for path in FILES.iterdir()}
