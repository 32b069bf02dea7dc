"""Dagster is dead and stays so, and what is outside of it says so."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import yaml

from kb_dr_tests.end_to_end.pages import WAIT_SECONDS
from kb_dr_tests.prometheus_servers import get, prometheus
from kb_dr_tests.protected_service import environment

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "kb_dr.rules.yml"
STALE = "kb_dr_watch_last_success_timestamp_seconds > 900"


@contextmanager
def asked_of_prometheus(env_file: Path, place: Path) -> Iterator["Asked"]:
    """Prometheus with the rules as they are shipped, only sooner, over a real exporter."""
    exporter = subprocess.Popen(
        [sys.executable, "-m", "kb_dr.cli", "metrics", "serve", "--listen", "127.0.0.1:0"],
        env=environment({"KB_DR_ENV_FILE": str(env_file)}),
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert exporter.stdout is not None
        served = re.search(r"127\.0\.0\.1:(\d+)/metrics", exporter.stdout.readline())
        assert served is not None
        rules = RULES.read_text()
        assert STALE in rules
        rules = rules.replace(STALE, STALE.replace("900", "5"))
        (place / "rules.yml").write_text(re.sub(r"for: \w+", "for: 0s", rules))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "kb_dr", "static_configs": [{"targets": [f"127.0.0.1:{served[1]}"]}]}
            ],
        }
        (place / "prometheus.yml").write_text(yaml.safe_dump(config))
        with prometheus(place / "kept", place / "prometheus.yml") as port:
            yield Asked(port)
    finally:
        exporter.kill()
        exporter.communicate(timeout=WAIT_SECONDS)


class Asked:
    """What it answers."""

    def __init__(self, port: int) -> None:
        self._port = port

    def finds(self, expression: str) -> bool:
        """Whether any series is there now."""
        _, answer = get(self._port, f"/api/v1/query?query={quote(expression)}")
        found: list[object] = yaml.safe_load(answer)["data"]["result"]
        return found != []
