"""Test every setting and dependency, without changing anything."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from kb_dr.domain.finding import Finding
from kb_dr.domain.heartbeat import judge_beat
from kb_dr.domain.manifest import Manifest, Source, StoredManifest
from kb_dr.domain.object_lock import ObjectLock
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
from kb_dr.domain.proof import Outcome
from kb_dr.domain.replication_slot import judge_slot
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.errors import BrokenChain, KbDrError, KeyMissing
from kb_dr.operations.backup_chain import chains_in
from kb_dr.operations.catalog import load_catalog, readable, unreadable
from kb_dr.operations.copy_object import check_wal_object
from kb_dr.operations.judge_bucket import judge_bucket
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.plan_recovery import bytes_needed
from kb_dr.operations.room import look_at_room, newest_full
from kb_dr.ports import Bucket, Clock, Codec, Repository, SourceServer
from kb_dr.settings import Settings

_MAJORS = range(14, 19)
_MOST_WAITING = 100
"""Segments waiting to be archived, past which an archiver does not keep up."""


class Machine(Protocol):
    """As much of kb_dr.ports.PostgresHost as is asked here."""

    def check(self, source: Source, *, combines: bool = False) -> None: ...
    def tools(self, source: Source) -> dict[str, str]: ...
    def free_bytes(self, directory: Path) -> int: ...


class Surroundings(Protocol):
    """What an installation is made of; each part may fail when it is first used."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def copies(self) -> tuple[str, ...]: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def source(self) -> SourceServer: ...
    @property
    def host(self) -> Machine: ...
    def checked(self, copy: str) -> Repository: ...
    def bucket(self, copy: str) -> Bucket | None: ...
    def lock_wanted(self, copy: str) -> ObjectLock | None: ...


def diagnose(here: Surroundings) -> tuple[Finding, ...]:
    """One finding a subject; an error of ours becomes a finding with its hint."""
    return tuple(_findings(here))


def _findings(here: Surroundings) -> Iterator[Finding]:
    chain: tuple[StoredManifest, ...] = ()
    for copy in here.copies:
        finding, found = _repository(here, copy)
        yield finding
        chain = chain or found
        yield from judge_bucket(here, copy, found[-1].manifest if found else None)
    newest = chain[-1].manifest if chain else None
    if "offsite" not in here.copies:
        hint = "Set KB_DR_OFFSITE_URL to a bucket in another region, or to another disk."
        yield Finding("offsite copy", Outcome.FAILED, "none is configured", hint)
    if "local" not in here.copies:
        hint = "Set KB_DR_LOCAL_COPY_PATH to another disk: three copies, on two media."
        yield Finding("local copy", Outcome.NOT_APPLICABLE, "none is configured", hint)
    for copy in here.copies:
        yield _tried(f"room in {copy}", partial(_room, here, copy))
    yield _tried("encryption", lambda: _keys(here))
    for copy in here.copies:
        yield _tried(f"WAL of {copy} opens", partial(_opens, here, copy))
    facts: SourceFacts | None = None
    try:
        facts = here.source.facts()
    except KbDrError as error:
        yield Finding("source", Outcome.FAILED, str(error), error.hint)
    if facts is not None:
        yield from _source(here, facts, newest)
        if newest is not None:
            recorded = newest
            yield _tried("tablespaces", lambda: _tablespaces(here, recorded))
        yield _tried("archiver", lambda: _archiver(here, facts))
        if facts.slot is not None:
            yield judge_slot(facts.slot, facts.segment_bytes)
    yield _tried("PostgreSQL programs", lambda: _programs(here, chain))
    yield _tried("scratch space", lambda: _space(here, chain))


