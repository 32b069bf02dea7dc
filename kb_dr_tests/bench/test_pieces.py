"""One page put together from pieces, each of them asked for by itself; all made up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from kb_dr_tests.bench import __main__ as bench
from kb_dr_tests.bench import kept, machine_facts, picture, running
from kb_dr_tests.bench.contest import US, Work
from kb_dr_tests.bench.kept import Asked, Run
from kb_dr_tests.bench.made_run import (
    ASKED,
    BENCH,
    CODE,
    MACHINE,
    PEER,
    contest,
    findings,
    rounds,
    run_of,
)
from kb_dr_tests.bench.page import page
from kb_dr_tests.bench.parts import Planned, Workbench, needed_bytes, plan, unmeasured
from kb_dr_tests.bench.results import Findings

BOTH = ("directory", "S3 over TLS")


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part finds the rounds of a backup, of the size and store in its name."""

    def planned(asked: Asked, only: Sequence[str]) -> tuple[Planned, ...]:
        return tuple(replace(each, measure=_found(each.name, asked)) for each in plan(asked, only))

    monkeypatch.setattr(bench, "plan", planned)
    monkeypatch.setattr(bench, "look_at_machine", lambda *_: MACHINE)
    monkeypatch.setattr(bench, "free_bytes", lambda _: 1 << 50)
    monkeypatch.setattr(picture, "draw", lambda *_: None)
    monkeypatch.setattr(running, "busy_cores", lambda: 0.0)


def _found(name: str, asked: Asked) -> Callable[[Workbench], Findings]:
    def measure(_: Workbench) -> Findings:
        kind, *where = name.split(", ")
        if kind != "contest":
            return Findings()
        plain = int(where[0].split()[0]) << 20
        ours = rounds(Work.BACKUP, US, [2.0] * asked.rounds, store=where[1], plain=plain)
        theirs = rounds(Work.BACKUP, PEER, [1.0] * asked.rounds, store=where[1], plain=plain)
        return Findings(tries=(*ours, *theirs))

    return measure


def make_bench(out: Path, words: str) -> Run:
    """As it is typed; what is kept then."""
    told = CliRunner().invoke(bench.main, [*words.split(), "--out", str(out)])
    assert told.exit_code == 0, told.output
    return kept.load(out / bench.DOCUMENT)


def test_a_piece_is_put_beside_what_is_there_with_rounds_of_its_own(tmp_path: Path) -> None:
    make_bench(tmp_path, "--only contest --mib 200,2000 --rounds 3")
    run = make_bench(tmp_path, "--only contest --mib 10000 --rounds 1 --store directory")

    assert list(run.parts) == [
        *(f"contest, {mib} MiB, {store}" for mib in (200, 2000) for store in BOTH),
        "contest, 10000 MiB, directory",
    ]
    text = (tmp_path / bench.PAGE).read_text()
    assert (
        "Rounds, in which the contestants take turns: 200 MiB through directory: 3; 200 MiB through"
        " S3 over TLS: 3; 1.95 GiB through directory: 3; 1.95 GiB through S3 over TLS: 3;"
        " 9.77 GiB through directory: 1."
    ) in text
    assert (
        "make bench BENCH_ARGS='--only contest --mib 200,2000 --rounds 3 --seed-entries 10000"
        ' --store "directory" --store "S3 over TLS"\'\n'
        "make bench BENCH_ARGS='--only contest --mib 10000 --rounds 1 --seed-entries 10000"
        ' --store "directory"\'\n'
    ) in text
    row = (
        "| full backup | directory | 9.77 GiB | peer | 2.00 | 1.00 | 2.00 | 1.00 | one round | 1 |"
    )
    assert row in text


def test_the_same_size_and_store_measured_again_takes_its_place(tmp_path: Path) -> None:
    before = make_bench(tmp_path, "--only contest --mib 200 --rounds 3")
    after = make_bench(tmp_path, "--only contest --mib 200 --rounds 2 --store directory")

    assert list(after.parts) == list(before.parts)
    again, kept_one = after.parts.values()
    assert {each.round for each in again.findings.tries} == {0, 1}
    assert kept_one == before.parts["contest, 200 MiB, S3 over TLS"]


def test_anew_keeps_nothing(tmp_path: Path) -> None:
    make_bench(tmp_path, "--only contest --mib 200 --rounds 3")
    after = make_bench(tmp_path, "--only contest --mib 300 --rounds 1 --store directory --anew")

    assert list(after.parts) == ["contest, 300 MiB, directory"]


