"""Each row of the watch made false and true again, on a protected service of real programs.

`ROWS` names them. Each is a check, how bad it is, and a block within which it says no; behind the
block it says yes again. What a row needs to be seen in a moment stands in its settings.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import pyrage

from kb_dr.domain import layout
from kb_dr.domain.control import Damage
from kb_dr.domain.severity import Severity
from kb_dr.operations.controls import store_control_run
from kb_dr_tests.faults.s3_proxy import Fault, Kind
from kb_dr_tests.made_controls import MISJUDGED, made_run
from kb_dr_tests.protected_service import ProtectedService, shell_line

MANY = 1_000_000

Breaking = Callable[[ProtectedService], AbstractContextManager[None]]
"""Something breaks, and is mended behind the block."""


@dataclass(frozen=True)
class Row:
    """One row."""

    name: str
    check: str
    """The check that says no while it is broken."""
    severity: Severity
    broken: Breaking
    settings: dict[str, str] = field(default_factory=dict)
    """Thresholds to look with, all the time."""
    while_broken: dict[str, str] = field(default_factory=dict)
    """Settings to look with only while it is broken: the threshold is what breaks it."""


@contextmanager
def nothing(service: ProtectedService) -> Iterator[None]:
    """The settings alone break it."""
    yield


@contextmanager
def archive_command_fails(service: ProtectedService) -> Iterator[None]:
    """Nothing leaves the server, and it says so; three segments and more wait."""
    cluster = service.cluster
    cluster.archive_with("/bin/false")
    try:
        for _ in range(3):
            cluster.query("create table if not exists kb_dr_tick (at timestamptz)")
            cluster.query("insert into kb_dr_tick values (now())")
            cluster.switch_wal()
        cluster.wait_for(
            "select last_failed_time > coalesce(last_archived_time, '-infinity')"
            " from pg_stat_archiver"
        )
        yield
    finally:
        archive_again(service)


@contextmanager
def archive_command_lied(service: ProtectedService) -> Iterator[None]:
    """The server calls archived what nobody stored; behind the block it archives again, and the
    gap stays."""
    cluster = service.cluster
    cluster.archive_with("/bin/true")
    try:
        cluster.archive_everything()
        yield
    finally:
        archive_again(service)


@contextmanager
def archive_command_lies(service: ProtectedService) -> Iterator[None]:
    """The same; only a full backup makes that good."""
    try:
        with archive_command_lied(service):
            yield
    finally:
        service.run("backup", "full").require(0)


def archive_again(service: ProtectedService) -> None:
    """The archive_command of the service, in effect, and everything archived by it."""
    service.cluster.archive_with(shell_line(service.words("wal", "push")) + ' "%p"')
    service.cluster.archive_everything()


@contextmanager
def slot_nobody_reads(service: ProtectedService) -> Iterator[None]:
    """A slot of the stream's name, inactive: it keeps WAL until the disk is full."""
    service.cluster.query("select pg_create_physical_replication_slot('kb_dr', true)")
    try:
        yield
    finally:
        service.cluster.query("select pg_drop_replication_slot('kb_dr')")


@contextmanager
def bucket_is_away(service: ProtectedService) -> Iterator[None]:
    """Nothing comes through to the region of the primary."""
    service.proxy.cut()
    try:
        yield
    finally:
        service.proxy.heal()


@contextmanager
def bucket_is_read_only(service: ProtectedService) -> Iterator[None]:
    """It lists and reads, and takes nothing."""
    forget_probes(service)
    refused = Fault(Kind.ANSWER, "PUT", times=MANY, status=403, code="AccessDenied")
    service.proxy.inject(refused)
    try:
        yield
    finally:
        service.proxy.heal()


def forget_probes(service: ProtectedService) -> None:
    """So that the next look writes one."""
    primary = service.opened().primary
    for listed in list(primary.list(layout.PROBES)):
        primary.delete(listed.key)


