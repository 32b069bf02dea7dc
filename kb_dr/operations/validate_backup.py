"""Is everything of one backup there, as its manifest records it?

A backup that validates may still not restore: only a proof shows that.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.finding import Finding, all_good
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.domain.verdicts import verdict_of
from kb_dr.errors import BrokenChain, ChecksumMismatch, ObjectMissing, WalDamaged, WrongCluster
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.copy_object import check_wal_object
from kb_dr.operations.needed_wal import find_needed_wal, needed_segments
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Codec, Progress, Repository

_HINT = "`kb-dr copy --repair ID` mends it from a copy that has it right; else back up anew."


@dataclass(frozen=True, slots=True)
class Validation:
    """What one look at one copy of one backup showed."""

    backup_id: str
    digest: str
    copy: str
    deep: bool
    """Whether every byte was read."""
    objects: int
    size_bytes: int
    findings: tuple[Finding, ...]
    chain: tuple[str, ...] = ()
    """The backups it is put together from, the full first, itself last; empty for a full."""

    @property
    def sound(self) -> bool:
        """Whether all of it is there; what could not be looked at is not sound."""
        return all_good(self.findings)


def validate_backup(
    repository: Repository,
    codec: Codec,
    backup: BackupId,
    progress: Progress,
    *,
    deep: bool = False,
    parallel: int = 4,
) -> Validation:
    """Look at every object a backup and its parents name, and every WAL file it needs. A dump
    needs none, and none is looked at.

    A broken chain is a finding; what can be looked at is looked at all the same.
    Shallow: present, with the size recorded. Deep: every byte read and hashed; WAL also decoded,
    for which an identity is needed. Raises NoUsableBackup, UnreadableRecord, and what the
    repository raises when it cannot be asked.
    """
    found = read_manifest(repository, backup)
    manifest = found.manifest
    chain, broken = _chain(repository, found)
    named = [each for member in chain for each in member.objects]
    objects = [each for member in chain for each in _with_sizes(repository, member)]
    wal = find_needed_wal(repository, manifest)
    findings = [*broken, *objects, *_wal_findings(manifest, wal.missing, wal.doubtful)]
    if deep:
        missing = {each.subject for each in objects}
        present = [each for each in named if each.key not in missing]
        total = sum(each.size_bytes for each in present)
        progress.begin(f"read {backup} in {repository.name}", total + _sum(wal.objects))
        try:
            findings += _bad(
                run_parallel(
                    present, lambda each: _read_object(repository, each, progress), at_once=parallel
                )
            )
            findings += _bad(
                run_parallel(
                    wal.objects,
                    lambda each: _read_wal(repository, codec, each, progress),
                    at_once=parallel,
                )
            )
        finally:
            progress.end()
    if not findings:
        how = "read and hashed" if deep else "there, with the sizes recorded"
        findings = [Finding("objects", Outcome.PASSED, f"{len(named)} {how}")]
        if not manifest.is_dump:
            first, last = needed_segments(manifest)
            findings.append(Finding("WAL", Outcome.PASSED, f"{first.name} to {last.name} {how}"))
    return Validation(
        backup_id=manifest.id,
        digest=found.digest,
        copy=repository.name,
        deep=deep,
        objects=len(named),
        size_bytes=sum(each.size_bytes for each in named),
        findings=tuple(findings),
        chain=tuple(each.id for each in chain) if manifest.parent else (),
    )


def _chain(
    repository: Repository, found: StoredManifest
) -> tuple[tuple[Manifest, ...], list[Finding]]:
    """All it is put together from; the backup alone, and why, when that is not there."""
    try:
        return tuple(each.manifest for each in load_chain(repository, found)), []
    except BrokenChain as error:
        outcome = Outcome.FAILED
        if verdict_of(error) is not Verdict.FAILED:
            outcome = Outcome.COULD_NOT_RUN
        return (found.manifest,), [Finding("chain", outcome, str(error), error.hint)]


def _with_sizes(repository: Repository, manifest: Manifest) -> list[Finding]:
    """What is wrong, by one listing of the backup."""
    prefix = layout.backup_prefix(manifest.backup_id)
    sizes = {each.key: each.size_bytes for each in repository.list(prefix)}
    wrong = []
    for each in manifest.objects:
        there = sizes.get(each.key)
        if there is None:
            wrong.append(Finding(each.key, Outcome.FAILED, "missing", _HINT))
        elif there != each.size_bytes:
            seen = f"{there} bytes, expected {each.size_bytes}"
            wrong.append(Finding(each.key, Outcome.FAILED, seen, _HINT))
    return wrong


def _wal_findings(
    manifest: Manifest, missing: Iterable[str], doubtful: Iterable[str]
) -> list[Finding]:
    hint = f"{manifest.id} cannot be restored from here without it."
    return [
        *(Finding(name, Outcome.FAILED, "WAL missing", hint) for name in missing),
        *(Finding("WAL", Outcome.FAILED, text, hint) for text in doubtful),
    ]


def _read_object(
    repository: Repository, stored: StoredObject, progress: Progress
) -> Finding | None:
    try:
        repository.get(stored)
    except (ChecksumMismatch, ObjectMissing) as error:
        return Finding(stored.key, Outcome.FAILED, str(error), _HINT)
    progress.advance(stored.size_bytes)
    return None


def _read_wal(
    repository: Repository, codec: Codec, listed: Listed, progress: Progress
) -> Finding | None:
    try:
        body = repository.read(listed.key)
        checked = check_wal_object(repository, codec, listed.key, body)
    except (ChecksumMismatch, ObjectMissing, WalDamaged, WrongCluster) as error:
        return Finding(listed.key, Outcome.FAILED, str(error), _HINT)
    progress.advance(listed.size_bytes)
    if not checked:
        return Finding(
            listed.key,
            Outcome.COULD_NOT_RUN,
            "no identity at hand opens it",
            "Run it where KB_DR_AGE_IDENTITY_FILE is set.",
        )
    return None


def _bad(found: Iterable[Finding | None]) -> list[Finding]:
    return [each for each in found if each is not None]


def _sum(objects: Iterable[Listed]) -> int:
    return sum(each.size_bytes for each in objects)
