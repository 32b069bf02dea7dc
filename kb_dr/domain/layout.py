"""Every key of the repository, spelled here and nowhere else.

docs/repository-format.md describes the same keys for people; a test compares the two.
"""

import re

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import is_wal_file, timeline_of

MARKER = "repository.json"
"""Says that this place is a repository, and whose; written by ``kb-dr init``."""

CODED = ".zst.age"

MOST_CHUNKS = 100_000
"""Their numbers have five digits, so that a shell's ``*`` lists them in order."""

_MANIFEST = re.compile(r"(full|incr|dump|rdb|objects|snap)/(\d{8}-\d{6})/manifest\.json")
_PARTIAL = re.compile(
    r"wal/(\d+)/([0-9A-F]{8})/([0-9A-F]{24})\.partial/([0-9A-F]{8})-([0-9A-F]{8})\.zst\.age"
)
_WAL = re.compile(
    r"wal/(\d+)/([0-9A-F]{8})/([0-9A-F]{8}[0-9A-F.a-z]*?)"
    r"-([0-9a-f]{64})(?:\.[0-9a-f]{8})?\.zst\.age"
)


def backup_prefix(backup: BackupId) -> str:
    """Everything of one backup stands under this."""
    return f"{backup.kind}/{backup.stamp}/"


def manifest_key(backup: BackupId) -> str:
    """The commit mark: the backup exists when this key does."""
    return manifest_key_of(backup.kind, backup.stamp)


def manifest_key_of(kind: BackupKind, stamp: str) -> str:
    """The same, where only kind and stamp are known: keys do not name the service."""
    return f"{kind}/{stamp}/manifest.json"


def attempt_prefix(backup: BackupId, attempt: str) -> str:
    """The chunks of one try; a retry never meets its own debris."""
    return f"{backup_prefix(backup)}{attempt}/"


def chunk_key(backup: BackupId, attempt: str, number: int) -> str:
    """One chunk of the base backup's tar, or of the dump."""
    dump = backup.kind is BackupKind.DUMP
    whole = f"{local_dump_name(backup.stamp)}.dump" if dump else "base.tar"
    return f"{attempt_prefix(backup, attempt)}{whole}{CODED}.{number:05d}"


def local_dump_name(stamp: str) -> str:
    """What a dump's file is called, but for its ending; in the repository and beside it."""
    return f"kb-backup-{stamp}"


def globals_key(backup: BackupId, attempt: str) -> str:
    """Roles and tablespaces that travel with a dump."""
    return f"{attempt_prefix(backup, attempt)}globals.sql{CODED}"


def configuration_key(backup: BackupId, attempt: str) -> str:
    """The configuration files that stand outside the data directory."""
    return f"{attempt_prefix(backup, attempt)}configuration.tar{CODED}"


def postgres_manifest_key(backup: BackupId, attempt: str) -> str:
    """PostgreSQL's own backup manifest; compressed, not encrypted."""
    return attempt_prefix(backup, attempt) + "backup_manifest.zst"


def backups_prefix(kind: BackupKind) -> str:
    """Every backup of one kind stands under this."""
    return f"{kind}/"


def stamp_of_manifest(key: str) -> tuple[BackupKind, str] | None:
    """The kind and stamp of a manifest's key; None when the key is no manifest."""
    match = _MANIFEST.fullmatch(key)
    return (BackupKind(match[1]), match[2]) if match else None


WAL = "wal/"
"""The WAL of every cluster stands under this."""


def wal_prefix(system_identifier: int) -> str:
    """All WAL of one cluster."""
    return f"{WAL}{system_identifier}/"


def timeline_prefix(system_identifier: int, timeline: int) -> str:
    """All WAL of one timeline of one cluster."""
    return f"{wal_prefix(system_identifier)}{timeline:08X}/"


def wal_file_prefix(system_identifier: int, name: str) -> str:
    """Every stored version of one WAL file; more than one means two clusters wrote it."""
    return f"{timeline_prefix(system_identifier, timeline_of(name))}{name}-"


def wal_key(system_identifier: int, name: str, sha256: str, keys: str = "") -> str:
    """One WAL file; ``sha256`` is of its plain bytes.

    ``keys`` is of a file that was encrypted anew, to other recipients: eight hex digits for them.
    Nothing is overwritten, so it stands beside the old one until that is removed.
    """
    variant = f".{keys}" if keys else ""
    return f"{wal_file_prefix(system_identifier, name)}{sha256}{variant}{CODED}"


def partials_prefix(system_identifier: int, segment: str) -> str:
    """Every stored state of a segment that is still being written; keys sort by LSN."""
    return f"{timeline_prefix(system_identifier, timeline_of(segment))}{segment}.partial/"


def partial_key(system_identifier: int, segment: str, upto: Lsn) -> str:
    """A segment that is still being written, as far as ``upto``."""
    prefix = partials_prefix(system_identifier, segment)
    return f"{prefix}{upto >> 32:08X}-{upto & 0xFFFFFFFF:08X}{CODED}"


