"""Recovery opens a cluster only when the archive certainly ends; any doubt aborts it.

On every supported PostgreSQL. An exit status of 1-125 would open the cluster without its last
rows and report success: the worst failure of a recovery tool.
"""

import hashlib
import re
import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pyrage
import pytest

from kb_dr.domain.restore_command import restore_command
from kb_dr.domain.timelines import parse_history
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_page import read_segment_header
from kb_dr.operations.archived_end import find_archived_end
from kb_dr.operations.listed_wal import read_archive
from kb_dr_tests.archived_cluster import ArchivedCluster, WalStore, recover


def fetch(archived: ArchivedCluster, store: WalStore) -> list[str]:
    """The fetch of a plan that expects all of the archive."""
    return store.words(
        *("wal", "fetch", "--expect-end", str(archived.end), "--expect-timeline", "1"),
        *("--segment-bytes", str(archived.segment_bytes)),
    )


def test_a_whole_archive_is_replayed_to_the_end_found_beforehand(
    archived: ArchivedCluster, tmp_path: Path
) -> None:
    """Rows, the end of WAL and the time of the last transaction, as PostgreSQL says them."""
    store, identifier = archived.store, archived.system_identifier
    archive = read_archive(store.repository, store.codec, identifier, archived.segment_bytes)
    planned = find_archived_end(
        store.repository,
        store.codec,
        system_identifier=identifier,
        archive=archive,
        start=Segment.parse(archived.segments[0], archived.segment_bytes),
    )

    found = recover(archived, tmp_path, restore_command(fetch(archived, store)))

    assert found.rows == (1, 2, 3), found.log
    assert planned.last.name == archived.segments[2]
    head = store.codec.decode(store.stored(planned.last.name).read_bytes())[:40]
    header = read_segment_header(head, name=planned.last.name)
    assert header.major == archived.programs.major, "its page magic tells the major version"
    assert parse_history(2, found.history).begin_of(2) == planned.tip.end == archived.end
    assert planned.tip.last_commit is not None
    said = re.search(r"last completed transaction was at log time (\S+ \S+)", found.log)
    assert said is not None
    assert datetime.fromisoformat(said[1]) == planned.tip.last_commit.at


def _segment_missing(archived: ArchivedCluster, store: WalStore) -> None:
    store.stored(archived.segments[1]).unlink()


def _last_segment_missing(archived: ArchivedCluster, store: WalStore) -> None:
    store.stored(archived.segments[2]).unlink()


def _segment_cut_short(archived: ArchivedCluster, store: WalStore) -> None:
    path = store.stored(archived.segments[1])
    path.write_bytes(path.read_bytes()[:-100])


def _flipped_byte(archived: ArchivedCluster, store: WalStore) -> None:
    path = store.stored(archived.segments[1])
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def _segment_of_zero_bytes(archived: ArchivedCluster, store: WalStore) -> None:
    store.stored(archived.segments[1]).write_bytes(b"")


def _truncated_before_it_was_stored(archived: ArchivedCluster, store: WalStore) -> None:
    _replace(archived, store, lambda plain: plain[: len(plain) // 2])


def _another_clusters_segment(archived: ArchivedCluster, store: WalStore) -> None:
    _replace(archived, store, lambda plain: plain[:24] + b"\1" * 8 + plain[32:])


def _two_digests(archived: ArchivedCluster, store: WalStore) -> None:
    path = store.stored(archived.segments[1])
    shutil.copy(path, path.with_name(f"{archived.segments[1]}-{'0' * 64}.zst.age"))


def _bytes_of_another_segment(archived: ArchivedCluster, store: WalStore) -> None:
    shutil.copy(store.stored(archived.segments[0]), store.stored(archived.segments[1]))


def _wrong_identity(archived: ArchivedCluster, store: WalStore) -> None:
    (store.directory / "identities").write_text(f"{pyrage.x25519.Identity.generate()}\n")


def _store_gone(archived: ArchivedCluster, store: WalStore) -> None:
    shutil.rmtree(store.directory / "repository")


def _store_emptied(archived: ArchivedCluster, store: WalStore) -> None:
    """As when it is not mounted."""
    shutil.rmtree(store.directory / "repository")
    (store.directory / "repository").mkdir()


def _store_unreachable(archived: ArchivedCluster, store: WalStore) -> None:
    store.configure(
        KB_DR_REPOSITORY_URL="s3://nowhere",
        KB_DR_REPOSITORY_ENDPOINT_URL="http://127.0.0.1:1",
        KB_DR_REPOSITORY_ACCESS_KEY_ID="nobody",
        KB_DR_REPOSITORY_SECRET_ACCESS_KEY="nothing",
        KB_DR_S3_TIMEOUT_SECONDS="1",
    )


def _settings_gone(archived: ArchivedCluster, store: WalStore) -> None:
    store.env_file.unlink()


def _replace(archived: ArchivedCluster, store: WalStore, change: Callable[[bytes], bytes]) -> None:
    """Store another content as if it had been pushed so."""
    name = archived.segments[1]
    path = store.stored(name)
    plain = change(store.codec.decode(path.read_bytes()))
    path.unlink()
    digest = hashlib.sha256(plain).hexdigest()
    path.with_name(f"{name}-{digest}.zst.age").write_bytes(store.codec.encode(plain))


Damage = Callable[[ArchivedCluster, WalStore], None]


@pytest.mark.parametrize(
    "damage",
    [
        _segment_missing,
        _last_segment_missing,
        _segment_cut_short,
        _flipped_byte,
        _bytes_of_another_segment,
        _wrong_identity,
        _store_unreachable,
    ],
)
def test_any_doubt_aborts_recovery(
    archived: ArchivedCluster, tmp_path: Path, damage: Damage
) -> None:
    _expect_abort(archived, tmp_path, damage)


@pytest.mark.parametrize("archived", [16], indirect=True)
@pytest.mark.parametrize(
    "damage",
    [
        _segment_of_zero_bytes,
        _truncated_before_it_was_stored,
        _another_clusters_segment,
        _two_digests,
        _store_gone,
        _store_emptied,
        _settings_gone,
    ],
)
def test_rarer_doubts_abort_it_too(
    archived: ArchivedCluster, tmp_path: Path, damage: Damage
) -> None:
    """On one version: to PostgreSQL they all are one exit status."""
    _expect_abort(archived, tmp_path, damage)


def _expect_abort(archived: ArchivedCluster, tmp_path: Path, damage: Damage) -> None:
    store = archived.store.copied(tmp_path / "store")
    damage(archived, store)

    recover(archived, archived.attempts, restore_command(fetch(archived, store))).require_abort()


@pytest.mark.parametrize(
    "program",
    [
        ["/nonexistent/kb-dr"],
        ["env", "PYTHONHOME=/nonexistent", sys.executable, "-m", "kb_dr.cli"],
        [sys.executable, "-c", "import what_an_upgrade_removed"],
        [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
    ],
)
def test_a_program_that_dies_aborts_recovery(archived: ArchivedCluster, program: list[str]) -> None:
    command = restore_command([*program, "wal", "fetch"])

    recover(archived, archived.attempts, command).require_abort()


def test_postgresql_itself_would_have_opened(archived: ArchivedCluster, tmp_path: Path) -> None:
    """Why the contract is needed: without the wrapper the same death opens a cluster short of
    its last row.
    """
    store = archived.store.copied(tmp_path / "store")
    store.stored(archived.segments[2]).unlink()
    words = " ".join(store.words("wal", "fetch"))

    found = recover(archived, tmp_path / "recovery", f'{words} "%f" "%p" || exit 1')

    assert found.rows == (1, 2)
