"""What users write: specifications, the rules of the CRD, and the command line."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_SPEC: Final = "issuer/api/spec.py"
_CRD: Final = "issuer/api/crd.py"
_SCHEMA: Final = "issuer/api/schema.py"
_ENVIRONMENT: Final = "issuer/cli/environment.py"

_DOCUMENTS: Final = "issuer/cli/documents.py"
_ISSUERFILE: Final = "issuer/cli/issuerfile.py"
_BUNDLE: Final = "issuer/inspection/bundle.py"
_RETRY: Final = "issuer/cli/retry.py"
_SIGN: Final = "issuer/cli/sign.py"

_BUNDLE_TESTS: Final = ("unit/inspection/test_bundle.py", "component/test_bundle.py")
_RETRY_TESTS: Final = ("component/test_retry.py",)
_SIGN_TESTS: Final = ("component/test_sign.py",)
_SPEC_TESTS: Final = ("unit/api/test_api_spec.py",)
_AGREEMENT_TESTS: Final = ("unit/api/test_api_agreement.py",)
_USAGE_TESTS: Final = ("component/test_command_usage.py",)

MUTATIONS: Final = (
    Mutation(
        "a password that is written into a Certificate is in a bundle",
        _BUNDLE,
        old='"spec": _only(_map(raw, "spec"), _CERTIFICATE)',
        new='"spec": _map(raw, "spec")',
        tests=_BUNDLE_TESTS,
    ),
    Mutation(
        "annotations of others are in a bundle",
        _BUNDLE,
        old=" if name.startswith(_OUR_PREFIXES)",
        new="",
        tests=_BUNDLE_TESTS,
    ),
    Mutation(
        "a credential in a message is in a bundle",
        _BUNDLE,
        old="        return redact_text(value)\n",
        new="        return value\n",
        tests=_BUNDLE_TESTS,
    ),
    Mutation(
        "what was refused is retried with what an outage has left",
        _RETRY,
        old="return [one for one in failed if one.metadata.key in due]",
        new="return failed",
        tests=_RETRY_TESTS,
    ),
    Mutation(
        "what is named is retried though it has not failed",
        _RETRY,
        old="if not issuance.has_failed(certificate) and",
        new="if False and",
        tests=_RETRY_TESTS,
    ),
    Mutation(
        "what a parser says of a file with secrets is quoted",
        _DOCUMENTS,
        old='said = "" if secret else str(error.problem or error.context)',
        new="said = str(error.problem or error.context)",
        tests=_SIGN_TESTS,
    ),
    Mutation(
        "a Secret of another namespace is taken",
        _ISSUERFILE,
        old='self._any_namespace or meta.get("namespace") in (None, "", namespace)',
        new="True",
        tests=_SIGN_TESTS,
    ),
    Mutation(
        "nobody says that a certificate may have been left behind",
        _SIGN,
        old="for user in engine.suspected():",
        new="for user in ():",
        tests=_SIGN_TESTS,
    ),
    Mutation(
        "a certificate that cannot be written to its file is lost",
        _SIGN,
        old="""    except OSError as error:
        click.echo(outcome.certificate.decode().rstrip("\\n"))
""",
        new="    except OSError as error:\n",
        tests=_SIGN_TESTS,
    ),
    Mutation(
        "the default of an attempt does not give way to the deadline",
        _SPEC,
        old="attempt=min(timeouts.attempt, timeouts.turn, deadline))",
        new="attempt=min(timeouts.attempt, timeouts.turn))",
        tests=_SPEC_TESTS,
    ),
    Mutation(
        "the default of a turn ends an attempt that was written longer",
        _SPEC,
        old="turn=max(timeouts.turn, timeouts.attempt))",
        new="turn=timeouts.turn)",
        tests=_SPEC_TESTS,
    ),
    Mutation(
        "a written attempt may be longer than the deadline",
        _SPEC,
        old="    if timeouts.attempt > deadline:\n",
        new="    if timeouts.attempt > deadline and False:\n",
        tests=_SPEC_TESTS,
    ),
    Mutation(
        "a default of the shorter of two durations does not give way",
        _SPEC,
        old="            changed[shorter.name] = long\n",
        new="            continue\n",
        tests=_SPEC_TESTS,
    ),
    Mutation(
        "a default of the longer of two durations does not give way",
        _SPEC,
        old="            changed[longer.name] = short\n",
        new="            continue\n",
        tests=_SPEC_TESTS,
    ),
    Mutation(
        "a null counts as written",
        _SPEC,
        old="plain = without_nulls(_plain(wire, AuthorityCommon, path))",
        new="plain = _plain(wire, AuthorityCommon, path)",
        tests=_SPEC_TESTS,
    ),
    Mutation(
        "the timeouts of a ca count",
        _SPEC,
        old="        common, plain = bare, {}\n",
        new="        pass\n",
        tests=_SPEC_TESTS,
    ),
    Mutation(
        "a field without effect is not told",
        _SPEC,
        old="if getattr(common, name) != getattr(bare, name)",
        new="if False",
        tests=_SPEC_TESTS,
    ),
    Mutation(
        "what an older CRD filled in at a ca is told as a fault",
        _SPEC,
        old="if getattr(common, name) != getattr(bare, name)",
        new="if name in plain",
        tests=_AGREEMENT_TESTS,
    ),
    Mutation(
        "the CRD refuses what an older one filled in at a ca",
        _CRD,
        old='!has(self.{name}) || ({filled})"',
        new='!has(self.{name})"',
        tests=_AGREEMENT_TESTS,
    ),
    Mutation(
        "the CRD holds the timeouts of a ca to the deadline",
        _CRD,
        old="""{_given(in_process, 'a')}!has(a.timeouts) ||""",
        new="""!has(a.timeouts) ||""",
        tests=_AGREEMENT_TESTS,
    ),
    Mutation(
        "the schema fills in a default that a rule compares",
        _SCHEMA,
        old="msgspec.NODEFAULT and not _yields(field)",
        new="msgspec.NODEFAULT",
        tests=_AGREEMENT_TESTS,
    ),
    Mutation(
        "the mark that keeps the lines of an example is shown",
        _ENVIRONMENT,
        old='self.help and self.help.replace("\\\\b\\n", "\\b\\n")',
        new="self.help",
        tests=_USAGE_TESTS,
    ),
    Mutation(
        "an alias is no name of an option",
        _ENVIRONMENT,
        old="return self._aliases.get(name, name) + equals + value",
        new="return argument",
        tests=_USAGE_TESTS,
    ),
    Mutation(
        "a duration has no bounds",
        "issuer/cli/parameters.py",
        old="if not self._minimum <= found <= self._maximum:",
        new="if False:",
        tests=_USAGE_TESTS,
    ),
)
