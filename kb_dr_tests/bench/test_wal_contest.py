"""That the contest of WAL runs, and that it takes no short cut for a tool that fails."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kb_dr_tests.bench.contest import PLAIN_CP, US, US_RESTORING, Try, Work, duels, standings
from kb_dr_tests.bench.contestants.contestant import Contestant
from kb_dr_tests.bench.contestants.kb_dr import KbDr
from kb_dr_tests.bench.contestants.pgbackrest import PgBackRest
from kb_dr_tests.bench.contestants.plain_cp import PlainCp
from kb_dr_tests.bench.descendants import (
    children,
    end_orphans,
    watching_descendants,
)
from kb_dr_tests.bench.site import MAJOR, Site, running_site
from kb_dr_tests.bench.wal_burst import NotArchived, make_burst
from kb_dr_tests.bench.wal_contest import measure_wal_contest
from kb_dr_tests.bench.wal_replay import NotReplayed, replay
from kb_dr_tests.bench.whole_tree import orphans_adopted


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("wal"), major=MAJOR) as running:
        running.prepare(500)
        yield running


def three(site: Site, store: str) -> Sequence[Contestant]:
    return [PlainCp(site, store), KbDr(site, store), PgBackRest(site, store)]


def test_each_tool_archives_and_replays_the_same_burst(site: Site) -> None:
    tries, facts = measure_wal_contest(site, ("directory",), 2, 1, lambda _: None, three)

    names = [PLAIN_CP, US, "pgBackRest"]
    assert [each.contestant for each in tries if each.work is Work.PUSH] == names
    assert [each.contestant for each in tries if each.work is Work.REPLAY] == [*names, US_RESTORING]
    assert [each.name for each in facts] == [*names, US_RESTORING]
    for each in tries:
        assert each.segments == 2
        assert each.plain_bytes == 2 << 24
        assert each.seconds > 0
        assert each.cpu_seconds > 0
    assert _stored(tries, PLAIN_CP) == 2 << 24
    assert 0 < _stored(tries, US) < 2 << 24
    # Ours is no peer of ours, and cp is none of anybody's.
    assert {each.peer.contestant for each in duels(standings(tries))} == {"pgBackRest"}


def test_a_tool_that_fails_or_loses_wal_gets_no_figures(site: Site, tmp_path: Path) -> None:
    burst = make_burst(site, 2, tmp_path)
    archive = tmp_path / "archive"
    archive.mkdir()

    with pytest.raises(NotArchived):
        burst.begin("false")
    burst = make_burst(site, 2, tmp_path / "again")
    burst.begin(f'cp %p "{archive}/%f"')
    burst.push(f'cp %p "{archive}/%f"')
    (archive / burst.segments[-1]).unlink()
    with pytest.raises(NotReplayed):
        replay(burst, tmp_path / "replay", f'cp "{archive}/%f" "%p"', {})


def test_work_of_a_process_that_left_its_parent_counts() -> None:
    known = children()
    work = "import time; began = time.process_time()\nwhile time.process_time() < began + 0.3: pass"

    with orphans_adopted(), watching_descendants() as took:
        # The shell ends at once: what it started belongs to nobody then.
        subprocess.run(
            ["sh", "-c", f'python3 -c "{work}" & echo $!'], check=True, stdout=subprocess.DEVNULL
        )
        while any(_runs(pid) for pid in children() - known):
            pass

    assert took.cpu_seconds > 0.25
    end_orphans(known)
    assert children() == known


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return os.path.exists(f"/proc/{pid}")


def _stored(tries: Sequence[Try], name: str) -> int:
    (found,) = (
        each.stored_bytes for each in tries if each.contestant == name and each.work is Work.PUSH
    )
    assert found is not None
    return found