@contextmanager
def copy_lags(service: ProtectedService) -> Iterator[None]:
    """A segment stands in the primary and not offsite."""
    service.cluster.archive_everything()
    try:
        yield
    finally:
        service.run("copy").require(0)


@contextmanager
def segment_is_gone(service: ProtectedService) -> Iterator[None]:
    """A segment offsite is not where it was, between others that are."""
    segment = service.segments[1]
    (stored,) = (service.directory / "offsite").glob(f"wal/*/*/{segment}-*")
    elsewhere = service.directory / stored.name
    stored.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(stored)


@contextmanager
def verifier_misjudges(service: ProtectedService) -> Iterator[None]:
    """A round of negative controls in which damage was taken for another; then a good one."""
    opened = service.opened()
    places = [opened.repository(copy) for copy in opened.copies]
    store_control_run(places, made_run(opened.clock.now(), {next(iter(Damage)): MISJUDGED}))
    try:
        yield
    finally:
        store_control_run(places, made_run(opened.clock.now()))


@contextmanager
def backup_shrinks(service: ProtectedService) -> Iterator[None]:
    """A table is gone, and the newest full backup is smaller than those before it."""
    cluster = service.cluster
    cluster.query("drop table filler")
    try:
        service.run("backup", "full").require(0)
        yield
    finally:
        cluster.query(
            "create table filler as select gen_random_uuid() from generate_series(1, 150000)"
        )


@contextmanager
def identity_is_another(service: ProtectedService) -> Iterator[None]:
    """The identity held is a stranger's; the file is put back behind the block."""
    key = service.directory / "kb.agekey"
    own = key.read_text()
    key.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    try:
        yield
    finally:
        key.write_text(own)


C, W = Severity.CRITICAL, Severity.WARNING

QUICK = {"KB_DR_S3_TIMEOUT_SECONDS": "1"}
"""A bucket that is away is waited for no longer than a test has time."""

ROWS = {
    row.name: row
    for row in (
        Row("archiver fails", "archiver_succeeds", C, archive_command_fails),
        Row(
            "WAL piles up", "wal_leaves_the_server", C, archive_command_fails,
            settings={"KB_DR_WAL_WAITING": "2"},
        ),
        Row("archiver lies", "archived_wal_has_arrived", C, archive_command_lies),
        Row("slot nobody reads", "slot_keeps_up", C, slot_nobody_reads),
        Row("bucket is away", "repositories_answer", C, bucket_is_away, settings=QUICK),
        Row("bucket is read-only", "repositories_answer", C, bucket_is_read_only),
        # Whatever lags, lags for more than twice nothing.
        Row(
            "copy lags", "copies_follow", C, copy_lags,
            while_broken={"KB_DR_COPY_LAG_SECONDS": "0"},
        ),
        Row(
            "backup shrinks", "backup_size_is_plausible", W, backup_shrinks,
            while_broken={"KB_DR_BACKUP_SIZE_PERCENT": "95"},
        ),
        Row("wrong identity", "keys_open", C, identity_is_another),
        Row(
            "backup is old", "newest_backup_is_young", C, nothing,
            while_broken={"KB_DR_BACKUP_AGE_HOURS": "0.0001"},
        ),
        Row(
            "backup is slow", "backups_are_quick", W, nothing,
            while_broken={"KB_DR_BACKUP_MINUTES": "0.001"},
        ),
        Row(
            "disk fills up", "disks_have_room", W, nothing,
            settings={"KB_DR_SPACE_WARNING_PERCENT": "100", "KB_DR_SPACE_CRITICAL_PERCENT": "101"},
            while_broken={"KB_DR_SPACE_WARNING_PERCENT": "1"},
        ),
        Row(
            "RPO is broken", "rpo_holds", C, archive_command_fails,
            while_broken={"KB_DR_RPO_SECONDS": "1"},
        ),
    )
}  # fmt: skip
"""By name."""
