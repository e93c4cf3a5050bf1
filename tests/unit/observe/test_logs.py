"""What a reader of the log gets: a line, one shape for everybody's lines, and no secrets."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from issuer.observe import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "S3cr3t-t0k3n-of-f0rty-characters-1234567"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The process has one logging: leave it as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in logs._QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def written(
    act: Callable[[], object], *, format_: Literal["json", "console"] = "json", level: str = "info", tty: bool = False
) -> str:
    """What goes to standard error while `act` runs."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return tty

    with contextlib.redirect_stderr(Terminal()) as stream:
        logs.configure(format_, level)
        act()
    return stream.getvalue()


def lines(act: Callable[[], object], level: str = "info") -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(act, level=level).splitlines()]


def fail_with(local: str) -> None:
    authorization = local
    raise ValueError(f"bad answer of {len(authorization)} characters")


def test_a_line_is_one_json_object_with_time_level_logger_and_event_first() -> None:
    (line,) = lines(lambda: logs.get_logger("issuer.x").info("request issued", request="shop/web-1", attempt=2))
    assert list(line) == ["timestamp", "level", "logger", "event", "request", "attempt"]
    assert (line["level"], line["logger"], line["event"]) == ("info", "issuer.x", "request issued")
    assert (line["request"], line["attempt"]) == ("shop/web-1", 2)


def test_a_field_without_a_value_is_left_out_and_one_that_is_false_or_empty_is_not() -> None:
    (line,) = lines(lambda: logs.get_logger("x").info("now", certificate=None, ready=False, left_out=0, error=""))
    assert list(line) == ["timestamp", "level", "logger", "event", "ready", "left_out", "error"]


def test_times_are_utc_in_iso_8601() -> None:
    (line,) = lines(lambda: logs.get_logger("x").info("now"))
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.fromisoformat(line["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_lines_of_libraries_have_the_same_shape() -> None:
    def act() -> None:
        logging.getLogger("issuer.kube.queue").warning("next try in %.1f s", 2, extra={"key": "shop/web-1"})

    (line,) = lines(act)
    assert list(line) == ["timestamp", "level", "logger", "event", "key"]
    assert (line["event"], line["key"]) == ("next try in 2.0 s", "shop/web-1")


@pytest.mark.parametrize("name", ["aiohttp.access", "aiohttp.server", "kubernetes_asyncio.client.rest", "httpx"])
def test_chatty_libraries_are_heard_from_warning_on_only(name: str) -> None:
    def act() -> None:
        logging.getLogger(name).debug("a body with everything in it")
        logging.getLogger(name).info("GET /certificates")
        logging.getLogger(name).warning("trouble")

    assert [line["event"] for line in lines(act, level="debug")] == ["trouble"]


def test_the_level_applies_to_lines_of_ours_and_of_others() -> None:
    def act() -> None:
        logs.get_logger("ours").info("no")
        logging.getLogger("theirs").info("no")
        logs.get_logger("ours").warning("yes")
        logging.getLogger("theirs").warning("yes")

    assert [line["logger"] for line in lines(act, level="warning")] == ["ours", "theirs"]


def test_below_the_level_nothing_is_made_of_the_arguments() -> None:
    class Costly:
        def __repr__(self) -> str:
            raise AssertionError("it was looked at")

    assert lines(lambda: logs.get_logger("x").debug("no", value=Costly())) == []


def test_a_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError):
        logs.configure("json", "loud")


def test_a_second_configuration_replaces_the_first_for_loggers_that_were_used() -> None:
    log = logs.get_logger("x")
    assert lines(lambda: log.info("no"), level="error") == []
    assert len(lines(lambda: log.info("yes"), level="info")) == 1
    assert lines(lambda: log.info("no"), level="error") == []


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("ours", [True, False])
def test_an_exception_is_shown_without_local_variables(format_: Literal["json", "console"], ours: bool) -> None:
    def act() -> None:
        try:
            fail_with(TOKEN)
        except ValueError:
            (logs.get_logger("x") if ours else logging.getLogger("x")).exception("internal error")

    text = written(act, format_=format_)
    assert "ValueError: bad answer of 40 characters" in text
    assert "Traceback" in text
    assert TOKEN not in text


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_secret_in_the_text_of_an_exception_is_replaced(format_: Literal["json", "console"]) -> None:
    def act() -> None:
        error = ValueError(f"header Authorization: Bearer {TOKEN}")
        logs.get_logger("x").error("internal error", exc_info=error)

    text = written(act, format_=format_)
    assert TOKEN not in text
    assert "[redacted]" in text


def test_secrets_in_lines_of_libraries_are_replaced() -> None:
    def act() -> None:
        logging.getLogger("lib").warning("sent %s", {"Authorization": f"Bearer {TOKEN}"}, extra={"token": TOKEN})

    (line,) = lines(act)
    assert TOKEN not in json.dumps(line)
    assert line["token"] == "[redacted]"


def test_a_line_that_cannot_be_made_is_not_shown_raw() -> None:
    text = written(lambda: logging.getLogger("lib").warning("count %d", f"Bearer {TOKEN}"))
    assert TOKEN not in text
    (line,) = [json.loads(line) for line in text.splitlines()]
    assert (line["event"], line["logger"]) == ("a log line was lost", "lib")


def test_a_closed_standard_error_does_not_stop_the_program() -> None:
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        logs.configure("json", "info")
        stream.close()
        logs.get_logger("x").error("nobody hears this")


def test_fields_bound_to_the_context_are_in_each_line() -> None:
    def act() -> None:
        with structlog.contextvars.bound_contextvars(request="shop/web-1"):
            logs.get_logger("x").info("ours")
            logging.getLogger("theirs").warning("theirs")

    assert [line["request"] for line in lines(act)] == ["shop/web-1", "shop/web-1"]


def test_the_console_is_plain_text_unless_it_is_a_terminal() -> None:
    def act() -> None:
        logs.get_logger("x").info("request issued", request="shop/web-1")

    plain = written(act, format_="console")
    assert "request issued" in plain
    assert "request=shop/web-1" in plain
    assert "\x1b" not in plain
    assert "\x1b" in written(act, format_="console", tty=True)


def test_a_message_of_a_provider_cannot_steer_the_terminal_or_forge_a_line() -> None:
    def act() -> None:
        logs.get_logger("x").info("said \x1b[2J", error="no\n2026-01-01 [info] all is well\x9b1m\r")

    text = written(act, format_="console")
    assert len(text.splitlines()) == 1
    assert not any(sign in text for sign in "\x1b\x9b\r")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    event=st.text(), fields=st.dictionaries(st.from_regex(r"\A[a-z_]{2,12}\Z"), st.text() | st.binary() | st.floats())
)
def test_each_line_is_one_json_object_whatever_is_logged(event: str, fields: dict[str, Any]) -> None:
    fields = {f"f_{name}": value for name, value in fields.items()}
    (line,) = written(lambda: logs.get_logger("x").info(event, **fields)).splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(fields) <= set(found)
