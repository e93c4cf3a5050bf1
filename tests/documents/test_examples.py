"""Every manifest in the documents is taken by a real API server, as it stands, unknown fields refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import yaml

from issuer.sandbox import objects
from tests.controlplane.plane import path_of
from tests.documents.pages import Block, blocks

if TYPE_CHECKING:
    from tests.controlplane.plane import ControlPlane

EXAMPLES: Final = blocks("yaml")


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_can_be_applied(control_plane: ControlPlane, block: Block) -> None:
    documents = [one for one in yaml.safe_load_all(block.text) if one]
    assert documents
    for manifest in documents:
        if namespace := manifest["metadata"].get("namespace"):
            control_plane.apply(objects.namespace(namespace))
        query = "?fieldManager=kubectl&fieldValidation=Strict&dryRun=All"
        answer = control_plane.call(
            "PATCH", f"{path_of(manifest)}{query}", manifest, content_type="application/apply-patch+yaml"
        )
        assert answer.is_success, f"{manifest['kind']}: {answer.text}"