def _tried(subject: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except KbDrError as error:
        return Finding(subject, Outcome.FAILED, str(error), error.hint)


def _repository(here: Surroundings, copy: str) -> tuple[Finding, tuple[StoredManifest, ...]]:
    """What stands there, and the newest backup with all it was made against."""
    try:
        repository = here.checked(copy)
        repository.check()
        catalog = load_catalog(repository)
    except KbDrError as error:
        return Finding(copy, Outcome.FAILED, str(error), error.hint), ()
    found, bad = readable(catalog), unreadable(catalog)
    chains = chains_in(catalog)
    newest = chains.whole.get(found[-1].manifest.id, (found[-1],)) if found else ()
    if bad:
        hint = "Mend it from another copy: `kb-dr copy --repair`; `kb-dr list --from` shows those."
        return Finding(copy, Outcome.FAILED, f"{len(bad)} unreadable: {bad[0].why}", hint), newest
    if chains.broken:
        seen = f"{len(chains.broken)} incremental backups cannot be used: "
        seen += next(iter(chains.broken.values()))
        return Finding(copy, Outcome.FAILED, seen, BrokenChain.default_hint), newest
    seen = f"{repository.url}: {len(found)} backups"
    if newest:
        seen += f", newest {newest[-1].manifest.id}"
    return Finding(copy, Outcome.PASSED, seen), newest


def _room(here: Surroundings, copy: str) -> Finding:
    repository = here.checked(copy)
    percent = here.settings.space_warning_percent
    return look_at_room(repository, percent, newest_full(repository)).finding


def _keys(here: Surroundings) -> Finding:
    codec = here.codec
    seen = f"to {len(codec.recipients)} recipients"
    coded = codec.encode(b"kb-dr doctor")
    if here.settings.identity_file is None:
        hint = "Restores and proofs need KB_DR_AGE_IDENTITY_FILE; a backup host must not have it."
        return Finding("encryption", Outcome.NOT_APPLICABLE, f"{seen}; no identity here", hint)
    if codec.decode(coded) != b"kb-dr doctor":
        return Finding("encryption", Outcome.FAILED, "what is opened is not what was closed")
    return Finding("encryption", Outcome.PASSED, f"{seen}; the identity here opens it")


def _opens(here: Surroundings, copy: str) -> Finding:
    subject = f"WAL of {copy} opens"
    repository = here.checked(copy)
    found = readable(load_catalog(repository))
    if not found:
        return Finding(subject, Outcome.NOT_APPLICABLE, "there is no backup yet")
    wal = find_needed_wal(repository, found[-1].manifest)
    if not wal.objects:
        return Finding(subject, Outcome.FAILED, f"{found[-1].manifest.id} has no WAL here")
    newest = wal.objects[-1]
    if check_wal_object(repository, here.codec, newest.key, repository.read(newest.key)):
        return Finding(subject, Outcome.PASSED, newest.key)
    if here.settings.identity_file is None:
        return Finding(subject, Outcome.NOT_APPLICABLE, "no identity here")
    raise KeyMissing(f"open {newest.key} of {copy}: the identity here does not fit")


def _source(here: Surroundings, facts: SourceFacts, newest: Manifest | None) -> Iterator[Finding]:
    where = f"{here.settings.source.host}:{here.settings.source.port}"
    version = f"{facts.major}.{facts.server_version % 10000}"
    yield Finding(
        "source",
        Outcome.PASSED if facts.major in _MAJORS else Outcome.FAILED,
        f"PostgreSQL {version} at {where}, cluster {facts.system_identifier}",
        "" if facts.major in _MAJORS else "PostgreSQL 14 to 18 are supported.",
    )
    yield _said(
        "source can be backed up",
        [
            (facts.is_standby, "it is a standby", "Point KB_DB_HOST at the primary."),
            (
                facts.wal_level == "minimal",
                "wal_level is minimal",
                "Set wal_level = replica and restart.",
            ),
            (
                facts.max_wal_senders < 2,
                f"max_wal_senders is {facts.max_wal_senders}",
                "A base backup takes two: set it to 4 or more.",
            ),
            (
                not facts.may_replicate,
                "the role may not replicate",
                "alter role … replication",
            ),
        ],
        f"wal_level {facts.wal_level}, {facts.max_wal_senders} WAL senders",
    )
    if newest is not None:
        recorded = newest.source.system_identifier
        yield _said(
            "source is the one backed up",
            [
                (
                    recorded != facts.system_identifier,
                    f"the newest backup is of cluster {recorded}",
                    "Take a full backup now: older ones are of another cluster.",
                )
            ],
            f"cluster {recorded}",
        )
    off = (facts.now - here.clock.now()).total_seconds()
    yield _said(
        "clocks",
        [
            (
                abs(off) > CLOCK_SLACK_SECONDS,
                f"the source's clock is {off:+.0f} s off ours",
                "Set both by NTP: backups are named and found by time.",
            )
        ],
        f"{off:+.0f} s between the source and here",
    )
    if here.settings.heartbeat:
        yield judge_beat(facts.beat, facts.now)


def _tablespaces(here: Surroundings, newest: Manifest) -> Finding:
    found = here.source.tablespaces()
    known = {each.oid for each in newest.source.tablespaces}
    created = [each.name for each in found if each.oid not in known]
    return _said(
        "tablespaces",
        [
            (
                bool(created),
                f"created after {newest.id}: {', '.join(created)}",
                "Take a full backup now: no older one can be recovered past that.",
            )
        ],
        f"{len(found)} besides PostgreSQL's own, all in {newest.id}",
    )


def _archiver(here: Surroundings, facts: SourceFacts) -> Finding:
    seen = here.source.archiver()
    timeout, rpo = facts.archive_timeout_seconds, here.settings.objectives.rpo_seconds
    waiting = facts.waiting_segments
    if facts.streamed and (seen.mode == "off" or not seen.command):
        return Finding("archiver", Outcome.NOT_APPLICABLE, "nothing is archived, WAL is streamed")
    return _said(
        "archiver",
        [
            (seen.mode == "off", "archive_mode is off", "Set archive_mode = on and restart."),
            (
                seen.mode != "off" and not seen.command,
                "archive_command is empty",
                "Set archive_command = 'kb-dr wal push %p'.",
            ),
            (
                seen.failing,
                f"it failed on {seen.last_failed_wal} at {seen.last_failed_at}",
                "The server's log says why; `kb-dr wal push FILE` shows it by hand.",
            ),
            (
                waiting is not None and waiting > _MOST_WAITING,
                f"{waiting} segments wait to be archived",
                "The archive does not keep up: commits since then are in one place only.",
            ),
            (
                not 0 < timeout <= rpo and not facts.streamed,
                f"archive_timeout is {timeout} s, the RPO {rpo:.0f} s",
                "Set archive_timeout = 300: a quiet server archives nothing without it.",
            ),
        ],
        f"archive_mode {seen.mode}, {seen.archived_count} archived, timeout {timeout} s, "
        + ("waiting: not allowed to look" if waiting is None else f"{waiting} waiting"),
    )


def _programs(here: Surroundings, chain: Sequence[StoredManifest]) -> Finding:
    source: Source = chain[-1].manifest.source if chain else here.source.describe()
    here.host.check(source, combines=sum(each.manifest.has_files for each in chain) > 1)
    tools = ", ".join(f"{name} {version}" for name, version in here.host.tools(source).items())
    return Finding("PostgreSQL programs", Outcome.PASSED, tools)


def _space(here: Surroundings, chain: Sequence[StoredManifest]) -> Finding:
    directory = here.settings.scratch_dir
    free = here.host.free_bytes(directory)
    seen = f"{free / 1e9:.1f} GB free in {directory}"
    if not chain or not chain[0].manifest.has_files:
        return Finding("scratch space", Outcome.NOT_APPLICABLE, f"{seen}; there is no backup yet")
    needed = bytes_needed(chain)
    return _said(
        "scratch space",
        [
            (
                free < needed,
                f"{seen}, a proof of {chain[-1].manifest.id} needs {needed / 1e9:.1f} GB",
                "Point KB_DR_SCRATCH_DIR at a larger file system.",
            )
        ],
        f"{seen}, {needed / 1e9:.1f} GB needed",
    )


def _said(subject: str, wrong: list[tuple[bool, str, str]], good: str) -> Finding:
    """The first thing that is wrong, or what was seen."""
    for is_wrong, seen, hint in wrong:
        if is_wrong:
            return Finding(subject, Outcome.FAILED, seen, hint)
    return Finding(subject, Outcome.PASSED, good)
