"""CertificateSigningRequests: whose they are, when they have ended, and what may be written."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_API: Final = "issuer/api/signingrequest.py"
_KIND: Final = "issuer/controllers/certificatesigningrequests.py"
_CACHES: Final = "issuer/controllers/caches.py"
_SILENCE: Final = "issuer/inspection/signingrequests.py"
_READER: Final = "issuer/inspection/reader.py"
_BUNDLE: Final = "issuer/inspection/bundle.py"
_API_TESTS: Final = ("unit/api/test_api_signingrequest.py",)
_KIND_TESTS: Final = ("unit/controllers/test_certificatesigningrequests.py",)
_SILENCE_TESTS: Final = ("unit/inspection/test_signingrequests.py",)
_READER_TESTS: Final = ("unit/inspection/test_reader.py",)
_BUNDLE_TESTS: Final = ("unit/inspection/test_bundle.py",)

MUTATIONS: Final = (
    Mutation(
        "the doctor of one namespace asks for CertificateSigningRequests, which few may list",
        _READER,
        "if not is_asked and (target.namespace or target.subject not in WITH_SIGNING_REQUESTS):",
        "if not is_asked and target.subject not in WITH_SIGNING_REQUESTS:",
        _READER_TESTS,
    ),
    Mutation(
        "the doctor tells of signers of others",
        _READER,
        "if one.is_of_our_group and target.spans(",
        "if target.spans(",
        _READER_TESTS,
    ),
    Mutation(
        "a controller that still tries for the first time is said to serve no CertificateSigningRequests",
        _SILENCE,
        "timedelta(seconds=turns) + SLACK",
        "timedelta() + SLACK",
        _SILENCE_TESTS,
    ),
    Mutation(
        "a controller that may have gone is said to be at work",
        _SILENCE,
        "if issuer is None or not controller_is_at_work(issuer, snapshot):",
        "if issuer is None:",
        _SILENCE_TESTS,
    ),
    Mutation(
        "a CertificateSigningRequest is in a bundle with its CSR",
        _BUNDLE,
        '"spec": _only(_map(raw, "spec"), _SIGNING_REQUEST), "status": status}',
        '"spec": _map(raw, "spec"), "status": status}',
        _BUNDLE_TESTS,
    ),
    Mutation(
        "events about CertificateSigningRequests of others are in a bundle",
        _BUNDLE,
        ' and about.get("name") in signing_requests',
        "",
        _BUNDLE_TESTS,
    ),
    Mutation(
        "a denied CertificateSigningRequest is still looked at",
        _API,
        "or has_failed or self.is_denied",
        "or has_failed",
        _API_TESTS,
    ),
    Mutation(
        "a CertificateSigningRequest that others have failed is signed",
        _API,
        "self.status.certificate is not None or has_failed or",
        "self.status.certificate is not None or",
        _API_TESTS,
    ),
    Mutation(
        "one that was signed is taken up again once its certificate is left out of the memory",
        _API,
        "certificate=self.status.certificate and",
        "certificate=None and",
        _API_TESTS,
    ),
    Mutation(
        "any signer's name that has a slash in it is an issuer of ours",
        _API,
        "kind = SIGNERS.get(domain)",
        "kind = SIGNERS.get(domain, ISSUER_KIND)",
        _API_TESTS,
    ),
    Mutation(
        "the name of a cluster issuer is cut at its first dot",
        _API,
        "if dot and SIGNERS.get(domain) == ISSUER_KIND else",
        "if dot and domain in SIGNERS else",
        _API_TESTS,
    ),
    Mutation(
        "an annotation may choose a Secret",
        _API,
        "        return None\n\n    @property\n    def authorities",
        '        return self.metadata.annotation("experimental.cert-manager.io/private-key-secret-name")\n\n'
        "    @property\n    def authorities",
        _API_TESTS,
    ),
    Mutation(
        "a certificate that the API server cannot read is written again for ever",
        "issuer/controllers/delivery.py",
        "if not (is_final and isinstance(verdict, Issue)):",
        "if is_final or not is_final:",
        ("unit/controllers/test_refused_writes.py",),
    ),
    Mutation(
        "any word in the annotation asks for a CA",
        _API,
        'self.metadata.annotation(IS_CA_ANNOTATION) == "true"',
        "bool(self.metadata.annotation(IS_CA_ANNOTATION))",
        _API_TESTS,
    ),
    Mutation(
        "a failure is no end for Kubernetes",
        _KIND,
        "told = (Condition(api.FAILED, TRUE, verdict.event, verdict.message), *told)",
        "pass",
        _KIND_TESTS,
    ),
    Mutation(
        "conditions of others lose their time",
        _API,
        "    last_update_time: str | None = None\n",
        "    pass\n",
        _KIND_TESTS,
    ),
    Mutation(
        "one that waits for a person counts as one that an approver has overlooked",
        "issuer/controllers/memory.py",
        "sum(bool(key.namespace) for key in self._unapproved.values())",
        "len(self._unapproved)",
        _KIND_TESTS,
    ),
    Mutation(
        "a cluster-scoped request is looked for among those in namespaces",
        _CACHES,
        "self._by_scope.get(bool(key.namespace))",
        "self._by_scope.get(True)",
        ("unit/controllers/test_caches.py",),
    ),
    Mutation(
        "certificates of CertificateSigningRequests may be revoked under their owner's feet",
        "issuer/controllers/received.py",
        "        self._take(request.status.certificate)\n        return request.trimmed()",
        "        return request.trimmed()",
        ("unit/controllers/test_received.py",),
    ),
    Mutation(
        "CertificateSigningRequests are served in some namespaces only",
        "issuer/cli/run.py",
        'if flags["certificate_signing_requests"] and flags["namespaces"]:',
        "if False:",
        ("component/test_command_usage.py",),
    ),
)
