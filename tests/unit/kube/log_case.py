"""Log lines as tests see them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

Lines = list[MutableMapping[str, Any]]
"""Each as its fields, with `event` and `log_level`."""
