"""Restores of chains that are cancelled, killed or starved while links are combined; and what the
command says of chains, whole and broken.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.domain import layout
from kb_dr.domain.manifest import Source
from kb_dr.errors import NotEnoughSpace
from kb_dr.operations.plan_target import Wanted
from kb_dr.operations.restore_postgres import plan_restore, restore_postgres
from kb_dr_tests.chained_service import ChainedService
from kb_dr_tests.faults.test_restores_cut_off import start_until
from kb_dr_tests.made_programs import MadePrograms
from kb_dr_tests.protected_service import SECONDS, Service, ended

_CHILD = Path(__file__).parent / "restore_child.py"
_PAGE = 4096


@pytest.fixture
def chained(chained_of: Callable[[int], ChainedService], tmp_path: Path) -> ChainedService:
    """A chain of native increments, in a repository that may be damaged."""
    return chained_of(17).copied(tmp_path / "copied")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where restores go, and nothing else."""
    made = tmp_path / "place"
    made.mkdir()
    return made


def mentioned(path: Path) -> list[str]:
    """The processes that have something to do with this place."""
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if any(str(path) in word for word in process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_restore_cancelled_while_it_combines_leaves_nothing(
    chained: ChainedService, place: Path, tmp_path: Path, how: signal.Signals
) -> None:
    made = MadePrograms(chained.service.programs, tmp_path / "made")
    process = start_until(made, combining, chained.commands(), *restore_into(place))

    process.send_signal(how)
    ended(process).require(130, "interrupted")

    assert list(place.iterdir()) == []
    assert mentioned(place) == mentioned(made.directory) == []


def test_a_restore_killed_while_it_combines_leaves_no_target_and_the_next_one_cleans_up(
    chained: ChainedService, place: Path, tmp_path: Path
) -> None:
    made = MadePrograms(chained.service.programs, tmp_path / "made")
    commands = chained.commands()
    process = start_until(made, combining, commands, *restore_into(place))

    process.kill()
    assert ended(process).status == -signal.SIGKILL
    (left,) = place.iterdir()
    links = sorted(path.name for path in left.glob("chain-*"))
    commands.run(*restore_into(place)).require(0)

    assert left.name.startswith(".data.kb-dr-partial-")
    assert links == [f"chain-{number:04}" for number in range(len(chained.chain))]
    assert [path.name for path in place.iterdir()] == ["data"]
    assert mentioned(place) == mentioned(made.directory) == []


def combining(made: MadePrograms) -> None:
    made.stand_still("pg_combinebackup")


def restore_into(place: Path) -> list[str]:
    return ["restore", "--latest", "--into", str(place / "data")]


class _Weighing(LocalPostgresHost):
    """Weighs the links, and goes no further."""

    size_bytes = 0

    def combine(self, links: Sequence[Path], directory: Path, source: Source) -> None:
        del directory, source
        files = [path.lstat() for link in links for path in link.rglob("*")]
        self.size_bytes = sum(-(-each.st_size // _PAGE) * _PAGE for each in files)
        raise NotEnoughSpace("weighed")


def test_a_disk_that_fills_while_links_are_combined_is_said_to_be_full(
    chained: ChainedService, tmp_path: Path
) -> None:
    service, target = chained.service, tmp_path / "small" / "data"
    host = _Weighing([service.programs.bin_dir])
    scratch = LocalScratchSpace(tmp_path / "scratch")
    plan = plan_restore(service.plan(Wanted()), host, target)
    with pytest.raises(NotEnoughSpace, match="weighed"):
        restore_postgres(
            plan, service.repository, service.codec, host, scratch, SystemClock(), SilentProgress()
        )
    assert list(target.parent.iterdir()) == []
    size = host.size_bytes + (10 << 20)  # all links, and a third of what they make
    mount = f'mount -t tmpfs -o size={size},mode=0700 tmpfs "$0" && exec "$@"'

    done = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(target.parent)),
            *(sys.executable, str(_CHILD), str(service.programs.bin_dir)),
            *(str(chained.root), str(target)),
        ],
        input=str(service.identity),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.stdout.startswith("NotEnoughSpace []"), done.stdout + done.stderr
    assert "combine a chain into" in done.stdout


# what the command says


def test_the_command_shows_what_a_backup_is_made_of(chained: ChainedService, place: Path) -> None:
    commands, newest = chained.commands(), chained.newest.manifest.id
    made_of = [{"id": each.manifest.id, "digest": each.digest} for each in chained.chain]

    shown = answered(commands, "show", newest)
    listed = answered(commands, "list")
    planned = answered(commands, *restore_into(place), "--dry-run")

    assert (shown["chain"], shown["broken"]) == (made_of, None)
    assert [each["parent"] for each in listed] == [None, *(each["id"] for each in made_of[:-1])]
    assert {each["broken"] for each in listed} == {None}
    assert planned["plan"]["chain"] == made_of
    for words in (["show", newest], [*restore_into(place), "--dry-run"]):
        said = commands.run(*words).require(0).out
        assert all(each["id"] in said for each in made_of), said
    listed_ids = re.findall(r"kb-[a-z]+-[0-9-]+", commands.run("list").require(0).out)
    assert listed_ids == [each["id"] for each in made_of], "each once, and whole"


def test_a_drill_recovers_to_a_time_from_a_chain(chained: ChainedService) -> None:
    drilled = [
        answered(chained.commands(), "drill", "--from", "primary", *words, status=None)["drill"]
        for words in (["--seed", "11"], ["--latest"])
    ]

    to_a_time, to_the_end = drilled
    assert [each["verdict"] for each in drilled] == ["PROVEN", "PROVEN"], drilled
    assert to_a_time["asked"].startswith("time ")
    assert to_the_end["backup_id"] == chained.newest.manifest.id
    phases = [each["name"] for each in to_the_end["phases"]]
    assert phases.count("fetch and unpack") == len(chained.chain)


def answered(commands: Service, *words: str, status: int | None = 0) -> Any:
    """What it says for machines; with ``status`` None however it ended."""
    said = commands.run(*words, "--json")
    return json.loads((said if status is None else said.require(status)).out)


def test_the_command_says_of_a_broken_chain_that_it_is_one(
    chained: ChainedService, place: Path
) -> None:
    commands, parent, newest = chained.commands(), chained.chain[2], chained.newest.manifest.id
    lost = parent.manifest.id
    chained.path(layout.manifest_key(parent.manifest.backup_id)).unlink()

    words = ["restore", "--backup", newest, "--into", str(place / "data")]
    commands.run(*words).require(35, f"its parent {lost} is not in primary")
    commands.run(*words, "--dry-run").require(35, lost)
    commands.run("verify", newest).require(61, lost)
    commands.run("validate", newest).require(60)
    assert "3 incremental backups cannot be used" in commands.run("doctor").out
    shown, listed = commands.run("show", newest).require(0), commands.run("list").require(0)
    dry = commands.run(*restore_into(place), "--dry-run").require(0)

    assert lost in shown.out
    assert lost in dry.out
    assert "BROKEN" in shown.out
    assert listed.out.count("BROKEN") == 3
    assert lost not in listed.out, "whoever takes an id out of a listing must not take this one"
    assert "passed over" in dry.out
    assert list(place.iterdir()) == []
