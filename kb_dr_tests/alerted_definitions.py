"""A few jobs, checks and schedules that go well or badly as a test says, with the alert sensor."""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from kb_dr.defs.alerts import alerts_go_out

ARCHIVE = dg.AssetKey(["postgres", "wal_archive"])
POINT = dg.AssetKey(["recovery", "point"])
BACKUP = dg.AssetKey(["postgres", "backup"])
PARTITIONS = dg.DynamicPartitionsDefinition(name="postgres_backups")

RPO = "check/recovery/point/rpo_holds"
ROOM = "check/postgres/wal_archive/copies_have_room"


@dataclass
class World:
    """What goes well."""

    backup: bool = True
    room: bool = True
    rpo: bool = True
    seen: str = "as it should be"
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    crash: bool = False
    blocking: bool = True


def alerted(world: World) -> dg.Definitions:
    """The definitions; names are those of the product, so that the sensor knows them."""

    @dg.op
    def work() -> None:
        if not world.backup:
            raise dg.Failure("the bucket is gone", metadata={"hint": "look for it"})

    @dg.job(executor_def=dg.in_process_executor)
    def backup_job() -> None:
        work()

    @dg.job(executor_def=dg.in_process_executor)
    def offsite_copy_job() -> None:
        work()

    @dg.job(executor_def=dg.in_process_executor)
    def restore_database() -> None:
        work()

    @dg.multi_asset_check(
        name="watch",
        can_subset=True,
        specs=[
            dg.AssetCheckSpec("copies_have_room", asset=ARCHIVE),
            dg.AssetCheckSpec("rpo_holds", asset=POINT),
        ],
    )
    def watch() -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(
            asset_key=ARCHIVE, check_name="copies_have_room", passed=world.room,
            severity=world.severity, description=world.seen,
            metadata={"subjects": '["offsite"]', "hint": "make room", "used_percent": 97.5},
        )  # fmt: skip
        if world.crash:
            raise RuntimeError("division by zero")
        yield dg.AssetCheckResult(asset_key=POINT, check_name="rpo_holds", passed=world.rpo)

    @dg.asset(key=BACKUP, partitions_def=PARTITIONS)
    def backup() -> None:
        """Never run here; the check of its partitions is reported."""

    @dg.multi_asset_check(
        name="restore_proven",
        can_subset=True,
        specs=[dg.AssetCheckSpec("restore_proven", asset=BACKUP, partitions_def=PARTITIONS)],
    )
    def restore_proven() -> Iterator[dg.AssetCheckResult]:
        yield from ()

    @dg.asset(
        check_specs=[
            dg.AssetCheckSpec("what_is_kept_is_whole", asset="whole", blocking=True),
        ]
    )
    def whole() -> Iterator[dg.Output[None] | dg.AssetCheckResult]:
        yield dg.Output(None)
        yield dg.AssetCheckResult(
            check_name="what_is_kept_is_whole", passed=world.room, description=world.seen
        )

    @dg.asset(deps=[whole])
    def after() -> None:
        """What a blocking check keeps from being made."""

    schedules = [
        dg.ScheduleDefinition(
            name=name, job=backup_job, cron_schedule=cron, execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
        for name, cron in (("daily_full_backup", "0 2 * * *"), ("wal_every_minute", "* * * * *"))
    ]  # fmt: skip
    return dg.Definitions(
        assets=[dg.AssetSpec(ARCHIVE), dg.AssetSpec(POINT), backup, whole, after],
        asset_checks=[watch, restore_proven],
        jobs=[
            dg.define_asset_job(
                "watch_job",
                selection=dg.AssetSelection.checks(watch),
                executor_def=dg.in_process_executor,
            ),
            dg.define_asset_job(
                "integrity_report_job",
                selection=dg.AssetSelection.assets(whole, after),
                executor_def=dg.in_process_executor,
            ),
            backup_job,
            offsite_copy_job,
            restore_database,
        ],
        schedules=schedules,
        sensors=[alerts_go_out],
    )
