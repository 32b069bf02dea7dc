"""The whole Dagster surface, listed by hand: the page to read first.

Backups are partitions: `postgres/backup` -> `postgres/offsite_copy` -> `postgres/restore_proof`.
Whether one can be relied on is said by the check `restore_proven`, read from the repositories.
"""

import dagster as dg

from kb_dr.defs import alerts, catalog, integrity, reaper, retention, watch, weekly_digest
from kb_dr.defs.loaded import let_loaded_be
from kb_dr.defs.postgres import assets, checks, copying, jobs, repair, schedules, sensors
from kb_dr.defs.recovery import assets as recovery_assets
from kb_dr.defs.recovery import checks as recovery_checks
from kb_dr.defs.recovery import drill, readiness, recovery_schedules, restore
from kb_dr.defs.recovery import jobs as recovery_jobs
from kb_dr.defs.recovery import schedules as controls_schedules
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes, schedule_times


def build_definitions(door: InstallationDoor, times: ScheduleTimes) -> dg.Definitions:
    """Everything, for one installation."""
    return dg.Definitions(
        assets=[
            assets.backup,
            copying.offsite_copy,
            copying.local_copy,
            assets.restore_proof,
            assets.wal_archive,
            copying.offsite_wal,
            copying.local_wal,
            recovery_assets.controls,
            restore.restore_asset,
            drill.drill,
            readiness.readiness,
            integrity.integrity_report,
            retention.retention,
            watch.point,
            watch.copies,
        ],
        asset_checks=[
            checks.restore_proven,
            checks.every_chunk_is_stored,
            checks.wal_archive_has_no_gap,
            checks.copies_have_room,
            recovery_checks.verifier_sees_damage,
            drill.a_passed_drill_is_recent,
            integrity.what_is_kept_is_whole,
            watch.watch,
            watch.hourly_watch,
        ],
        jobs=[
            jobs.back_up_now,
            jobs.dump_now,
            jobs.backup_job,
            jobs.offsite_copy_job,
            jobs.local_copy_job,
            jobs.verify_job,
            jobs.wal_job,
            jobs.local_wal_job,
            jobs.wal_audit_job,
            repair.repair_copies,
            recovery_jobs.negative_controls_job,
            restore.restore_database,
            drill.disaster_recovery_drill,
            drill.monthly_restore_test,
            readiness.readiness_job,
            integrity.integrity_report_job,
            retention.retention_job,
            weekly_digest.weekly_digest_job,
            watch.watch_job,
            watch.hourly_watch_job,
        ],
        schedules=[
            *schedules.make_schedules(times),
            *controls_schedules.make_schedules(times),
            *recovery_schedules.make_recovery_schedules(times),
            *integrity.make_report_schedules(times),
            *retention.make_retention_schedules(times),
            *weekly_digest.make_digest_schedules(times),
            *watch.make_watch_schedules(),
        ],
        sensors=[
            sensors.backups_asked_for,
            sensors.new_backups_go_offsite,
            sensors.new_backups_go_to_the_local_copy,
            sensors.pages_follow_the_repository,
            catalog.catalog_follows_the_repository,
            reaper.reaper,
            alerts.alerts_go_out,
        ],
        resources={"door": door},
        executor=dg.in_process_executor,
    )


defs = build_definitions(InstallationDoor(), schedule_times())
let_loaded_be()
