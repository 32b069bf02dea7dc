"""What the running source says of itself, in one question and without changing anything."""

import psycopg

from kb_dr.adapters.heartbeat_table import read_beat
from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.heartbeat import Beat
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.replication_slot import ReplicationSlot
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.errors import PostgresError

# pg_current_wal_insert_lsn() may lie just behind a page header that nothing follows yet; the
# flushed position is what a crash leaves, and what an archive can be asked to hold.
_QUESTION = """
select current_setting('server_version_num')::int,
       (select system_identifier from pg_control_system()),
       (select setting::int from pg_settings where name = 'wal_segment_size'),
       pg_is_in_recovery(),
       (case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
             else pg_current_wal_flush_lsn() end)::text,
       (case when pg_is_in_recovery() then (select timeline_id from pg_control_checkpoint())
             else ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int end),
       clock_timestamp(),
       current_setting('wal_level'),
       current_setting('max_wal_senders')::int,
       (select setting::int from pg_settings where name = 'archive_timeout'),
       (select rolreplication or rolsuper from pg_roles where rolname = current_user),
       current_setting('summarize_wal', true)
"""

_WAITING = """
select count(*)::int from pg_ls_archive_statusdir() where name like '%.ready'
"""

_SLOT = """
select slot_name::text, active, restart_lsn::text,
       pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                            else pg_current_wal_lsn() end, restart_lsn)::bigint,
       wal_status
from pg_replication_slots where slot_name = %s and slot_type = 'physical'
"""


def read_facts(session: Session, slot: str) -> SourceFacts:
    """Ask, also for the physical slot of that name.

    Raises PostgresError when the answer makes no sense, and psycopg's errors.
    """
    row = session.execute(_QUESTION).fetchone()
    if row is None or row[4] is None:
        raise PostgresError("ask the source: it does not say how far its WAL reaches")
    return SourceFacts(
        server_version=row[0],
        system_identifier=row[1],
        segment_bytes=row[2],
        is_standby=row[3],
        written_lsn=Lsn.parse(row[4]),
        timeline=row[5],
        now=row[6],
        wal_level=row[7],
        max_wal_senders=row[8],
        archive_timeout_seconds=row[9],
        waiting_segments=_waiting(session),
        may_replicate=bool(row[10]),
        summarizes_wal=None if row[11] is None else row[11] == "on",
        beat=_beat(session),
        slot=_slot(session, slot),
    )


def _beat(session: Session) -> Beat | None:
    try:
        return read_beat(session)
    except psycopg.errors.InsufficientPrivilege:
        return None


def _waiting(session: Session) -> int | None:
    try:
        row = session.execute(_WAITING).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None  # without pg_monitor; said by `kb-dr doctor`
    return row[0] if row else None


def _slot(session: Session, name: str) -> ReplicationSlot | None:
    row = session.execute(_SLOT, (name,)).fetchone()
    if row is None:
        return None
    restart = None if row[2] is None else Lsn.parse(row[2])
    return ReplicationSlot(row[0], row[1], restart, row[3], row[4])
