"""What `make bench` writes, from runs that were made up."""

import io
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from kb_dr_tests.bench import kept, picture
from kb_dr_tests.bench.__main__ import DOCUMENT, PAGE, UNFINISHED, main, measure, write
from kb_dr_tests.bench.contest import US, US_RESTORING, Facts, Growth, Work
from kb_dr_tests.bench.goals import behind, goals
from kb_dr_tests.bench.made_run import ASKED, MACHINE, PEER, contest, findings, rounds, run_of
from kb_dr_tests.bench.page import PICTURE, page
from kb_dr_tests.bench.parts import Planned, Workbench, needed_bytes, plan
from kb_dr_tests.bench.results import Findings, LeftOut, Memory, together
from kb_dr_tests.bench.running import run_parts
from kb_dr_tests.bench.sheet import ratio


def headings(text: str) -> list[str]:
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


def section(text: str, heading: str) -> str:
    return text.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_what_we_lose_comes_before_all_other_figures() -> None:
    found = findings(*contest(backup=11.0))
    text = page(run_of(found), with_picture=True)

    assert headings(text)[:2] == ["Where we are behind", "Goals missed"]
    assert text.index("Where we are behind") < text.index(PICTURE) < text.index("Against every")
    row = section(text, "Where we are behind").splitlines()[-1]
    assert row == (
        "| full backup | S3 | 200 MiB | peer | 1.10 | 1.00 | 10.50 to 11.50 | 9.80 to 10.20 | no"
        " | 3 |"
    )


def test_a_work_at_which_we_are_ahead_is_not_among_them() -> None:
    text = page(run_of(findings(*contest(backup=9.0))), with_picture=False)

    lost = section(text, "Where we are behind")
    assert "Nowhere" in lost
    assert "full backup" not in lost
    assert "| full backup | S3 | 200 MiB | peer | 0.90 |" in section(text, "Against every peer")


def test_who_takes_more_cpu_is_behind_as_well() -> None:
    tries = (*rounds(Work.PROOF, US, (1.0,), cpu=9.0), *rounds(Work.PROOF, PEER, (2.0,), cpu=3.0))

    assert [each.cpu_ratio for each in behind(findings(*tries))] == [pytest.approx(3.0)]
    assert "proof by restore" in section(
        page(run_of(findings(*tries)), with_picture=False), "Where we are behind"
    )


def test_a_second_way_of_ours_is_held_against_the_peers_and_told_apart() -> None:
    tries = (*contest(), *rounds(Work.REPLAY, US_RESTORING, (30.0,), plain=500 << 24, segments=500))
    text = page(run_of(findings(*tries)), with_picture=False)

    assert [each.us.contestant for each in behind(findings(*tries))] == [US_RESTORING]
    assert "| WAL replay by `kb_dr restore` | S3 | 500 segments | peer | 1.50 |" in section(
        text, "Where we are behind"
    )


def test_growth_of_our_own_work_is_told_where_there_are_two_sizes() -> None:
    tries = (
        *rounds(Work.BACKUP, US, (10.0,), plain=100 << 20),
        *rounds(Work.BACKUP, US, (30.0,), plain=200 << 20),
    )

    text = section(page(run_of(findings(*tries)), with_picture=False), "Growth")

    assert "| full backup, S3 | 200 MiB | 30.00 (143.05 per unit) | 1.50 | 100 | 1.00 |" in text


def test_growth_of_what_took_no_time_at_first_has_no_ratio() -> None:
    grown = Growth("a tick", "backups", ((100, 0.0, 1 << 20), (1000, 0.5, 2 << 20)))

    text = section(page(run_of(Findings(growth=(grown,))), with_picture=False), "Growth")

    assert "| a tick | 1,000 backups | 0.50 (0.50 per unit) |  | 2 | 2.00 |" in text


def test_the_worst_is_named_first() -> None:
    tries = (
        *rounds(Work.BACKUP, US, (11.0,)),
        *rounds(Work.BACKUP, PEER, (10.0,)),
        *rounds(Work.PROOF, US, (30.0,)),
        *rounds(Work.PROOF, PEER, (10.0,)),
        *rounds(Work.RESTORE, US, (10.0,), cpu=8.0),
        *rounds(Work.RESTORE, PEER, (10.0,), cpu=4.0),
    )

    worst = [each.us.work for each in behind(findings(*tries))]
    assert worst == [Work.PROOF, Work.RESTORE, Work.BACKUP]


