"""The body of a status write.

Each carries `metadata.resourceVersion`: the API server answers 409 if the object has changed since it was read. (A
`metadata.uid` in such a patch is ignored for custom resources; `issuer.controllers.delivery` compares the UID after
re-reading.)
"""

from __future__ import annotations

import msgspec


def patch(resource_version: str, status: object) -> bytes:
    """A merge patch of a status, refused by the API server if the object is no longer at that version."""
    return msgspec.json.encode({"metadata": {"resourceVersion": resource_version}, "status": status})
