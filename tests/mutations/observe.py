"""What is counted: certificates that requests hold, and labels that stay bounded."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_CENSUS: Final = "issuer/controllers/certificates.py"
_CENSUS_TESTS: Final = ("unit/controllers/test_certificate_census.py",)
_LABELS: Final = "issuer/observe/labels.py"
_LABEL_TESTS: Final = ("unit/observe/test_metrics.py", "component/test_metrics_labels.py")

MUTATIONS: Final = (
    Mutation(
        "a certificate whose request is gone while its renewal waits is counted no more",
        _CENSUS,
        old="if record.held is not None and record.waiting is None and not",
        new="if record.held is not None and not",
        tests=_CENSUS_TESTS,
    ),
    Mutation(
        "a certificate whose request is gone is counted for ever",
        _CENSUS,
        old="            record.held = None\n",
        new="            pass\n",
        tests=_CENSUS_TESTS,
    ),
    Mutation(
        "a renewal whose request is gone fails for ever",
        _CENSUS,
        old="if record.waiting is not None and not self._is_there(record.waiting):",
        new="if False:",
        tests=_CENSUS_TESTS,
    ),
    Mutation(
        "an older request that failed counts as a renewal that fails",
        _CENSUS,
        old="if waiting is not None and not waiting.is_before(held.carrier):",
        new="if waiting is not None:",
        tests=_CENSUS_TESTS,
    ),
    Mutation(
        "an older certificate takes the place of a newer one",
        _CENSUS,
        old="if record.held is None or record.held.expires <= expires:",
        new="if True:",
        tests=_CENSUS_TESTS,
    ),
    Mutation(
        "names of issuers that nobody made fill the metrics",
        _LABELS,
        old="(not exists and len(self._named) < MAX_NAMED)",
        new="not exists",
        tests=_LABEL_TESTS,
    ),
    Mutation(
        "issuers fill the metrics without a bound",
        _LABELS,
        old="if exists and len(self._issuers) < MAX_ISSUERS:",
        new="if exists:",
        tests=_LABEL_TESTS,
    ),
    Mutation(
        "an issuer that is gone keeps its place in the metrics",
        _LABELS,
        old="        self._issuers.discard(issuer)\n",
        new="",
        tests=_LABEL_TESTS,
    ),
)