def partial_of(key: str) -> tuple[int, str, Lsn] | None:
    """System identifier, segment and end of what a stream shipped; None for any other key.

    The ``.partial`` file that PostgreSQL itself archives at a promotion has the key of a WAL
    file, with a digest, and is none of these.
    """
    match = _PARTIAL.fullmatch(key)
    if match is None or match[3][:8] != match[2]:
        return None
    return int(match[1]), match[3], Lsn(int(match[4], 16) << 32 | int(match[5], 16))


def wal_file_of(key: str) -> tuple[int, str, str] | None:
    """System identifier, file name and plain digest of a WAL key; None for any other key."""
    match = _WAL.fullmatch(key)
    if match is None or not is_wal_file(match[3]) or match[3][:8] != match[2]:
        return None
    return int(match[1]), match[3], match[4]


PROOFS = "proofs/"
"""Every proof stands under this."""


def proofs_prefix(backup: BackupId) -> str:
    """All proofs of one backup, of every copy."""
    return f"{PROOFS}{backup}/"


def proofs_since(oldest: BackupId) -> tuple[str, str]:
    """Where the proofs of all backups of its service and kind stand, and what to list after for
    those of this backup and younger ones."""
    return f"{PROOFS}{oldest.service}-{oldest.kind}-", f"{PROOFS}{oldest}"


FAILURES = "failures/"
"""The records of all backups that did not come to their end."""


def records_since(prefix: str, oldest: BackupId) -> tuple[str, str]:
    """The same of whatever is kept by backup id: FAILURES, TOMBSTONES."""
    return f"{prefix}{oldest.service}-{oldest.kind}-", f"{prefix}{oldest}"


def backup_of_proof(key: str) -> BackupId | None:
    """The backup a key below ``proofs/`` is about; None for one that names none."""
    try:
        return BackupId.parse(key.removeprefix(PROOFS).partition("/")[0])
    except ValueError:
        return None


def proof_key(backup: BackupId, copy: str, proof_id: str) -> str:
    """One proof; ids begin with the time, so keys sort by it."""
    return f"{proofs_prefix(backup)}{copy}/{proof_id}.json"


DRILLS = "drills/"
"""The records of all drills stand under this."""


def drill_key(drill_id: str, suffix: str = "json") -> str:
    """One drill's record (``json``) or report (``md``); ids begin with the time."""
    return f"{DRILLS}{drill_id}.{suffix}"


CONTROLS = "controls/"
"""Every round of negative controls stands under this."""


def control_key(control_id: str) -> str:
    """One round of negative controls; ids begin with the time, so keys sort by it."""
    return f"{CONTROLS}{control_id}.json"


def failures_prefix(backup: BackupId) -> str:
    """Every try of one backup that did not come to its end."""
    return f"{FAILURES}{backup}/"


def failure_key(backup: BackupId, attempt: str) -> str:
    """The record of a backup that did not come to its end."""
    return f"{failures_prefix(backup)}{attempt}.json"


HOLDS = "holds/"
"""Every hold and release stands under this."""


def holds_prefix(backup: BackupId) -> str:
    """The holds of one backup."""
    return f"{HOLDS}{backup}/"


def hold_key(backup: BackupId, event_id: str) -> str:
    """One hold or release; ids begin with the time."""
    return f"{holds_prefix(backup)}{event_id}.json"


TOMBSTONES = "tombstones/"
"""What became of purged backups, in this copy or another."""


def tombstones_prefix(backup: BackupId) -> str:
    """Every step of one backup, of every copy."""
    return f"{TOMBSTONES}{backup}/"


def tombstone_key(backup: BackupId, copy: str, step_id: str) -> str:
    """One step; ids begin with the time, so keys sort by it."""
    return f"{tombstones_prefix(backup)}{copy}/{step_id}.json"


def purged_wal_prefix(system_identifier: int) -> str:
    """What this repository has let go of of one cluster's WAL."""
    return f"purged-wal/{system_identifier}/"


def purged_wal_key(system_identifier: int, record_id: str) -> str:
    """One record of that; ids begin with the time, and the newest says all."""
    return f"{purged_wal_prefix(system_identifier)}{record_id}.json"


REPORTS = "reports/"
"""The daily integrity reports stand under this."""


def report_key(report_id: str, suffix: str = "json") -> str:
    """One integrity report, as a record (``json``) or for people (``md``)."""
    return f"{REPORTS}{report_id}.{suffix}"


PROBES = "probes/"
"""What only shows that this place could be written to, at most one for each quarter of an hour
and host; gone after a day."""

_PROBE = re.compile(r"probes/(\d{8}-\d{6})-[A-Za-z0-9._-]+")


def probe_key(stamp: str, host: str) -> str:
    """The probe of one host; ``stamp`` is its quarter of an hour, ``YYYYMMDD-HHMMSS``."""
    return f"{PROBES}{stamp}-{re.sub(r'[^A-Za-z0-9._-]', '-', host) or 'host'}"


def stamp_of_probe(key: str) -> str | None:
    """The quarter of an hour a probe is of; None for any other key."""
    match = _PROBE.fullmatch(key)
    return match[1] if match else None


ALERTS = "alerts/"
"""What became of alerts while no database kept them."""


def alert_record_key(record_id: str) -> str:
    """One change to the alerts; ids begin with the time."""
    return f"{ALERTS}{record_id}.json"
