"""What a copy lists of its backups: every manifest, whatever stands around it, in few keys."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.proof import Verdict
from kb_dr.domain.stored import Listed
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations import list_holdings as module
from kb_dr.operations.list_holdings import Place, list_holdings, list_one, token_of
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import STARTED, store_backup, store_objects


class CountingRepository(MemoryRepository):
    """Counts the keys it lists."""

    listed = 0

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        for each in super().list(prefix, start_after=start_after):
            self.listed += 1
            yield each


def place(repository: MemoryRepository) -> Place:
    return Place(repository.name, repository.url, repository)


@pytest.mark.parametrize("skip_after", [1, 2, 3, 1000])
def test_every_manifest_is_found_however_many_chunks_stand_before_it(
    monkeypatch: pytest.MonkeyPatch, skip_after: int
) -> None:
    monkeypatch.setattr(module, "_SKIP_AFTER", skip_after)
    repository, codec = MemoryRepository(), PlainCodec()
    for day in range(4):
        store_backup(repository, codec, started=STARTED + timedelta(days=day), chunks=5)
    unfinished = store_objects(repository, started=STARTED + timedelta(days=9), chunks=5)
    repository.put("full/strange/thing", b"")

    found = list_holdings(place(repository), "kb").holdings

    assert sorted(found) == [f"kb-full-202611{20 + day}-020000" for day in range(4)]
    assert all(each.manifest for each in found.values())
    assert unfinished.id not in found


def test_the_chunks_of_a_big_backup_are_not_listed_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_SKIP_AFTER", 10)
    repository = CountingRepository()
    for day in range(3):
        store_backup(repository, PlainCodec(), started=STARTED + timedelta(days=day), chunks=500)

    found = list_holdings(place(repository), "kb").holdings

    assert len(found) == 3
    assert repository.listed < 3 * 15


def test_one_backup_lists_as_it_does_among_all(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path)
    stored = made.has_backup()
    made.has_backup(days=1)
    made.has_proof(stored, Verdict.PROVEN, copy="primary")
    backup = stored.manifest.backup_id

    one = list_one(place(made.primary), backup)
    among = list_holdings(place(made.primary), "kb")

    assert one.holdings == {str(backup): among.holdings[str(backup)]}


def test_a_token_changes_with_anything_that_is_listed(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path)
    stored = made.has_backup()
    backup = stored.manifest.id

    def token(also: str = "") -> str:
        return token_of(backup, [list_holdings(place(made.primary), "kb")], also)

    seen = [token(), token("void")]
    assert token() == seen[0]
    made.has_proof(stored, Verdict.PROVEN, copy="primary")
    seen.append(token())
    made.primary.delete(layout.manifest_key(stored.manifest.backup_id))
    seen.append(token())
    made.primary.failures[""] = RepositoryUnavailable("no answer")
    seen.append(token())

    assert len(set(seen)) == len(seen)


def test_a_listing_that_breaks_off_says_nothing_at_all(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path)
    made.has_backup()
    made.primary.failures[""] = RepositoryUnavailable("list: it broke off")

    listing = list_holdings(place(made.primary), "kb")

    assert listing.silent
    assert listing.holdings == {}
    assert listing.place.problem == "list: it broke off"
