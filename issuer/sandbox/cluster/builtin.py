"""Schemas of built-in kinds, as far as the sandbox serves them: the fields that their Go types have.

They are written as structural schemas, so that unknown fields and types are looked at by the same code as those of
custom resources; what does not fit does not decode, which is a 400 and not a 422. After k8s.io/api: `core/v1`,
`coordination/v1`. `micro-time` is meta/v1's MicroTime, `bytes` what Go decodes
as []byte.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "integer"}
FLAG: Final[Schema] = {"type": "boolean"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
MICRO_TIME: Final[Schema] = {"type": "string", "format": "micro-time"}
BYTES: Final[Schema] = {"type": "string", "format": "bytes"}


def record(**fields: Schema) -> Schema:
    """An object of these fields."""
    return {"type": "object", "properties": fields}


def pairs(value: Schema) -> Schema:
    """A map from text."""
    return {"type": "object", "additionalProperties": value}


REFERENCE: Final = record(
    **dict.fromkeys(("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"), TEXT)
)
EVENT: Final = record(
    involvedObject=REFERENCE,
    related=REFERENCE,
    reason=TEXT,
    message=TEXT,
    source=record(component=TEXT, host=TEXT),
    firstTimestamp=TIME,
    lastTimestamp=TIME,
    count=NUMBER,
    type=TEXT,
    eventTime=MICRO_TIME,
    series=record(count=NUMBER, lastObservedTime=MICRO_TIME),
    action=TEXT,
    reportingComponent=TEXT,
    reportingInstance=TEXT,
)
LEASE: Final = record(
    spec=record(
        holderIdentity=TEXT,
        leaseDurationSeconds=NUMBER,
        acquireTime=MICRO_TIME,
        renewTime=MICRO_TIME,
        leaseTransitions=NUMBER,
        strategy=TEXT,
        preferredHolder=TEXT,
    )
)
SECRET: Final = record(data=pairs(BYTES), stringData=pairs(TEXT), type={**TEXT, "default": "Opaque"}, immutable=FLAG)
CONFIG_MAP: Final = record(data=pairs(TEXT), binaryData=pairs(BYTES), immutable=FLAG)
