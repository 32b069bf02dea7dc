"""The catalog, with the storage failing at every call and its database at every statement.

Whoever reads meanwhile sees all of the old rows or all of the new ones; the next run makes the
tables that a run without a fault makes.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kb_dr.adapters.postgres_catalog import PostgresCatalog
from kb_dr.domain.proof import Verdict
from kb_dr.errors import CatalogUnavailable, KbDrError
from kb_dr.operations.list_holdings import Place
from kb_dr.operations.sync_catalog import Sources, Synced, rebuild_catalog, sync_catalog
from kb_dr.ports import Catalog, Repository
from kb_dr_tests.catalog_database import (
    TABLES,
    CatalogDatabase,
    catalog_of,
    fill_buckets,
    has_failure,
    hold,
)
from kb_dr_tests.fakes import FakeClock, MemoryRepository
from kb_dr_tests.faults.failing_repository import FailingRepository, Fault, Killed, When
from kb_dr_tests.faults.postgres_proxy import PostgresProxy
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_installation import MadeInstallation

Rows = dict[str, list[tuple[object, ...]]]
Bring = Callable[[Catalog, Sources], Synced]
CLOCK = FakeClock()


def _rebuild(catalog: Catalog, sources: Sources) -> Synced:
    return rebuild_catalog(catalog, sources, CLOCK, wait_seconds=10)


def _sync(catalog: Catalog, sources: Sources) -> Synced:
    return sync_catalog(catalog, sources, CLOCK, wait_seconds=10)


def _sources(places: Sequence[Repository]) -> Sources:
    here = [Place(each.name, each.url, each) for each in places]
    return Sources("kb", lambda: here, lambda: None)


class Buckets:
    """The same two copies at two times, and what the catalog says of each."""

    def __init__(self, made: MadeInstallation, database: CatalogDatabase) -> None:
        self.database = database
        self._session = psycopg.connect(
            host=str(database.cluster.sockets), dbname=database.name, user="postgres",
            autocommit=True,
        )  # fmt: skip
        found = fill_buckets(made)
        early = [_snapshot(each) for each in made.memory.values()]
        child = store_increment(made.primary, made.codec, found["fresh"])
        made.has_proof(found["fresh"], Verdict.PROVEN, copy="primary", minutes=90)
        made.has_offsite_copy(found["fresh"])
        hold(made, child)
        made.forget(found["bad"])
        has_failure(made, days=9)
        self.times = [early, [_snapshot(each) for each in made.memory.values()]]
        self.said = [self._rebuilt(each) for each in self.times]
        assert self.said[0] != self.said[1]
        self.now = 1

    def _rebuilt(self, places: Sequence[Repository]) -> Rows:
        _rebuild(self.database.catalog, _sources(places))
        return self.contents()

    def close(self) -> None:
        self._session.close()

    def contents(self) -> Rows:
        """Every row that a reader sees."""
        with self._session.transaction():
            self._session.execute("set transaction isolation level repeatable read")
            return {
                table: sorted(
                    self._session.execute(
                        sql.SQL("select * from {}").format(sql.Identifier(table))
                    ).fetchall(),
                    key=repr,
                )
                for table in TABLES
            }

    def turn(self) -> tuple[list[MemoryRepository], Rows, Rows]:
        """The copies of the other time, what the catalog says by now and what it is to say."""
        old, self.now = self.now, 1 - self.now
        return self.times[self.now], self.said[old], self.said[self.now]


def _snapshot(found: MemoryRepository) -> MemoryRepository:
    copied = MemoryRepository(found.name, found._clock)
    copied.bodies.update(found.bodies)
    copied._modified.update(found._modified)
    return copied


@pytest.fixture
def buckets(made: MadeInstallation, database: CatalogDatabase) -> Iterator[Buckets]:
    found = Buckets(made, database)
    yield found
    found.close()


@pytest.fixture
def proxy(database: CatalogDatabase) -> Iterator[PostgresProxy]:
    """In front of the server of the catalog."""
    directory = Path(tempfile.mkdtemp(prefix="kbdr-", dir="/tmp"))
    made = PostgresProxy(directory, database.cluster.sockets)
    yield made
    made.close()
    shutil.rmtree(directory)


def _through(proxy: PostgresProxy, database: CatalogDatabase) -> PostgresCatalog:
    return catalog_of(replace(database.settings, host=str(proxy.directory)))


def _of_backup(rows: Rows) -> dict[object, list[str]]:
    """Everything said of each backup."""
    found: dict[object, list[str]] = {}
    for table, each in rows.items():
        for row in each:
            name = next(value for value in row if str(value).startswith("kb-"))
            found.setdefault(name, []).append(f"{table} {row!r}")
    return found


def _require_whole(bring: Bring, seen: Rows, old: Rows, new: Rows, where: str) -> None:
    """A rebuild changes everything at once, a sync one backup at a time."""
    if bring is _rebuild:
        assert seen in (old, new), where
        return
    before, after, now = _of_backup(old), _of_backup(new), _of_backup(seen)
    for backup in {*before, *after, *now}:
        assert now.get(backup) in (before.get(backup), after.get(backup)), f"{where}: {backup}"


@pytest.mark.parametrize("bring", [_rebuild, _sync])
def test_every_call_of_the_storage_may_fail(buckets: Buckets, bring: Bring) -> None:
    places, _, _ = buckets.turn()
    count = Fault()
    bring(buckets.database.catalog, _sources([FailingRepository(e, count) for e in places]))
    calls = len(count.calls)
    unheard = []
    for number in range(calls):
        # A read has no effect of its own: done or not is the same, but for half a listing.
        half = When.AFTER if " list " in count.calls[number] else When.KILLED_BEFORE
        for when in (When.BEFORE, half):
            places, old, new = buckets.turn()
            fault = Fault(number, when)
            done = None
            try:
                failing = [FailingRepository(each, fault) for each in places]
                done = bring(buckets.database.catalog, _sources(failing))
            except (KbDrError, Killed):
                pass
            where = f"{when} {count.calls[number]}"

            seen = buckets.contents()
            if done is None:
                _require_whole(bring, seen, old, new, where)
            elif not any(each.problem for each in done.state.copies):
                unheard += [] if seen == new else [where]
            if bring is _sync:
                known = {*_of_backup(old)} & {*_of_backup(new)}
                assert known <= {*_of_backup(seen)}, where

            bring(buckets.database.catalog, _sources(places))
            assert buckets.contents() == new, where
    assert calls > 10
    assert unheard == []


@pytest.mark.parametrize("bring", [_rebuild, _sync])
def test_every_statement_may_be_the_last_one(
    buckets: Buckets, proxy: PostgresProxy, bring: Bring
) -> None:
    """For the server a statement that never came is the same as the one before unanswered."""
    catalog = _through(proxy, buckets.database)
    places, _, _ = buckets.turn()
    bring(catalog, _sources(places))
    statements = proxy.statements
    for number, answered in [(0, False), *((each, True) for each in range(statements))]:
        places, old, new = buckets.turn()
        proxy.arm(number, answered=answered)
        with pytest.raises(CatalogUnavailable):
            bring(catalog, _sources(places))
        where = f"statement {number} of {statements}"

        _require_whole(bring, buckets.contents(), old, new, where)

        proxy.arm(None)
        bring(buckets.database.catalog, _sources(places))
        assert buckets.contents() == new, where
    assert statements > 20
