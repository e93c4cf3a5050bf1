"""Writes docs/metrics.md from the table of metrics: `python -m issuer.observe.document`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from issuer.observe.families import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.observe.families import Family

HEAD: Final = """# Metrics

Written by `make metrics-doc` from `issuer/observe/families.py`. `GET /metrics` on `--listen` gives them; alerts are in
`deploy/chart/files/alerts.yaml`, and what to do about each in [alerts.md](alerts.md).

Labels that name an issuer are the same everywhere: `issuer_kind`, `issuer_namespace` (empty for a CDNClusterIssuer)
and `issuer`. Causes are in lower case. Gauges of issuers, authorities and certificates come from the replica that
leads. A state has one series, for the present state; the others are absent. Beyond 5000 issuers, 500 that do not
exist, and 1000 names of authorities, counters are kept under the name `(others)`; beyond 1000 issuers gauges leave
out those that are well.
"""


def document() -> str:
    """The page, in Markdown."""
    return HEAD + "".join(line for title, families in SECTIONS for line in _section(title, families))


def _section(title: str, families: tuple[Family, ...]) -> Iterator[str]:
    yield f"\n## {title}\n\n| metric | type | labels | what it is | what to look for |\n"
    yield "| --- | --- | --- | --- | --- |\n"
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        look = re.sub(
            r"`(CDNIssuer[A-Z]\w+)`", lambda found: f"[{found[1]}](alerts.md#{found[1].lower()})", family.look
        )
        yield f"| `{family.name}` | {family.kind} | {labels} | {family.help} | {look} |\n"


if __name__ == "__main__":
    sys.stdout.write(document())
