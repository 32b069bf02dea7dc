"""No backup comes, and somebody is told; nothing is heard at all, and somebody is told."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pyrage
import pytest
import yaml

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.installation import Installation
from kb_dr.settings import load_settings
from kb_dr_tests.days_ago import DaysAgo
from kb_dr_tests.postgres_servers import RunningCluster, fill
from kb_dr_tests.prometheus_servers import (
    AlertSink,
    alertmanager,
    get,
    prometheus,
    pushgateway,
    until,
)
from kb_dr_tests.protected_service import SECONDS, Service, shell_line

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"


@pytest.fixture(scope="module")
def service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose backup is two days old."""
    place = tmp_path_factory.mktemp("service")
    identity = pyrage.x25519.Identity.generate()
    key = place / "kb.agekey"
    key.write_text(f"{identity}\n")
    with RunningCluster(postgres_programs, place / "source") as cluster:
        service = Service(
            place,
            {
                "KB_DB_HOST": str(cluster.sockets),
                "KB_DB_NAME": "postgres",
                "KB_DB_USER": "postgres",
                "KB_DR_REPOSITORY_URL": str(place / "primary"),
                "KB_DR_AGE_RECIPIENTS": str(identity.to_public()),
                "KB_DR_AGE_IDENTITY_FILE": str(key),
                "KB_DR_POSTGRES_BIN_DIRS": str(postgres_programs.bin_dir),
                "KB_DR_SCRATCH_DIR": str(place / "scratch"),
                "KB_DR_STATE_DIR": str(place / "state"),
            },
        )
        service.opened().initialise("primary")
        fill(cluster, 50)
        cluster.archive_with(shell_line(service.words("wal", "push")) + ' "%p"')
        old = Installation(load_settings(service.settings), DaysAgo(2))
        old.back_up(None, SilentProgress())
        yield service


@contextmanager
def exporting(service: Service) -> "Iterator[tuple[subprocess.Popen[str], int]]":
    """Its exporter and the port that serves."""
    exporter = service.start("metrics", "serve", "--listen", "127.0.0.1:0", "--every", "0.5")
    try:
        assert exporter.stdout is not None
        served = re.search(r"127\.0\.0\.1:(\d+)/metrics", exporter.stdout.readline())
        assert served is not None
        yield exporter, int(served[1])
    finally:
        exporter.kill()
        exporter.communicate(timeout=SECONDS)


def test_stopped_backups_and_a_dead_exporter_reach_somebody(
    service: Service, tmp_path: Path
) -> None:
    place = tmp_path
    with (
        exporting(service) as (exporter, port),
        AlertSink() as sink,
        pushgateway(place / "pushed") as pushed,
    ):
        gateway = f"http://127.0.0.1:{pushed}"
        with (
            alertmanager(place / "told", told_at(place, sink.url)) as manager,
            prometheus(place / "kept", configured(place, port, pushed, manager)) as asked,
        ):
            stale = sink.wait_for("PostgresBackupStale")
            assert stale["labels"]["severity"] == "critical"
            assert stale["labels"]["service"] == "kb"
            assert stale["annotations"]["runbook_url"].endswith("#newest_backup_is_young")
            sink.wait_for("KbDrNeverProven")
            assert not sink.told("WalArchiveLag")
            assert not heard_nothing_of(sink, port)

            service.run("backup", "full").require(0)
            sink.wait_for("PostgresBackupStale", "resolved")

            service.run("metrics", "push", gateway).require(0)
            instance = 'backup_postgres_last_success_timestamp{instance!~"127.*"}'
            until(lambda: series(asked, instance) == ["kb"], "what was pushed")

            exporter.send_signal(signal.SIGTERM)
            assert exporter.wait(SECONDS) == 130
            until(lambda: heard_nothing_of(sink, port), "the exporter's death")


def test_what_the_command_prints_and_writes_passes_promtool(
    service: Service, tmp_path: Path
) -> None:
    printed = service.run("metrics").require(0).out
    textfiles = tmp_path / "textfiles"
    textfiles.mkdir()
    service.run("metrics", "textfile", str(textfiles)).require(0)
    written = (textfiles / "kb_dr_kb.prom").read_text()
    with exporting(service) as (_, port):
        _, served = get(port, "/metrics")

    for text in (printed, written, served):
        said = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (said.returncode, said.stdout + said.stderr) == (0, "")
    assert names(printed) == names(written) == names(served)
    assert "backup_postgres_last_success_timestamp" in names(printed)
    assert "kb_dr_wal_archived_total" in names(printed)


def heard_nothing_of(sink: AlertSink, port: int) -> bool:
    """Before the first scrape the alert fires as well, for `for` is 0 here, and names nobody."""
    wanted = {"instance": f"127.0.0.1:{port}", "severity": "critical"}
    return any(wanted.items() <= each["labels"].items() for each in sink.told("KbDrExporterDown"))


def names(text: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))


def series(port: int, expression: str) -> list[str]:
    """The services of which Prometheus has a value now."""
    _, answer = get(port, f"/api/v1/query?query={quote(expression)}")
    return [each["metric"]["service"] for each in json.loads(answer)["data"]["result"]]


def configured(place: Path, exporter: int, pushed: int, manager: int) -> Path:
    """The example as it is shipped: with these addresses, and quicker."""
    config = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    config["global"] = {
        "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms",
    }  # fmt: skip
    for job, port in zip(config["scrape_configs"], (exporter, pushed), strict=True):
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    managers = [{"targets": [f"127.0.0.1:{manager}"]}]
    config["alerting"]["alertmanagers"] = [{"static_configs": managers}]
    for name in config["rule_files"]:
        rules = (DEPLOYED / name).read_text()
        (place / name).write_text(re.sub(r"for: \w+", "for: 0s", rules))
    return written(place / "prometheus.yml", config)


def told_at(place: Path, url: str) -> Path:
    """The example of Alertmanager: with the sink for everybody, and at once."""
    config = yaml.safe_load((DEPLOYED / "alertmanager.yml").read_text())
    config["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": url}]
    return written(place / "alertmanager.yml", config)


def written(path: Path, config: object) -> Path:
    path.write_text(yaml.safe_dump(config))
    return path
