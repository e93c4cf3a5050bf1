"""The types of options: what the command line and the environment may say, checked before anything begins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from issuer.api.duration import Duration, InvalidDurationError, human
from issuer.api.issuer import NAME_PATTERN

if TYPE_CHECKING:
    _TextType = click.ParamType[str]
    _AddressType = click.ParamType["Address"]
    _SecondsType = click.ParamType[float]
else:
    _TextType = _AddressType = _SecondsType = click.ParamType  # not generic before click 8.5

MAX_NAMESPACE: Final = 63
"""Characters of a namespace's name (RFC 1123 label; Kubernetes: `apimachinery/pkg/api/validation`)."""
MAX_PORT: Final = 65535
MAX_NAME: Final = 253
"""Characters of an object's name (RFC 1123 subdomain)."""
DAY: Final = 86400.0
"""Seconds; no flag has a use for more."""


class Address(NamedTuple):
    """Where to listen: a host name or an IP address without brackets, empty for all addresses, and a port."""

    host: str
    port: int


class Namespace(_TextType):
    """The name of a namespace; in the environment several have commas between them."""

    name = "namespace"
    envvar_list_splitter = ","

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name without blanks around it.

        Raises:
            click.BadParameter: no namespace can have that name.
        """
        found = value.strip()
        if not re.fullmatch(NAME_PATTERN, found) or len(found) > MAX_NAMESPACE:
            self.fail(
                f"{value!r} is no name of a namespace: 1 to {MAX_NAMESPACE} lower-case letters, digits and '-', "
                "a letter or digit first and last",
                param,
                ctx,
            )
        return found


class ObjectName(_TextType):
    """The name of an object: parts as of a namespace's name, with dots between them."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name without blanks around it.

        Raises:
            click.BadParameter: no object can have that name.
        """
        found = value.strip()
        if len(found) > MAX_NAME or not all(re.fullmatch(NAME_PATTERN, part) for part in found.split(".")):
            self.fail(
                f"{value!r} is no name of an object: 1 to {MAX_NAME} lower-case letters, digits, '-' and '.', "
                "a letter or digit first and last",
                param,
                ctx,
            )
        return found


class Seconds(_SecondsType):
    """A duration as in a CDNIssuer, `15s`, `500ms` or `1m30s`; a number alone is seconds. The value is in seconds.

    Args:
        minimum: the shortest one, in seconds.
        maximum: the longest one, in seconds.
    """

    name = "duration"

    def __init__(self, minimum: float = 0.1, maximum: float = DAY) -> None:
        self._minimum = minimum
        self._maximum = maximum

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds.

        Raises:
            click.BadParameter: it is no duration, or too short or too long.
        """
        if isinstance(value, (int, float)):
            return float(value)
        text = value.strip()
        try:
            found = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else Duration(text).seconds
        except InvalidDurationError:
            self.fail(f"{value[:40]!r} is no duration such as 15s, 500ms or 1m30s", param, ctx)
        if not self._minimum <= found <= self._maximum:
            longest = human(self._maximum)
            self.fail(f"{value[:40]!r} is not between {human(self._minimum)} and {longest}", param, ctx)
        return found


class Days(Seconds):
    """As `Seconds`, up to ten years, and with days: `14d`, `1d12h`."""

    def __init__(self) -> None:
        super().__init__(1.0, 3650 * DAY)

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds.

        Raises:
            click.BadParameter: it is no duration, or too short or too long.
        """
        days = re.fullmatch(r"\s*([0-9]{1,6})d(.*)", value) if isinstance(value, str) else None
        if days is None:
            return super().convert(value, param, ctx)
        rest = super().convert(days[2], param, ctx) if days[2].strip() else 0.0
        return super().convert(f"{int(days[1]) * DAY + rest:.0f}", param, ctx)


class ListedText(_TextType):
    """Text that is not empty; in the environment several have commas between them."""

    name = "text"
    envvar_list_splitter = ","

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text without blanks around it.

        Raises:
            click.BadParameter: nothing is left.
        """
        found = value.strip()
        if not found:
            self.fail("it is empty", param, ctx)
        return found


class ListenAddress(_AddressType):
    """`HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for all addresses of the machine, of IPv4 and IPv6."""

    name = "address"

    def convert(self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """The host and the port.

        Raises:
            click.BadParameter: it is not of that form, or the port is not between 0 and 65535.
        """
        if isinstance(value, Address):
            return value
        found = re.fullmatch(r"(?:\[([0-9a-fA-F:.%a-z]+)\]|([^][:/\s]*)):([0-9]{1,5})", value.strip())
        if found is None or int(found[3]) > MAX_PORT:
            self.fail(
                f"{value!r} is no address such as :8080, 127.0.0.1:8080 or [::1]:8080; "
                f"a port is a number from 0 to {MAX_PORT}",
                param,
                ctx,
            )
        return Address(found[1] or found[2] or "", int(found[3]))
