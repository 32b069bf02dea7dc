"""Metrics: one value at one moment, and the list of every name there is.

Names follow the conventions of Prometheus (base units, the unit in the name); those that begin
with ``backup_`` are asked for by requirement W3. docs/monitoring.md shows the same list, and
a test holds the two equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class MetricKind(StrEnum):
    """What may be done with the values of one name."""

    GAUGE = "gauge"
    COUNTER = "counter"
    """Only grows, until what counts is made anew."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One value, as it was when it was looked at."""

    name: str
    labels: Mapping[str, str]
    """In the order in which Described names them, ``service`` first."""
    value: float


@dataclass(frozen=True, slots=True)
class Described:
    """One name: what its values mean."""

    help: str
    unit: str
    """Of one value: ``seconds``, ``bytes``, ``Unix time`` (seconds since 1970), ``0 or 1``,
    ``0 to 1``, ``count``."""
    labels: tuple[str, ...] = ()
    """Besides ``service``, which every metric has."""
    kind: MetricKind = MetricKind.GAUGE


TIME, SECONDS, BYTES, COUNT = "Unix time", "seconds", "bytes", "count"
SWITCH, SHARE = "0 or 1", "0 to 1"

_W3 = {
    "backup_postgres_last_success_timestamp": Described(
        "End of the newest full backup in the primary repository that nothing speaks against.",
        TIME,
    ),
    "backup_postgres_last_size_bytes": Described(
        "What that backup takes in the repository.", BYTES
    ),
    "backup_postgres_avg_size_bytes_7d": Described(
        "Mean of the same over the other full backups of the seven days before it.", BYTES
    ),
    "backup_wal_archive_failures": Described(
        "What pg_stat_archiver counts as failed while its last attempt failed; 0 once one "
        "succeeded.",
        COUNT,
    ),
}  # fmt: skip

_OURSELVES = {
    "kb_dr_build_info": Described("Always 1.", SWITCH, ("version", "python")),
    "kb_dr_last_look_timestamp_seconds": Described(
        "When the last look that ended was begun: all other values are as of then.", TIME
    ),
    "kb_dr_look_duration_seconds": Described("How long that look took.", SECONDS),
    "kb_dr_watch_last_success_timestamp_seconds": Described(
        "When the watch last went through all its checks, whatever they said.", TIME
    ),
    "kb_dr_alerts_open": Described("Alerts that are not closed.", COUNT, ("severity",)),
}

_ANSWER = {
    "kb_dr_recoverable": Described(
        "Whether any copy holds a usable backup and WAL whose end is known.", SWITCH
    ),
    "kb_dr_objectives_hold": Described(
        "Whether every objective of `kb-dr status` holds; what could not be told does not.",
        SWITCH,
    ),
    "kb_dr_objective_holds": Described(
        "Whether one of them holds; absent when nobody could tell.", SWITCH, ("objective",)
    ),
    "kb_dr_objective_unknown": Described(
        "1 when nobody could tell whether it holds.", SWITCH, ("objective",)
    ),
    "kb_dr_objective_limit_seconds": Described(
        "What the settings allow: rpo, rto, backup_age, proof_age, control_age, drill_age.",
        SECONDS,
        ("limit",),
    ),
    "kb_dr_check": Described(
        "Whether the sentence a check is named after is true; absent when nobody could tell, or "
        "it speaks of nothing here.",
        SWITCH,
        ("check", "severity"),
    ),
    "kb_dr_check_unknown": Described(
        "1 when nobody could tell.", SWITCH, ("check", "severity")
    ),
}  # fmt: skip

_COPIES = {
    "kb_dr_copy_readable": Described("Whether a copy could be looked at.", SWITCH, ("copy",)),
    "kb_dr_copy_unreadable_records": Described(
        "Manifests and proofs that stand in a copy and cannot be read.", COUNT, ("copy",)
    ),
    "kb_dr_copy_lag_seconds": Described(
        "How long the oldest backup that the primary has, and a further copy has not, nor any "
        "newer one, has been there; 0 when there is none.",
        SECONDS,
        ("copy",),
    ),
    "kb_dr_copy_stored_bytes": Described(
        "Backups and WAL of a copy, by the newest integrity report.", BYTES, ("copy",)
    ),
    "kb_dr_copy_gap_seconds": Described(
        "Time of the recoverable window to which nobody can recover, by the same report.",
        SECONDS,
        ("copy",),
    ),
    "kb_dr_copy_window_gaps": Described(
        "Gaps between the recoverable windows that were looked at.", COUNT, ("copy",)
    ),
    "kb_dr_recoverable_from_timestamp_seconds": Described(
        "The oldest moment of the newest window; it may begin earlier.", TIME, ("copy",)
    ),
    "kb_dr_recoverable_to_timestamp_seconds": Described(
        "The newest moment that the archive of a copy provably covers.", TIME, ("copy",)
    ),
    "kb_dr_rpo_seconds": Described(
        "What a disaster now would cost if this copy were all that was left, on a proven base.",
        SECONDS,
        ("copy",),
    ),
    "kb_dr_disk_used_ratio": Described(
        "Used part of the file system of a place: a copy, scratch, state, source.",
        SHARE,
        ("place",),
    ),
    "kb_dr_disk_free_bytes": Described("What may still be written there.", BYTES, ("place",)),
}

