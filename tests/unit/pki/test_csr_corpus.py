"""Two hundred CSRs of real tools are signed as they ask; any mutation of them is signed right or refused in words."""

from __future__ import annotations

import pytest

from issuer.pki import csr
from issuer.pki.csr import InvalidRequestError
from tests.csrs import fuzz
from tests.csrs.corpus import Sample, samples

MD5 = ("MD5", "md5")


@pytest.mark.parametrize("sample", samples(), ids=str)
def test_a_csr_of_a_real_tool_is_signed_as_it_asks(sample: Sample) -> None:
    if any(word in sample.what for word in MD5):
        with pytest.raises(InvalidRequestError, match="signed with MD5"):
            csr.parse_pem(sample.pem)
        return
    asked = csr.parse_pem(sample.pem, is_ca=sample.is_ca)
    fuzz.sign(asked)


def test_there_are_two_hundred_of_them_by_more_than_ten_tools() -> None:
    assert len(samples()) >= 200
    assert len({sample.tool for sample in samples()}) > 10
    assert any(sample.is_ca for sample in samples())


def test_any_mutation_of_them_is_signed_right_or_refused_in_words() -> None:
    report = fuzz.run(4_000, seed=13)
    assert report.count == 4_000
    assert 400 < report.signed < 3_600, report
