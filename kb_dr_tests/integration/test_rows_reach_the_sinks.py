"""Each row of the watch, all the way: broken for real, read at every sink, mended, read again.

One service, its pages, its alerts in a real database, and a sink of each kind: nothing is faked
between what breaks and what people read.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import dagster as dg
import pytest

from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.message import What
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch_checks import HOURLY_CHECKS, MINUTE_CHECKS
from kb_dr.operations.drill_records import store_drill
from kb_dr_tests.broken_rows import (
    ROWS,
    Breaking,
    archive_command_lied,
    bucket_is_read_only,
    copy_lags,
    segment_is_gone,
    verifier_misjudges,
)
from kb_dr_tests.catalog_database import CatalogDatabase
from kb_dr_tests.days_ago import DaysAgo
from kb_dr_tests.joined import Joined, Sinks, Told, all_sinks, heard_everywhere
from kb_dr_tests.made_drills import made_drill
from kb_dr_tests.object_stores import MotoStore
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.protected_service import ProtectedService, protect
from kb_dr_tests.sinks import Certificates

C, W = Severity.CRITICAL, Severity.WARNING

SETTINGS = {
    # This machine's disks are whatever they are.
    "KB_DR_SPACE_WARNING_PERCENT": "100",
    "KB_DR_SPACE_CRITICAL_PERCENT": "101",
    "KB_DR_S3_TIMEOUT_SECONDS": "1",
    "KB_DR_DAGSTER_URL": "http://127.0.0.1:3000",
}
GAP = "check/postgres/wal_archive/wal_archive_has_no_gap"
ROOM = "check/postgres/wal_archive/copies_have_room"
BLIND = "check/recovery/controls/verifier_sees_damage"
REPORT = "check/repository/integrity_report/what_is_kept_is_whole"
RUN = "run/backup_job/full"


def key(check: str) -> str:
    """The condition of a check of the watch."""
    asset = {**MINUTE_CHECKS, **HOURLY_CHECKS}[check]
    return f"check/{'/'.join(asset)}/{check}"


@pytest.fixture(scope="module")
def service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProtectedService]:
    """Both copies proven, and a drill passed, as its record says."""
    with ExitStack() as stack:
        made = protect(postgres_programs, tmp_path_factory.mktemp("joined"), stack)
        made.run("verify", "latest", "--from", "primary").require(0)
        opened = made.opened()
        offsite = opened.repository("offsite")
        store_drill((offsite,), made_drill(opened.clock.now(), url=offsite.url))
        yield made


@pytest.fixture(scope="module")
def sinks(certificates: Certificates, moto_store: MotoStore) -> Iterator[Sinks]:
    with all_sinks(certificates, moto_store) as made, pytest.MonkeyPatch.context() as patch:
        for name, value in made.sns.environment.items():
            patch.setenv(name, value)
        patch.setenv("SSL_CERT_FILE", str(certificates.authority))
        yield made


@pytest.fixture(scope="module")
def joined(
    service: ProtectedService, sinks: Sinks, shared_primary: RunningCluster
) -> Iterator[Joined]:
    """After the day's report, and the sensor's first tick."""
    database = CatalogDatabase(shared_primary, "alerts")
    with dg.DagsterInstance.local_temp() as instance:
        made = Joined(
            service, instance, SETTINGS | sinks.settings | {"KB_DR_CATALOG_URL": database.url}
        )
        assert made.run("integrity_report_job")
        made.tick()
        yield made


@pytest.fixture(autouse=True)
def quiet_before_and_after(joined: Joined, sinks: Sinks) -> Iterator[None]:
    """Nothing is open, nothing waits, and what was told before is forgotten."""
    sinks.forget()
    joined.a_minute_later()
    yield
    joined.for_a_while, joined.clock = {}, SystemClock
    assert joined.alerting.alerts() == ()
    assert joined.alerting.undelivered() == ()
    assert sinks.pagerduty.open_incidents() == ()


def test_a_healthy_service_is_told_to_nobody(joined: Joined, sinks: Sinks) -> None:
    assert joined.run("hourly_watch_job", "wal_audit_job")
    for _ in range(3):
        assert joined.run("watch_job")
        joined.tick()

    assert set(sinks.counts().values()) == {0}, [each.content for each in sinks.webhook.messages]


@dataclass(frozen=True)
class Breach:
    """Rows that break at the same time, and all that has to be told of it."""

    name: str
    told: Told
    rows: tuple[str, ...] = ()
    also: tuple[Breaking, ...] = ()
    jobs: tuple[str, ...] = ("watch_job",)
    settings: Mapping[str, str] = field(default_factory=dict)
    """While it is broken: a threshold is what breaks it."""
    days_ahead: float = 0.0
    said: Mapping[str, str] = field(default_factory=dict)
    """Words people read, by condition."""
    twice: bool = False
    """Whether it is looked at twice."""


BREACHES = (
    Breach(
        "nothing leaves the server, and nothing could be stored",
        {
            key("archiver_succeeds"): C,
            key("wal_leaves_the_server"): C,
            key("rpo_holds"): C,
            key("slot_keeps_up"): C,
            key("repositories_answer"): C,
            key("backups_are_quick"): W,
            key("disks_have_room"): W,
        },
        # What is made last is mended first: the bucket takes WAL before the server archives again.
        rows=(
            "archiver fails", "WAL piles up", "RPO is broken", "slot nobody reads",
            "backup is slow", "disk fills up", "bucket is read-only",
        ),
        twice=True,
    ),
    Breach(
        "the region is gone",
        {
            key("repositories_answer"): C,
            key("newest_backup_is_young"): W,
            key("newest_increment_is_young"): W,
            key("newest_dump_is_young"): W,
            key("backup_size_is_plausible"): W,
            key("backups_are_quick"): W,
            key("rpo_holds"): W,
            key("archived_wal_has_arrived"): W,
            key("copies_follow"): W,
        },
        rows=("bucket is away",),
        said={
            key("repositories_answer"): "cannot be read or written: primary: primary: get s3://",
            key("archived_wal_has_arrived"): "Nobody can tell whether archived WAL has arrived",
        },
    ),
    Breach(
        "a month goes by, and nothing happens",
        {
            key("newest_backup_is_young"): C,
            key("newest_increment_is_young"): W,
            key("newest_dump_is_young"): W,
            key("newest_proof_is_young"): C,
            key("rpo_holds"): C,
            key("clocks_agree"): C,
            key("copies_follow"): C,
            key("coverage_is_whole"): W,
            REPORT: W,
        },
        also=(copy_lags,),
        jobs=("watch_job", "hourly_watch_job"),
        days_ahead=30,
    ),
    Breach(
        "the wrong key, no room, and a verifier that misjudges",
        {key("keys_open"): C, ROOM: W, BLIND: C},
        rows=("wrong identity",),
        also=(verifier_misjudges,),
        jobs=("hourly_watch_job",),
        settings={"KB_DR_SPACE_WARNING_PERCENT": "1"},
    ),
    Breach(
        "a gap, a copy behind, a database that shrank",
        {GAP: C, key("copies_follow"): C, key("backup_size_is_plausible"): W},
        rows=("copy lags", "backup shrinks"),
        also=(segment_is_gone,),
        jobs=("watch_job", "wal_audit_job"),
        said={GAP: "foreign WAL: offsite: gap 0000000100000000000000"},
    ),
)  # fmt: skip


@pytest.mark.parametrize("breach", BREACHES, ids=lambda each: each.name)
def test_what_breaks_is_read_at_every_sink_and_so_is_its_end(
    breach: Breach, joined: Joined, sinks: Sinks, service: ProtectedService
) -> None:
    rows = [ROWS[name] for name in breach.rows]
    assert {key(row.check): row.severity for row in rows}.items() <= breach.told.items()
    while_broken = dict(breach.settings)
    for row in rows:
        while_broken |= row.settings | row.while_broken
    with ExitStack() as broken:
        for each in (*(row.broken for row in rows), *breach.also):
            broken.enter_context(each(service))
        joined.for_a_while = while_broken
        joined.clock = lambda: DaysAgo(-breach.days_ahead)
        assert joined.run(*breach.jobs)
        joined.tick()
        first = heard_everywhere(sinks, What.OPENED)
        texts = {
            each.content["dedup_key"]: f"{each.content['title']}: {each.content['happened']}"
            for each in sinks.webhook.messages
        }
        if breach.twice:
            # Seen again it is counted, and not told again.
            joined.run(*breach.jobs)
            joined.tick()
            assert heard_everywhere(sinks, What.OPENED) == first
            assert {each.times for each in joined.alerting.alerts()} == {2}
        sinks.forget()
    joined.for_a_while, joined.clock = {}, SystemClock
    assert joined.run(*breach.jobs)
    joined.tick()
    over = heard_everywhere(sinks, What.RECOVERED)
    assert first == breach.told
    for condition, words in breach.said.items():
        assert words in texts[condition]
    assert over == first


def test_a_backup_run_that_fails_and_a_command_that_lies_are_told_and_mended_by_a_backup(
    joined: Joined, sinks: Sinks, service: ProtectedService
) -> None:
    """What the server calls archived is not there; and the run that would mend it fails first."""
    backup = joined.name_a_backup()
    with archive_command_lied(service):
        with bucket_is_read_only(service):
            assert not joined.run("backup_job", partition=backup)
        assert joined.run("watch_job")
        joined.tick()
        told = heard_everywhere(sinks, What.OPENED)
        sinks.forget()
    joined.run("watch_job")
    joined.tick()
    assert set(sinks.counts().values()) == {0}, "that it archives again brings nothing back"
    assert joined.run("backup_job", partition=backup)
    assert joined.run("watch_job")
    joined.tick()

    over = heard_everywhere(sinks, What.RECOVERED)
    assert told == {key("archived_wal_has_arrived"): C, RUN: C}
    assert over == told
