"""What is shipped for Prometheus and Grafana is held against the real programs and the code."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kb_dr.adapters.prometheus_text import as_text
from kb_dr.domain.metric import METRICS
from kb_dr.domain.proof import Verdict
from kb_dr_tests.made_installation import MadeInstallation

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "kb_dr.rules.yml"
RECORDING = PROMETHEUS / "kb_dr.recording.yml"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
DASHBOARD = ROOT / "deploy" / "grafana" / "kb_dr.json"
MONITORING = ROOT / "docs" / "monitoring.md"

PROMETHEUS_ITSELF = {"up", "ALERTS"}
NEXT_WORK = ("backup_minio_", "backup_redis_")
"""Names the requirements give to work that is not there yet: nobody writes them."""

OF_THE_REQUIREMENTS = {
    "PostgresBackupStale": (
        "time() - backup_postgres_last_success_timestamp > 26 * 3600", "10m", "critical",
    ),
    "PostgresBackupSizeDrop": (
        "backup_postgres_last_size_bytes < 0.5 * backup_postgres_avg_size_bytes_7d",
        "5m", "warning",
    ),
    "WalArchiveLag": ("backup_wal_archive_failures > 0", "5m", "critical"),
}  # fmt: skip


def promtool(*words: str | Path, given: bytes = b"") -> str:
    """Run it to its end; what it says. A missing program fails the test."""
    done = subprocess.run(
        ["promtool", *map(str, words)], input=given, capture_output=True, timeout=120, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_rules_and_the_example_are_valid() -> None:
    said = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert "kb_dr.rules.yml" in said
    assert "kb_dr.recording.yml" in said


def test_the_example_of_alertmanager_is_valid() -> None:
    config = PROMETHEUS / "alertmanager.yml"
    subprocess.run(["amtool", "check-config", str(config)], check=True, capture_output=True)


def test_the_example_silences_no_other_exporter_than_the_one_that_is_down() -> None:
    config = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())

    assert all("instance" in each.get("equal", ()) for each in config["inhibit_rules"])


def test_the_tests_of_the_rules_pass() -> None:
    assert "FAILED" not in promtool("test", "rules", *TESTS)


def test_each_alert_is_tested_quiet_and_firing() -> None:
    quiet: set[str] = set()
    firing: set[str] = set()
    for path in TESTS:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for each in group.get("alert_rule_test", ()):
                (firing if each["exp_alerts"] else quiet).add(each["alertname"])
            for each in group.get("promql_expr_test", ()):
                for name in re.findall(r'alertname="(\w+)"', each["expr"]):
                    (firing if each["exp_samples"] else quiet).add(name)

    assert set(alerts()) == quiet == firing


def test_the_alerts_of_the_requirements_are_there_word_for_word() -> None:
    found = alerts()
    for name, wanted in OF_THE_REQUIREMENTS.items():
        rule = found[name]
        assert (rule["expr"].strip(), rule["for"], rule["labels"]["severity"]) == wanted


def test_each_alert_says_what_it_is_and_where_to_read_on() -> None:
    anchors = {anchor(line) for line in MONITORING.read_text().splitlines() if line.startswith("#")}
    for name, rule in alerts().items():
        notes = rule["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}, name
        document, _, fragment = notes["runbook_url"].partition("#")
        assert document == "docs/monitoring.md", name
        assert fragment in anchors, name
        severity = rule.get("labels", {}).get("severity")
        assert severity in ("critical", "warning") or name == "KbDrCheckFailed"
        assert f"`{name}`" in MONITORING.read_text(), name


def test_rules_and_dashboard_name_only_what_is_written() -> None:
    rules = [rule["expr"] for path in (RULES, RECORDING) for rule in rules_of(path)]
    recorded = {rule["record"] for rule in rules_of(RECORDING)}
    dashed = [*map(str, expressions(json.loads(DASHBOARD.read_text())))]

    for expression in (*rules, *dashed):
        named = names_in(expression)
        assert named, expression
        assert named <= {*METRICS, *PROMETHEUS_ITSELF, *recorded}, expression
        assert not [each for each in named if each.startswith(NEXT_WORK)]


def test_each_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    found = list(expressions(json.loads(DASHBOARD.read_text())))
    assert len(found) > 30
    rules = [
        {"record": f"panel:{number}", "expr": each.replace("$service", "kb")}
        for number, each in enumerate(found)
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    said = promtool("check", "rules", file)

    assert f"{len(found)} rules found" in said


def test_the_dashboard_has_the_panels_that_are_asked_for() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [each for each in dashboard["panels"] if each["type"] != "row"]
    titles = {each["title"] for each in panels}

    assert {
        "Backups, last 24h", "Backups, last 7d", "Backups, last 30d", "Time since the last success",
        "Sizes", "Proofs, last 30 days", "RPO of each copy", "RTO, measured and forecast",
        "Verified coverage",
    } <= titles  # fmt: skip
    assert len({each["id"] for each in dashboard["panels"]}) == len(dashboard["panels"])
    places = [each["gridPos"] for each in dashboard["panels"]]
    assert not [
        (one, two)
        for number, one in enumerate(places)
        for two in places[:number]
        if one["x"] < two["x"] + two["w"] and two["x"] < one["x"] + one["w"]
        and one["y"] < two["y"] + two["h"] and two["y"] < one["y"] + one["h"]
    ]  # fmt: skip
    for panel in panels:
        if panel["type"] == "stat":
            # The last value there ever was would be shown as that of now.
            assert all(target["instant"] for target in panel["targets"]), panel["title"]
            assert panel["fieldConfig"]["defaults"]["noValue"] == "nobody can tell"


def test_what_is_written_passes_the_checks_of_promtool(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path)
    stored = made.has_backup()
    made.has_proof(stored, Verdict.PROVEN, copy="primary")

    found = made.measure()

    assert len({each.name for each in found}) > 25
    assert promtool("check", "metrics", given=as_text(found)) == ""


def test_every_name_passes_them() -> None:
    lines = []
    for name, each in METRICS.items():
        labels = ",".join(f'{label}="x"' for label in ("service", *each.labels))
        lines += [
            f"# HELP {name} {each.help}",
            f"# TYPE {name} {each.kind}",
            f"{name}{{{labels}}} 1",
        ]

    assert promtool("check", "metrics", given="\n".join([*lines, ""]).encode()) == ""


def test_the_document_lists_the_metrics_as_they_are() -> None:
    rows = re.findall(r"^\| `((?:kb_dr|backup)_\w+)` \| (.*?) \| (.*?) \| (.*?) \|$",
                      MONITORING.read_text(), re.MULTILINE)  # fmt: skip
    wanted = [
        (name, ", ".join(each.labels) or "-", each.unit, each.help)
        for name, each in METRICS.items()
    ]
    assert rows == wanted


def rules_of(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules_of(RULES)}


def expressions(part: object) -> "list[str]":
    """Every expression and every query of a dashboard."""
    if isinstance(part, list):
        return [each for item in part for each in expressions(item)]
    if isinstance(part, dict):
        own = [part["expr"]] if isinstance(part.get("expr"), str) else []
        return own + [each for item in part.values() for each in expressions(item)]
    return []


def names_in(expression: str) -> set[str]:
    """The metrics of an expression: no function, keyword or label of ours looks like one."""
    bare = re.sub(
        r"\{[^}]*\}|\b(?:on|by|without|group_left)\s*\([^)]*\)|\[[^\]]*\]", " ", expression
    )
    words = set(re.findall(r"[a-z_A-Z][\w:]*", bare))
    return words - {"time", "abs", "absent", "or", "and", "unless", "on", "by", "count", "max",
                    "min", "increase", "min_over_time", "max_over_time"}  # fmt: skip


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    text = heading.lstrip("#").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@pytest.mark.parametrize("name", ["backup_minio_last_mirror_timestamp", "backup_redis_last_rdb"])
def test_no_rule_waits_for_what_nobody_writes(name: str) -> None:
    assert name not in RULES.read_text() + RECORDING.read_text() + DASHBOARD.read_text()
