"""What is asked of a copy for a whole list of backups is asked once, not once for each of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.proof import Standing, Verdict
from kb_dr.errors import UnreadableRecord
from kb_dr.operations.choose_backup import KnownBad, known_to_be_bad
from kb_dr.operations.recovery_windows import list_recovery_windows
from kb_dr_tests.counted_look import counted_look
from kb_dr_tests.made_installation import MadeInstallation


def listings(directory: Path, backups: int, look: Callable[[MadeInstallation], object]) -> int:
    """How often a look lists, where so many backups were taken and proven."""
    counted = counted_look(directory / str(backups), backups, look)
    return sum(each.calls["list"] for each in counted.values())


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda made: made.overview("primary"), id="list"),
        pytest.param(
            lambda made: list_recovery_windows(made.repository("primary"), made.codec),
            id="recoverable windows",
        ),
        pytest.param(lambda made: made.lacking("offsite"), id="what a copy lacks"),
    ],
)
def test_a_look_at_all_backups_lists_no_more_often_when_there_are_more(
    tmp_path: Path, look: Callable[[MadeInstallation], object]
) -> None:
    assert listings(tmp_path, 2, look) == listings(tmp_path, 9, look)


def test_the_standings_of_a_list_are_those_of_each_backup(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path)
    stored = [made.has_backup(days=day) for day in range(3)]
    for each in stored:
        made.has_offsite_copy(each)
    made.has_proof(stored[0], Verdict.PROVEN)
    made.has_proof(stored[1], Verdict.PROVEN)
    made.has_proof(stored[1], Verdict.FAILED, minutes=20)

    rows = made.overview("primary")

    assert [each.standings for each in rows] == [
        made.standings(each, ("primary", "offsite")) for each in stored
    ]
    assert [each.standings["offsite"] for each in rows] == [
        Standing.PROVEN, Standing.FAILED, Standing.UNPROVEN,
    ]  # fmt: skip


def test_a_proof_that_cannot_be_read_is_passed_over_by_nobody(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path)
    good, doubtful = made.has_backup(), made.has_backup(days=1)
    made.has_proof(good, Verdict.PROVEN, copy="primary")
    proof = made.has_proof(doubtful, Verdict.FAILED, copy="primary")
    made.has_proof(doubtful, Verdict.PROVEN, copy="primary", minutes=20)
    key = layout.proof_key(doubtful.manifest.backup_id, "primary", proof.id)
    made.primary.delete(key)
    made.primary.put(key, b"{")
    bad = KnownBad(made.primary, {each.manifest.backup_id for each in (good, doubtful)})

    assert bad.why([good]) is None
    for look in (bad.why, lambda chain: known_to_be_bad(made.primary, chain)):
        with pytest.raises(UnreadableRecord):
            look([doubtful])
    with pytest.raises(UnreadableRecord):
        made.overview("primary")
    assert [each.backups for each in list_recovery_windows(made.primary, made.codec)] == [
        (good.manifest.id,)
    ]


def test_a_backup_that_failed_is_known_to_be_bad_whoever_else_is_asked_about(
    tmp_path: Path,
) -> None:
    made = MadeInstallation(tmp_path)
    good, failed = made.has_backup(), made.has_backup(days=1)
    made.has_proof(failed, Verdict.FAILED, copy="primary")
    bad = KnownBad(made.primary, {each.manifest.backup_id for each in (good, failed)})

    assert bad.why([good]) is None
    why = bad.why([failed])
    assert why is not None
    assert why == known_to_be_bad(made.primary, [failed])
