"""Logging: one line per decision, as JSON for machines or in colours for people, and never a secret in it.

structlog takes the lines of this program; what our libraries write with the standard library's `logging` goes through
the same formatter. So there is one place where a line is made, and that is where secrets are taken out
(`issuer.observe.redaction`). Exceptions are shown without local variables, because that is where secrets are.

Objects are named by fields that can be filtered: a request by `namespace` and `name`, an issuer by `issuer_kind`,
`issuer_namespace` and `issuer`, an entry of its list by `authority`. A field without a value is left out.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import structlog

from issuer.observe.redaction import redact

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

_FIRST: Final = ("timestamp", "level", "logger", "event")
_QUIET: Final = ("aiohttp", "asyncio", "httpcore", "httpx", "kubernetes_asyncio")
"""Heard from WARNING on, whatever the level: at DEBUG some of them write headers and bodies whole."""
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def configure(format_: Literal["json", "console"], level: str) -> None:
    """Set up logging for the process; lines go to standard error. A second call replaces the first.

    Args:
        format_: `json`, one object a line; or `console`, for people, coloured on a terminal.
        level: the least level that is written, by its name in `logging`.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    both: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=both,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _clean, *_renderer(format_)],
        )
    )
    # What a library warns of is a line like any other. The length of a subject's attribute is none of our business.
    logging.captureWarnings(capture=True)
    warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[*both, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A cached logger would keep the level of its first use. Not cached, a call below the level costs 4 µs.
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger that takes fields as keyword arguments; the name is that of the module.

    For a hot path, `bind()` it once: a bound logger costs 0.1 µs below the level.
    """
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(name))


class _Handler(logging.StreamHandler[Any]):
    """The standard handler, except that a line that cannot be written is not shown raw, with all its arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - a name of logging
        """Say that a line was lost, and by whom, in a form that a reader of JSON understands."""
        lost = {"level": "error", "logger": record.name, "event": "a log line was lost", "line": record.lineno}
        try:
            self.stream.write(json.dumps(lost) + self.terminator)
            self.flush()
        except (OSError, ValueError):
            return  # nobody is listening


def _clean(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    """Take secrets and fields without a value out, and put what a reader looks for first to the front."""
    clean = {name: value for name, value in redact(event).items() if value is not None}
    return {name: clean.pop(name) for name in _FIRST if name in clean} | clean


def _renderer(format_: Literal["json", "console"]) -> list[Processor]:
    if format_ == "json":
        return [structlog.processors.JSONRenderer()]
    # The exception is text by now; before version 26 structlog warns if it may not render one itself.
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )
    return [_tame, console]


def _tame(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    """Take control characters out of what others wrote: a provider's message must not steer a terminal."""
    return {
        name: value.translate(_CONTROL).replace("\n", "\n" if name == "exception" else "\\n")
        if isinstance(value, str)
        else value
        for name, value in event.items()
    }
