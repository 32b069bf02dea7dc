"""Try the header of everything retained with the identities at hand.

Nothing is decrypted but headers, and nothing is fetched but their few hundred bytes: the check
costs little however much is stored, and can run each day.
"""

from collections.abc import Callable, Iterable, Iterator

from kb_dr.domain import layout
from kb_dr.domain.key_check import KeyLook
from kb_dr.domain.stored import Listed
from kb_dr.errors import ChecksumMismatch, KeyMissing, ObjectMissing
from kb_dr.operations.audit_wal import clusters_present
from kb_dr.operations.batches import batches
from kb_dr.operations.catalog import Unreadable, load_catalog
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import HEADER_BYTES, Codec, Repository

WAL_AT_ONCE = 256
"""Files between two that are tried; where the two differ, every one between them is."""

_BACKUPS_AT_ONCE = 256


def check_keys(
    repository: Repository, codec: Codec, *, every_file: bool = False, parallel: int = 4
) -> Iterator[KeyLook]:
    """A look at each encrypted stream of each backup of this copy, and at its WAL.

    Of WAL the first and the last of each WAL_AT_ONCE files are tried, and all between them where
    those two differ; ``every_file`` tries each. A manifest that cannot be read is a bad look.
    Raises KeyMissing where there is no identity to try with, and what the repository raises when
    it cannot be asked.
    """
    if not codec.identities:
        raise KeyMissing(f"check keys of {repository.name}: no age identity at hand")

    def look(subject: str, listed: Listed, stands_for: int = 1) -> KeyLook:
        problem = ""
        openers: tuple[str, ...] = ()
        try:
            openers = codec.openers(repository.read_start(listed, HEADER_BYTES))
        except (ChecksumMismatch, ObjectMissing) as error:
            problem = str(error)
        return KeyLook(repository.name, subject, listed.key, openers, problem, stands_for)

    def look_at_backup(each: tuple[str, Listed]) -> KeyLook:
        return look(*each)

    for batch in batches(_streams(repository), _BACKUPS_AT_ONCE):
        closed = [each for each in batch if isinstance(each, KeyLook)]
        wanted = [each for each in batch if not isinstance(each, KeyLook)]
        yield from closed
        yield from run_parallel(wanted, look_at_backup, at_once=parallel)
    for cluster in clusters_present(repository):
        subject = f"WAL of {cluster}"
        files = (
            listed
            for listed in repository.list(layout.wal_prefix(cluster))
            if layout.wal_file_of(listed.key) or layout.partial_of(listed.key)
        )
        for block in batches(files, 1 if every_file else WAL_AT_ONCE):
            yield from _look_at_block(block, subject, look, parallel)


def _look_at_block(
    block: list[Listed],
    subject: str,
    look: Callable[[str, Listed, int], KeyLook],
    parallel: int,
) -> Iterable[KeyLook]:
    first = look(subject, block[0], len(block))
    if len(block) == 1:
        return [first]
    last = look(subject, block[-1], 1)
    if first.good and first.openers == last.openers:
        return [first]
    return run_parallel(block, lambda each: look(subject, each, 1), at_once=parallel)


def _streams(repository: Repository) -> Iterator[tuple[str, Listed] | KeyLook]:
    """Each object that begins an encrypted stream, with the backup it belongs to."""
    for entry in load_catalog(repository, kinds=ALL_KINDS):
        if isinstance(entry, Unreadable):
            yield KeyLook(repository.name, entry.key, entry.key, (), entry.why)
            continue
        manifest = entry.manifest
        besides = (manifest.configuration, manifest.dump.globals if manifest.dump else None)
        for stored in (*manifest.chunks[:1], *(each for each in besides if each is not None)):
            yield manifest.id, Listed(stored.key, stored.size_bytes, manifest.finished)
