"""The body of a deletion: of that very object, as it was looked at.

The API server answers 409 if another object has taken its name, or if it has changed since it was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from issuer.api.meta import ObjectMeta


def delete_options(meta: ObjectMeta) -> bytes:
    """DeleteOptions (meta/v1) with UID and resourceVersion as preconditions."""
    preconditions = {"uid": meta.uid, "resourceVersion": meta.resource_version}
    return msgspec.json.encode({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions})