def test_nowhere_is_not_said_when_nobody_else_was_measured() -> None:
    alone = rounds(Work.BACKUP, US, (11.0,))

    for text in (page(run_of(findings(*alone)), with_picture=False),
                 page(run_of(Findings()), with_picture=False)):  # fmt: skip
        assert "Nowhere" not in text
        assert "Not known" in section(text, "Where we are behind")


def test_a_part_that_was_not_measured_is_named() -> None:
    text = page(run_of(replace(findings(*contest()), facts=(), left_out=())), with_picture=False)

    said = section(text, "Not measured")
    assert said.strip() == "calls; dumps; growth; Who was measured, and what is uneven."


def test_a_hair_too_much_is_not_rounded_away() -> None:
    assert ratio(1.0001) == "1.0001"
    assert ratio(1.0) == "1.00"
    assert ratio(1.00000001) == "above 1"
    missed = [each for each in goals(findings(*contest(backup=10.001))) if not each.met]
    assert ("1.000100", "at most 1.00 |") in [
        tuple(line.split(" | ")[3:5])
        for line in section(page(run_of(findings(*contest(backup=10.001))), with_picture=False),
                            "Goals missed").splitlines()
        if "quickest peer" in line
    ]  # fmt: skip
    assert "full backup, S3, 200 MiB" in [each.where for each in missed]


def test_each_goal_is_held_against_its_own_limit() -> None:
    found = findings(*contest(backup=9.0, replay=12.0))
    met = {(each.what, each.where): each.met for each in goals(found)}

    assert met == {
        ("seconds / those of the quickest peer", "full backup, S3, 200 MiB"): True,
        ("seconds / those of the quickest peer", "WAL replay, S3, 500 segments"): True,
        ("whole command / binding limit", "backup, S3, 200 MiB"): False,
        ("segments per second of a replay / those of cp", "WAL replay, S3, 500 segments"): False,
        ("CPU seconds / those of the thriftiest peer", "full backup, S3, 200 MiB"): True,
        ("CPU seconds / those of the thriftiest peer", "WAL replay, S3, 500 segments"): True,
        ("most MiB of memory", "200 MiB: backup full, S3"): True,
        ("most MiB of memory", "7.81 GiB: WAL replay, S3"): True,
        ("cores while idle", "60 s"): True,
    }
    quick = {each.what: each.met for each in goals(findings(*contest(replay=10.0)))}
    assert quick["segments per second of a replay / those of cp"]
    fat = replace(found, memory=(Memory("verify", "S3", 1 << 30, 401 << 20),))
    assert [each.where for each in goals(fat) if "memory" in each.what and not each.met] == [
        "1.00 GiB: verify, S3"
    ]


def test_a_busy_machine_is_said_to_be_one() -> None:
    found = findings(*contest())

    assert "The machine was quiet." in page(run_of(found), with_picture=False)
    assert "The machine was not quiet" in page(run_of(found, busy_cores=0.4), with_picture=False)


def test_every_unevenness_and_everyone_left_out_is_on_the_page() -> None:
    text = section(page(run_of(findings(*contest())), with_picture=False),
                   "Who was measured, and what is uneven")  # fmt: skip

    assert "| peer | 2.3 | zstd level 1 | none | It keeps its files unencrypted. |" in text
    assert "| absent | not measured |  |  | Its binary is not on PATH. |" in text


def test_findings_of_parts_come_together_with_each_contestant_once() -> None:
    one = Findings(
        facts=(Facts(PEER, "2.3", "zstd", "", ("One.",)),), left_out=(LeftOut("x", "."),)
    )
    two = Findings(
        facts=(Facts(PEER, "2.3", "zstd", "", ("One.", "Two.")), Facts("x", "1", "", ""))
    )

    joined = together([one, two])

    assert [(each.name, each.uneven) for each in joined.facts] == [
        (PEER, ("One.", "Two.")), ("x", ()),
    ]  # fmt: skip
    assert joined.left_out == ()


