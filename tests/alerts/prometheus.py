"""A real Prometheus with the shipped rules, in which a minute takes tenths of a second.

The rules speak of minutes and hours. `hurried` writes them with durations that are so much shorter; all else, and so
every expression, is as shipped. Prometheus then scrapes and evaluates as many times in such a minute as it would
within a minute at an interval of 45 s.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import yaml

from tests.controlplane.process import Server, free_port

if TYPE_CHECKING:
    from types import TracebackType

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "deploy/chart/files/alerts.yaml"
MINUTE: Final = 0.4
"""Seconds that a minute of the rules takes."""
SCRAPE: Final = 0.3
"""Seconds between two scrapes, and between two evaluations."""
JOB: Final = "cdn-issuer"
NAMESPACE: Final = "cdn-issuer-system"
START: Final = 30.0
_MINUTES: Final = {"m": 1, "h": 60, "d": 1440}


def hurried(rules: str) -> str:
    """The rules with short durations: `for`, ranges, offsets, and the age of a request, which is given in seconds.

    Days that are left to a certificate stay days, and the silence of a watch stays minutes: neither is played.
    """

    def shorter(found: re.Match[str]) -> str:
        return f"{found[1]}{_MINUTES[found[3]] * int(found[2]) * MINUTE * 1000:.0f}ms"

    rules = re.sub(r"(for: |\[|offset )(\d+)([mhd])\b", shorter, rules)
    return re.sub(r"(age_seconds\) > )(\d+)", lambda found: f"{found[1]}{int(found[2]) / 60 * MINUTE:g}", rules)


def installed() -> bool:
    """Whether there is a Prometheus: Debian's package of that name."""
    return shutil.which("prometheus") is not None


class Prometheus:
    """The server; it scrapes what listens on `target`, and listens on loopback only. Use it with `async with`.

    Args:
        directory: for its configuration, its log and its data.
    """

    def __init__(self, directory: Path) -> None:
        self.target = free_port()
        self._directory = directory
        port = free_port()
        while port == self.target:
            port = free_port()
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1/", timeout=10, trust_env=False)
        self._server = Server(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            directory / "prometheus.log",
        )

    async def __aenter__(self) -> Self:
        (self._directory / "rules.yaml").write_text(hurried(RULES.read_text()))
        interval = f"{SCRAPE * 1000:.0f}ms"
        labels = {"namespace": NAMESPACE, "pod": "cdn-issuer-0"}  # as a ServiceMonitor adds them
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": JOB, "static_configs": [{"targets": [f"127.0.0.1:{self.target}"], "labels": labels}]}
            ],
        }
        (self._directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._server.start()
        async with asyncio.timeout(START):
            while not await self._answers():
                self._server.check()
                await asyncio.sleep(0.1)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()
        self._server.stop()

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The value of an expression now, by series."""
        found: list[dict[str, Any]] = (await self._get("query", query=expression))["result"]
        return found

    async def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The values of an expression from one moment to another, by series; all in seconds."""
        data = await self._get("query_range", query=expression, start=f"{start}", end=f"{end}", step=f"{step}")
        found: list[dict[str, Any]] = data["result"]
        return found

    async def series(self, selector: str) -> list[dict[str, str]]:
        """The labels of all series that were ever scraped and that a selector selects."""
        found: list[dict[str, str]] = await self._get("series", **{"match[]": selector})
        return found

    async def rules(self) -> list[dict[str, Any]]:
        """Each rule with how it is, whether it could be evaluated, and its alerts."""
        return [rule for group in (await self._get("rules"))["groups"] for rule in group["rules"]]

    async def _answers(self) -> bool:
        try:
            await self.query("1")
        except (httpx.HTTPError, ValueError, KeyError):
            return False
        return True

    async def _get(self, path: str, **params: str) -> Any:
        """What the API has.

        Raises:
            ValueError: it has something against the question, in its words.
        """
        reply = (await self._client.get(path, params=params)).json()
        if reply["status"] != "success":
            raise ValueError(reply["error"])
        return reply["data"]
