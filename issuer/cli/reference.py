"""Writes docs/configuration.md from the CRDs and from the options of `run`: `python -m issuer.cli.reference`.

The page says what `kubectl explain` and `cdn-issuer run --help` say, in one place that can be searched. Both kinds of
issuer have the same fields, so they are listed once.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from issuer.api import crd
from issuer.api.issuer import GROUP, VERSION
from issuer.api.request import AUTHORITIES_ANNOTATION
from issuer.authorities import registry
from issuer.cli.run import ALIASES, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.api.schema import Schema

HEAD: Final = f"""# Configuration

Written by `make reference` from the code. `kubectl explain cdnissuer.spec --recursive` says the same of what is
installed.

A CDNIssuer serves Certificates of its namespace and reads Secrets there. A CDNClusterIssuer serves all namespaces and
reads Secrets in the cluster resource namespace. Their fields are the same (`{GROUP}/{VERSION}`).

A default with "or" gives way to what other fields say
([authorities.md](authorities.md#defaults-and-what-contradicts-what)): the controller fills it in, and it is not in the
CRD. Durations are written as `90s`, `1h30m` or `500ms`.
"""
STATUS: Final = """
What the controller writes. [troubleshooting.md](troubleshooting.md) says what each state means, and what to do.

"""
ANNOTATION: Final = (
    "\n## Annotation of a Certificate\n\n| annotation | value | what it does |\n| --- | --- | --- |\n"
    f"| `{AUTHORITIES_ANNOTATION}` | names of authorities, with commas | Only these sign, in the order of the issuer. "
    "cert-manager copies it to each request. It has no effect on an Ingress or a Gateway. |\n"
)
RULES: Final = """
## Rules over several fields

The API server refuses what breaks one of them.

| where | rule |
| --- | --- |
"""
FLAGS: Final = """
## Flags of `cdn-issuer run`

Each can be given as the environment variable beside it; in it, lists have commas. A variable that begins with
`CDN_ISSUER_RUN_` and belongs to no flag, or is empty, is refused. The chart has values for most of them, and
`extraArgs` for the rest.

| flag | variable | default | what it is |
| --- | --- | --- | --- |
"""
ALIAS: Final = """
Names of cert-manager and controller-runtime are taken on the command line too:

| name | is |
| --- | --- |
"""
_TABLE: Final = "| field | type | default | limits | what it is |\n| --- | --- | --- | --- | --- |\n"
_FILLED_IN: Final = re.compile(r" Unless given, (?P<default>[^,]+), (?P<rest>or [^.]+)\.$")


def document() -> str:
    """The page, in Markdown."""
    definition, _ = crd.definitions(registry.configs())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return HEAD + "".join((*_spec(schema["spec"]), *_status(schema["status"]), ANNOTATION, *_flags()))


def _spec(spec: Schema) -> Iterator[str]:
    authorities = "spec.authorities[]"
    kinds = tuple(f"{authorities}.{kind}" for kind in registry.configs())
    yield _section("spec", "spec", spec, apart=(authorities,))
    authority = spec["properties"]["authorities"]["items"]
    yield _section(authorities, authorities, authority, apart=kinds)
    for path, kind in zip(kinds, registry.configs(), strict=True):
        yield _section(path, path, authority["properties"][kind])
    yield RULES
    for path, found in _objects("spec", spec):
        for one in found.get("x-kubernetes-validations", ()):
            yield f"| `{path}` | {_cell(one['message'])} |\n"


def _status(status: Schema) -> Iterator[str]:
    yield f"\n## status\n{STATUS}| field | type | values | what it is |\n| --- | --- | --- | --- |\n"
    for path, schema, _ in _fields("status", status):
        values = ", ".join(f"`{one}`" for one in schema.get("enum", ()))
        yield f"| `{path}` | {_type(schema)} | {values} | {_cell(schema['description'])} |\n"


def _section(title: str, path: str, schema: Schema, apart: tuple[str, ...] = ()) -> str:
    """A table of the fields below a path; of what is `apart`, which has a table of its own, the first row alone."""
    rows = [
        _row(*field) for field in _fields(path, schema) if not field[0].startswith(tuple(f"{one}." for one in apart))
    ]
    return f"\n## {title}\n\n{schema['description']}\n\n{_TABLE}{''.join(rows)}"


def _fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Path, schema, and whether it is required, of each field below an object, an object before its parts."""
    for name, inner in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        if inner["type"] == "array" and inner["items"]["type"] == "object":
            below += "[]"
        yield below, inner, name in schema.get("required", ())
        yield from _fields(below, inner["items"] if below.endswith("[]") else inner)


def _objects(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for below, inner, _ in _fields(path, schema):
        found = inner["items"] if below.endswith("[]") else inner
        if found["type"] == "object":
            yield below, found


def _row(path: str, schema: Schema, required: bool) -> str:  # noqa: FBT001 - of `_fields`
    description = schema["description"]
    filled_in = _FILLED_IN.search(description)
    default = _default(schema, required=required)
    if filled_in:
        default = f"`{filled_in['default']}`, {filled_in['rest']}"
        description = description[: filled_in.start()]
    cells = (f"`{path}`", _type(schema), default, _limits(schema), description)
    return f"| {' | '.join(map(_cell, cells))} |\n"


def _type(schema: Schema) -> str:
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}s"
    if schema.get("format") == "date-time":
        return "time"
    return "duration" if _between(schema) else str(schema["type"])


def _default(schema: Schema, *, required: bool) -> str:
    if required:
        return "required"
    value = schema.get("default")
    if value is None:
        return ""
    return ", ".join(f"`{_value(one)}`" for one in (value if isinstance(value, list) else [value]))


def _value(value: Any) -> str:
    """A value as it is written in YAML."""
    whole = isinstance(value, float) and value.is_integer()
    return value if isinstance(value, str) else json.dumps(int(value) if whole else value)


def _limits(schema: Schema) -> str:
    if between := _between(schema):
        return between
    of_items = schema.get("items", {})
    enum = schema.get("enum") or of_items.get("enum")
    parts = [
        ", ".join(f"`{one}`" for one in enum or ()),
        _range(schema.get("minimum"), schema.get("maximum"), ""),
        _range(schema.get("minItems"), schema.get("maxItems"), " items"),
        "" if enum else _range(schema.get("minLength"), schema.get("maxLength"), " characters"),
        f"`{schema['pattern']}`" if "pattern" in schema else "",
    ]
    return "; ".join(filter(None, parts))


def _between(schema: Schema) -> str:
    """The bounds of a duration, which are a rule; empty if it is none."""
    if schema["type"] != "string":
        return ""
    messages = [one["message"] for one in schema.get("x-kubernetes-validations", ())]
    found = next((re.fullmatch(r"must be between (\S+) and (\S+)", message) for message in messages), None)
    return f"{found[1]} to {found[2]}" if found else ""


def _range(low: Any, high: Any, unit: str) -> str:
    if high is None:
        return "" if low is None else f"at least {low}{unit}"
    return f"up to {high}{unit}" if low is None else f"{low} to {high}{unit}"


def _flags() -> Iterator[str]:
    yield FLAGS
    for option in run.params:
        assert isinstance(option, click.Option)
        names = " / ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
        yield f"| {names} | `{option.envvar}` | {_flag_default(option)} | {_cell(option.help or '')} |\n"
    yield ALIAS
    yield from (f"| `{alias}` | `{name}` |\n" for alias, name in ALIASES.items())


def _flag_default(option: click.Option) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    if option.is_flag:
        return "yes" if option.default is True else "no"
    return f"`{_value(option.default)}`" if isinstance(option.default, (str, int, float)) else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
