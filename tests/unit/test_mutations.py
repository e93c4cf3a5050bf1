"""The table of `python -m tests.mutations` fits the code: a text that is gone would never be taken out again."""

from __future__ import annotations

import pytest

from tests.mutations.mutation import ROOT, Mutation
from tests.mutations.table import MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_its_text_is_in_the_code_once_and_its_tests_are_there(mutation: Mutation) -> None:
    assert mutation.old != mutation.new
    compile(mutation.applied((ROOT / mutation.file).read_text()), mutation.file, "exec")
    for target in mutation.targets:
        file, _, test = target.partition("::")
        source = (ROOT / file).read_text()
        assert f"def {test.partition('[')[0]}(" in source or not test


def test_each_has_a_name_of_its_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
