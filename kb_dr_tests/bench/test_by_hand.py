"""A peer's proof, made by hand, proves something: what is damaged does not pass it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr_tests.bench.contestants.by_hand import proved_by_hand
from kb_dr_tests.bench.contestants.contestant import Command
from kb_dr_tests.bench.site import DATABASE, MAJOR, Site, running_site
from kb_dr_tests.bench.usage import clean_environment, run


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("by-hand"), major=MAJOR) as running:
        running.prepare(200)
        yield running


_OVERWRITE = "dd bs=1 seek=9000 conv=notrunc status=none"


def prove(site: Site, target: Path, and_then: str = "true") -> str:
    """Of a base backup, with something done to it; what it prints."""
    programs = site.cluster.programs
    take = [str(programs.path("pg_basebackup")), "-D", str(target), "-c", "fast", "--no-sync"]
    libraries = f"LD_LIBRARY_PATH={programs.environment().get('LD_LIBRARY_PATH', '')}"
    words = shlex.join(["env", libraries, *take, "-d", site.cluster.conninfo()])
    restore = Command(["sh", "-c", f"{words} && {and_then}"])
    command = proved_by_hand(site, restore, target)
    return run(command.words, env=clean_environment()).output


def test_every_row_of_every_table_is_counted_and_nothing_is_left(
    site: Site, tmp_path: Path
) -> None:
    said = prove(site, tmp_path / "restored")

    assert set(said.split()) == {"alembic_version|1", "chunks|200", "knowledge_entries|200"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("relation", ["chunks", "chunks_pkey"])
def test_a_damaged_page_fails_it(site: Site, tmp_path: Path, relation: str) -> None:
    question = f"select pg_relation_filepath('{relation}')"
    ((file,),) = site.cluster.query(question, database=DATABASE)
    damaged = shlex.quote(str(tmp_path / "restored" / str(file)))

    with pytest.raises(AssertionError, match="invalid page"):
        prove(site, tmp_path / "restored", f"printf damage | {_OVERWRITE} of={damaged}")


def test_a_damaged_page_that_amcheck_never_reads_fails_it(site: Site, tmp_path: Path) -> None:
    # A table that nothing writes to meanwhile: the server would mend its free space map.
    question = "select pg_relation_filepath('pg_operator')"
    ((file,),) = site.cluster.query(question, database=DATABASE)
    damaged = shlex.quote(str(tmp_path / "restored" / f"{file}_fsm"))

    with pytest.raises(AssertionError, match="checksum verification failed"):
        prove(site, tmp_path / "restored", f"printf damage | {_OVERWRITE} of={damaged}")