def test_a_run_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    run = run_of(findings(*contest()))
    file = tmp_path / DOCUMENT

    kept.save(run, file)

    assert kept.load(file) == run
    assert page(kept.load(file), with_picture=True) == page(run, with_picture=True)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    kept.save(replace(run_of(Findings()), format=99), tmp_path / DOCUMENT)

    with pytest.raises(ValueError, match="format 99"):
        kept.load(tmp_path / DOCUMENT)


def test_the_picture_has_a_panel_for_every_work_with_a_peer(tmp_path: Path) -> None:
    drawn = picture.draw(findings(*contest()), "made up")

    assert drawn is not None
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    assert picture.draw(findings(*rounds(Work.BACKUP, US, (1.0,))), "alone") is None


def test_the_page_is_written_anew_from_what_is_kept(tmp_path: Path) -> None:
    run = run_of(findings(*contest()))
    kept.save(run, tmp_path / UNFINISHED)

    told = CliRunner().invoke(
        main, ["--from", str(tmp_path / UNFINISHED), "--out", str(tmp_path / "docs")]
    )

    assert told.exit_code == 0, told.output
    assert (tmp_path / "docs" / PAGE).read_text() == page(run, with_picture=True)
    assert kept.load(tmp_path / "docs" / DOCUMENT) == run
    assert (tmp_path / "docs" / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_a_part_is_kept_though_the_next_one_fails(tmp_path: Path) -> None:
    def fails(_: Workbench) -> Findings:
        raise AssertionError("the server did not start")

    first = Planned("wal", "wal", lambda _: Findings(left_out=(LeftOut("x", "."),)))
    seen: list[kept.Run] = []
    bench = Workbench(ASKED, tmp_path, 2, lambda _: None)
    empty = replace(run_of(Findings()), parts={})

    with pytest.raises(AssertionError):
        run_parts(empty, [first, Planned("dumps", "dumps", fails)], bench, seen.append)

    assert [list(each.parts) for each in seen] == [["wal"]]


def test_a_run_that_did_not_end_is_never_written_over(tmp_path: Path) -> None:
    kept.save(run_of(findings()), tmp_path / UNFINISHED)
    before = (tmp_path / UNFINISHED).read_bytes()

    told = CliRunner().invoke(main, ["--quick", "--out", str(tmp_path)])

    assert told.exit_code != 0
    assert "--resume" in told.output
    assert (tmp_path / UNFINISHED).read_bytes() == before


def test_results_of_another_machine_are_not_gone_on_with(tmp_path: Path) -> None:
    before = replace(run_of(Findings()), parts={})
    assert MACHINE.is_like(replace(MACHINE, sync_milliseconds=9.0, sync_mib_per_second=1.0))
    assert MACHINE.is_like(replace(MACHINE, memory_bytes=MACHINE.memory_bytes - 4096))
    for other in (
        replace(MACHINE, cores=4),
        replace(MACHINE, disk="tmpfs on a device that cannot be seen"),
        replace(MACHINE, memory_bytes=MACHINE.memory_bytes // 2),
        replace(MACHINE, versions={**MACHINE.versions, "pgBackRest": "2.45"}),
    ):
        assert not MACHINE.is_like(other)
        assert not other.is_like(MACHINE)

    with pytest.raises(click.ClickException, match="another machine"):
        measure(replace(ASKED, sizes_mib=()), before=before, directory=tmp_path)


def test_too_little_room_is_said_before_anything_is_started(tmp_path: Path) -> None:
    huge = replace(ASKED, sizes_mib=(1 << 30,))
    assert needed_bytes(plan(huge)) > 1 << 50

    with pytest.raises(click.ClickException, match="GB are free, expected about"):
        measure(huge, directory=tmp_path)


def test_a_finished_run_takes_the_place_of_the_unfinished_one(tmp_path: Path) -> None:
    kept.save(run_of(findings()), tmp_path / UNFINISHED)

    write(run_of(findings(*contest())), tmp_path)

    assert not (tmp_path / UNFINISHED).exists()
    assert (tmp_path / DOCUMENT).exists()