def test_a_command_that_did_not_end_is_gone_on_with_as_it_was_asked_for(tmp_path: Path) -> None:
    before = make_bench(tmp_path, "--only contest --mib 200,300 --rounds 3 --store directory")
    done = before.parts["contest, 200 MiB, directory"]
    old = replace(done, ended_at=before.began_at - timedelta(days=1), findings=Findings())
    parts = {"contest, 200 MiB, directory": done, "contest, 300 MiB, directory": old, "calls": old}
    kept.save(replace(before, parts=parts), tmp_path / bench.UNFINISHED)

    after = make_bench(tmp_path, "--resume")

    assert after.parts["contest, 200 MiB, directory"] == done
    assert after.parts["contest, 300 MiB, directory"].ended_at >= before.began_at
    assert len(after.parts["contest, 300 MiB, directory"].findings.tries) == 2 * 3
    assert after.parts["calls"] == old


def test_what_is_missing_beside_what_is_there_is_named(tmp_path: Path) -> None:
    make_bench(tmp_path, "--only contest --mib 200 --rounds 1")
    make_bench(tmp_path, "--only contest --mib 10000 --rounds 1 --store directory")
    make_bench(tmp_path, "--only limits --mib 200")
    make_bench(tmp_path, "--only wal --rounds 1 --store directory")

    said = (tmp_path / bench.PAGE).read_text().partition("## Not measured\n\n")[2].split("\n")[0]
    assert said.startswith(
        "idle; calls; wal, S3 over TLS; dumps; limits, 10000 MiB, directory; limits, 10000 MiB,"
        " S3 over TLS; contest, 10000 MiB, S3 over TLS; fsync, 200 MiB; fsync, 10000 MiB; growth;"
    )


def test_pieces_of_different_code_are_said_to_be(tmp_path: Path) -> None:
    run = run_of(findings(*contest()))
    assert f"Code of kb_dr: `{CODE}`" in page(run, with_picture=False)

    later = replace(run.parts["idle"], code=("ba9876543210",), findings=Findings())
    text = page(run.with_part("growth", later), with_picture=False)

    assert "**Not all of it is of the same code of kb_dr** (digests of its files)" in text
    assert f"`{CODE}`: idle; `ba9876543210`: growth." in text
    assert f"Code of the bench: `{BENCH}`" in text

    later = replace(run.parts["idle"], bench=("ba9876543210",), findings=Findings())
    text = page(run.with_part("growth", later), with_picture=False)
    assert (
        f"Code of kb_dr: `{CODE}` (digest of its files). Not all of it is of the same bench"
        f" (digests of its files): `{BENCH}`: idle; `ba9876543210`: growth."
    ) in text


def test_code_that_changes_under_a_command_marks_what_is_measured_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looked at when the command begins, and before and after each of its two parts.
    states = iter(["old", "old", "old", "old", "new"])
    monkeypatch.setattr(running, "code_digest", lambda: next(states))

    run = make_bench(tmp_path, "--only contest --mib 200 --rounds 1")

    assert [each.code for each in run.parts.values()] == [("old",), ("old", "new")]
    alone = page(replace(run, parts=dict(list(run.parts.items())[1:])), with_picture=False)
    assert (
        "**Not all of it is of the same code of kb_dr** (digests of its files): `old`, changed to"
        " `new`: contest, 200 MiB, S3 over TLS."
    ) in alone


@pytest.mark.parametrize("name", ["module.py", "cli/shell/push-wal.sh"])
def test_every_file_of_the_package_counts_as_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(machine_facts, "_CODE", tmp_path)
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("one")
    before = machine_facts.code_digest()
    (tmp_path / "compiled.pyc").write_bytes(b"of the same")
    assert machine_facts.code_digest() == before

    file.write_text("two")

    assert machine_facts.code_digest() != before


def test_a_quick_piece_is_said_to_be_one(tmp_path: Path) -> None:
    run = make_bench(tmp_path, "--quick --only contest --store directory")

    assert run.commands == (
        '--quick --only contest --mib 20 --rounds 1 --seed-entries 2000 --store "directory"',
    )
    again = make_bench(tmp_path / "again", run.commands[0].replace('"', ""))
    assert (again.asked, again.commands) == (run.asked, run.commands)


def test_what_only_limits_has_measured_lacks_its_contest(tmp_path: Path) -> None:
    make_bench(tmp_path, "--only limits --mib 500 --store directory")

    assert unmeasured(kept.load(tmp_path / bench.DOCUMENT).parts) == (
        *("idle", "calls", "wal, directory", "dumps"),
        *("contest, 500 MiB, directory", "fsync, 500 MiB", "growth"),
    )
    assert unmeasured(["wal, S3", "fsync, 30 MiB"]) == (
        *("idle", "calls", "dumps", "limits, 30 MiB, S3", "contest, 30 MiB, S3", "growth"),
    )


def test_one_contestant_at_a_time_fits_where_all_of_them_would_not() -> None:
    asked = replace(ASKED, sizes_mib=(10_000,), stores=("directory",), rounds=1)

    assert needed_bytes(plan(asked, ["contest"])) < 45 << 30
