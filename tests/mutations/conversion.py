"""Manifests of origin-ca-issuer, turned into ours."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_CONVERSION: Final = "issuer/cli/conversion.py"
_CONVERT: Final = "issuer/cli/convert.py"
_DOCUMENTS: Final = "issuer/cli/documents.py"
_CONVERSION_TESTS: Final = ("unit/cli/test_conversion.py",)
_CONVERT_TESTS: Final = ("component/test_command_convert.py",)

MUTATIONS: Final = (
    Mutation(
        "a line break of Unicode becomes a blank",
        _CONVERT,
        old="if _LINE_BREAKS.search(text):",
        new="if False:",
        tests=_CONVERT_TESTS,
    ),
    Mutation(
        "a service key is carried over in silence",
        _CONVERSION,
        old='    if reference is None and (reference := _reference(auth.get("serviceKeyRef"))):\n',
        new='    reference = reference or _reference(auth.get("serviceKeyRef"))\n    if not auth and reference:\n',
        tests=_CONVERSION_TESTS,
    ),
    Mutation(
        "a Certificate that an Ingress makes is converted, and changed back",
        _CONVERSION,
        old='        if isinstance(owner, dict) and owner.get("controller"):\n',
        new="        if not isinstance(owner, dict):\n",
        tests=_CONVERSION_TESTS,
    ),
    Mutation(
        "a converted issuer has the mark of a tool that will delete it",
        _CONVERSION,
        old="            del marks[mark]\n",
        new="            assert mark\n",
        tests=_CONVERSION_TESTS,
    ),
    Mutation(
        "objects that have nothing to do with it are applied as well",
        _CONVERSION,
        old="            result.unconcerned += 1\n",
        new="            result.converted.append(Converted(one))\n",
        tests=_CONVERSION_TESTS,
    ),
    Mutation(
        "the input is changed while it is read",
        _CONVERSION,
        old="name: copy.deepcopy(value) for name",
        new="name: copy.copy(value) for name",
        tests=_CONVERSION_TESTS,
    ),
    Mutation(
        "a date comes out in the words of Python",
        _DOCUMENTS,
        old='frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})',
        new='frozenset({"tag:yaml.org,2002:value"})',
        tests=_CONVERT_TESTS,
    ),
    Mutation(
        "text that another parser takes for a number is not quoted",
        _CONVERT,
        old="""    style = "'" if _NUMBER_ELSEWHERE.fullmatch(text) else""",
        new="""    style = "'" if not text else""",
        tests=_CONVERT_TESTS,
    ),
    Mutation(
        "a line break in a manifest ends the comment above it",
        _CONVERT,
        old="character if character.isprintable() else",
        new="character if character else",
        tests=_CONVERT_TESTS,
    ),
)
