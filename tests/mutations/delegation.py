"""Asking other issuers of the cluster."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_REF: Final = "issuer/authorities/issuerref.py"
_REF_TESTS: Final = ("unit/authorities/test_issuerref.py",)
_PORT: Final = "issuer/controllers/delegation.py"
_PORT_TESTS: Final = ("unit/controllers/test_delegation.py",)
_CHILDREN: Final = "issuer/controllers/children.py"
_CHILDREN_TESTS: Final = ("unit/controllers/test_children.py",)
_PROGRESS_TESTS: Final = ("unit/signing/test_engine_in_progress.py",)

MUTATIONS: Final = (
    Mutation(
        "an issuer of cert-manager's that has said nothing yet is taken for ready",
        _PORT,
        "if ready is None and ref.group == GROUP else",
        "if False else",
        _PORT_TESTS,
    ),
    Mutation(
        "a request that somebody else made under the name of a child is taken for it",
        _REF,
        "return has_owner and child.issuer_ref == ref",
        "return child.issuer_ref == ref",
        _REF_TESTS,
    ),
    Mutation(
        "a child that failed stays, and is met again in the next turn",
        _REF,
        "        if child.has_failed:\n            await self.delegation.delete(child.metadata)\n",
        "        if child.has_failed:\n",
        _REF_TESTS,
    ),
    Mutation(
        "a certificate that was refused is handed on again",
        _REF,
        "if uid in self.spent or not chain:",
        "if not chain:",
        _REF_TESTS,
    ),
    Mutation(
        "a child that is issued while it is given up is lost",
        _REF,
        "if latest is not None and latest.ready is not None and latest.ready.status == TRUE:",
        "if False:",
        _REF_TESTS,
    ),
    Mutation(
        "an issuer of one namespace is taken for that of all",
        _REF,
        "            if self.differs:\n",
        "            if False:\n",
        _REF_TESTS,
    ),
    Mutation(
        "a child waits for its approval for ever",
        _REF,
        "if age >= APPROVAL and not child.is_approved:",
        "if False:",
        _REF_TESTS,
    ),
    Mutation(
        "what a policy refuses is taken for a right that is missing",
        _PORT,
        'if " cannot " in error.message and "User " in error.message:',
        "if error.message:",
        _PORT_TESTS,
    ),
    Mutation(
        "a child is deleted whatever has become of it since it was looked at",
        _PORT,
        "body=delete_options(meta))",
        "body=b'')",
        _PORT_TESTS,
    ),
    Mutation(
        "each of many requests asks how the issuer is",
        _PORT,
        "            found = None if fresh else self._remembered(ref, namespace)\n            if found is None:\n",
        "            found = None\n            if found is None:\n",
        _PORT_TESTS,
    ),
    Mutation(
        "a child that a request still waits for is deleted",
        _CHILDREN,
        "return not is_waited_for and not child.is_finished",
        "return not child.is_finished",
        _CHILDREN_TESTS,
    ),
    Mutation(
        "a request is not told that its child has ended",
        _CHILDREN,
        "return child.is_finished or child.is_denied or child.is_invalid",
        "return False",
        _CHILDREN_TESTS,
    ),
    Mutation(
        "those before the one that has accepted a request are asked again and again",
        "issuer/signing/failover.py",
        "        able = able[able.index(going_on.authority) :]\n",
        "",
        _PROGRESS_TESTS,
    ),
    Mutation(
        "while an accepted probe is under way everybody else probes too",
        "issuer/signing/breaker.py",
        "return request == probe or self._clock() >= until",
        "return True",
        _PROGRESS_TESTS,
    ),
    Mutation(
        "a probe that was accepted and never comes again keeps the breaker open for ever",
        "issuer/signing/breaker.py",
        "return request == probe or self._clock() >= until",
        "return request == probe",
        _PROGRESS_TESTS,
    ),
    Mutation(
        "names that an issuer refuses shut it out for everybody else",
        "issuer/signing/permit.py",
        "counts = error.counts",
        "counts = True",
        ("unit/signing/test_engine_breaker.py",),
    ),
    Mutation(
        "a late request that nobody can sign in its namespace waits for ever",
        "issuer/signing/failover.py",
        "return not isinstance(failure, Queued) and (not isinstance(failure, Unsupported) or failure.for_now)",
        "return not isinstance(failure, Queued | Unsupported)",
        ("unit/signing/test_engine_failover.py",),
    ),
    Mutation(
        "a child that we have deleted ourselves has the next one made at once",
        _CHILDREN,
        "        child = change.new\n",
        "        child = change.new or change.old\n",
        _CHILDREN_TESTS,
    ),
    Mutation(
        "an API server that is away opens the breaker of the issuer",
        _REF,
        "again=not isinstance(error, ChangedError), counts=False",
        "again=not isinstance(error, ChangedError)",
        _REF_TESTS,
    ),
)