_BACKUPS = {
    "kb_dr_backup_last_timestamp_seconds": Described(
        "End of the newest backup of a kind in a copy that nothing speaks against.",
        TIME,
        ("copy", "kind"),
    ),
    "kb_dr_backup_size_bytes": Described(
        "What the newest backup of a kind takes in the primary repository.", BYTES, ("kind",)
    ),
    "kb_dr_backup_plain_size_bytes": Described(
        "The same before compression.", BYTES, ("kind",)
    ),
    "kb_dr_backup_duration_seconds": Described(
        "How long it took, its WAL included.", SECONDS, ("kind",)
    ),
    "kb_dr_backups_succeeded": Described(
        "Backups that came to their end in the last 24h, 7d or 30d, those let go of since "
        "included.",
        COUNT,
        ("kind", "window"),
    ),
    "kb_dr_backup_attempts_failed": Described(
        "Attempts that failed and left a record; one that was killed leaves none.",
        COUNT,
        ("kind", "window"),
    ),
    "kb_dr_backups_looked_at": Described(
        "Backups of a copy that were looked at, by what is known of them: proven, failed, "
        "unproven, void.",
        COUNT,
        ("copy", "standing"),
    ),
    "kb_dr_backups_held": Described("Backups that somebody holds.", COUNT),
}  # fmt: skip

_PROOFS = {
    "kb_dr_proof_last_timestamp_seconds": Described(
        "End of the newest proof by which a backup of a copy is proven.", TIME, ("copy",)
    ),
    "kb_dr_proof_age_limit_seconds": Described(
        "How old that may be; of a copy whose proofs are asked for.", SECONDS, ("copy",)
    ),
    "kb_dr_proof_verdict": Described(
        "1 for the verdict of the newest proof of the last 30 days of a copy: PROVEN, FAILED, "
        "NOT_PROVEN.",
        SWITCH,
        ("copy", "verdict"),
    ),
    "kb_dr_proofs": Described(
        "Proofs of the last 24h, 7d or 30d.", COUNT, ("copy", "verdict", "window")
    ),
    "kb_dr_rto_measured_seconds": Described(
        "How long the newest proven restore of a copy took.", SECONDS, ("copy",)
    ),
    "kb_dr_rto_measured_phase_seconds": Described(
        "One phase of it.", SECONDS, ("copy", "phase")
    ),
    "kb_dr_rto_forecast_seconds": Described(
        "How long a restore of the newest usable backup would take now.", SECONDS, ("copy",)
    ),
    "kb_dr_rto_forecast_phase_seconds": Described(
        "One phase of that.", SECONDS, ("copy", "phase")
    ),
    "kb_dr_coverage_ratio": Described(
        "What was shown to restore, by the newest integrity report: of backups, of the window of "
        "the worst copy, of copies.",
        SHARE,
        ("of",),
    ),
    "kb_dr_integrity_report_timestamp_seconds": Described("When that report was made.", TIME),
    "kb_dr_integrity_report_shortfalls": Described("What it found wrong.", COUNT),
    "kb_dr_controls_last_timestamp_seconds": Described(
        "End of the newest round of negative controls on a base backup.", TIME
    ),
    "kb_dr_controls_passed": Described(
        "Whether the verifier saw the damage of that round, and of the newest on a dump.", SWITCH
    ),
    "kb_dr_proofs_void": Described(
        "Whether all proofs are void, because the verifier is blind or nobody knows.", SWITCH
    ),
    "kb_dr_drill_last_timestamp_seconds": Described(
        "End of the newest recovery drill of a copy.", TIME, ("copy",)
    ),
    "kb_dr_drill_passed": Described("Whether it was passed.", SWITCH, ("copy",)),
    "kb_dr_drill_rto_seconds": Described(
        "From the first look into the bucket to a checked cluster.", SECONDS, ("copy",)
    ),
}  # fmt: skip

_SOURCE = {
    "kb_dr_source_up": Described("Whether the PostgreSQL under protection answers.", SWITCH),
    "kb_dr_source_clock_offset_seconds": Described(
        "Its clock against this machine's; positive: it is ahead.", SECONDS
    ),
    "kb_dr_wal_unarchived_segments": Described(
        "WAL segments that are ready on the server and not archived.", COUNT
    ),
    "kb_dr_wal_archived_total": Described(
        "WAL files archived, by pg_stat_archiver.", COUNT, kind=MetricKind.COUNTER
    ),
    "kb_dr_wal_archive_failures_total": Described(
        "Failed attempts to archive one, by pg_stat_archiver.", COUNT, kind=MetricKind.COUNTER
    ),
    "kb_dr_wal_last_archived_timestamp_seconds": Described(
        "When the server last archived a WAL file, by its own word.", TIME
    ),
    "kb_dr_slot_active": Described(
        "Whether something reads through the replication slot of `kb-dr wal stream`.",
        SWITCH,
        ("slot",),
    ),
    "kb_dr_slot_lag_bytes": Described(
        "WAL that the server keeps for it.", BYTES, ("slot",)
    ),
}  # fmt: skip

METRICS: dict[str, Described] = {
    **_W3, **_OURSELVES, **_ANSWER, **_COPIES, **_BACKUPS, **_PROOFS, **_SOURCE,
}  # fmt: skip
"""Every metric, by name, in the order in which they are written."""
