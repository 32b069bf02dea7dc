"""An integrity report forgets no damage, and believes no report that cannot be of now."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain import layout
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.proof import Verdict
from kb_dr.domain.reread import SLICES
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.catalog import Unreadable
from kb_dr.operations.report_records import store_report
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_installation import MadeInstallation

DAY = timedelta(days=1)


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    made = MadeInstallation(tmp_path, offsite=False)
    made.has_backup()
    return made


def report(installation: MadeInstallation, *, every_byte: bool = False) -> IntegrityReport:
    return installation.make_report(SilentProgress(), every_byte=every_byte)


def damage(installation: MadeInstallation) -> str:
    """One flipped byte in a chunk; its key."""
    bodies = installation.primary.bodies
    key = next(key for key in sorted(bodies) if "base.tar" in key)
    bodies[key] = bodies[key][:-1] + bytes([bodies[key][-1] ^ 1])
    return key


def of_damage(found: IntegrityReport) -> list[str]:
    return [each for each in found.shortfalls if "damaged" in each]


def test_damage_is_in_each_report_until_it_is_mended(installation: MadeInstallation) -> None:
    whole = dict(installation.primary.bodies)
    key = damage(installation)
    assert of_damage(report(installation, every_byte=True))

    for days in (1, 1, 3):
        installation.clock.sleep(days * DAY.total_seconds())
        assert any(key in each for each in of_damage(report(installation)))
    installation.clock.sleep(60)
    assert of_damage(report(installation)), "also in a second one of the same hour"

    installation.primary.bodies[key] = whole[key]
    installation.clock.sleep(60)
    assert not of_damage(report(installation))


def test_a_report_of_a_clock_that_was_wrong_puts_off_no_reading(
    installation: MadeInstallation,
) -> None:
    first = report(installation, every_byte=True)
    later = first.at + 700 * DAY
    wrong = replace(first, id=f"{later:%Y%m%d-%H%M%S}-0000abcd", at=later, finished=later)
    store_report([installation.primary], wrong)

    found = [first]
    for _ in range(SLICES):
        installation.clock.sleep(DAY.total_seconds())
        found.append(report(installation))

    (copy,) = found[-1].copies
    assert copy.read_since == found[1].at
    read = [each.copies[0].reread for each in found[1:]]
    assert {number for each in read if each for number in each.slices} == set(range(SLICES))


def test_no_report_is_not_said_where_nobody_answers(installation: MadeInstallation) -> None:
    report(installation)
    installation.primary.failures[""] = RepositoryUnavailable("ask primary: it is down")

    with pytest.raises(RepositoryUnavailable):
        installation.reports()
    with pytest.raises(RepositoryUnavailable):
        report(installation)


def test_one_report_that_cannot_be_read_hides_no_other(installation: MadeInstallation) -> None:
    key = damage(installation)
    first = report(installation, every_byte=True)
    installation.clock.sleep(DAY.total_seconds())
    second = report(installation)
    rotten = f"reports/{second.id}.json"
    installation.primary.bodies[rotten] = b"{"

    installation.clock.sleep(DAY.total_seconds())
    third = report(installation)

    assert any(key in each for each in of_damage(third))
    assert third.copies[0].read_since == first.at
    judged = installation.reports_judged(days=2)
    assert judged is not None
    assert any(rotten in each for each in judged.wrong), "it may have said more"


def test_a_proof_from_the_future_is_not_fresh(installation: MadeInstallation) -> None:
    (stored,) = installation.catalog("primary")
    assert not isinstance(stored, Unreadable)
    installation.clock.sleep(DAY.total_seconds())
    installation.has_proof(stored, Verdict.PROVEN, copy="primary")
    assert not [each for each in report(installation).shortfalls if "proven" in each]
    installation.has_proof(stored, Verdict.PROVEN, copy="primary", minutes=600_000)

    made = report(installation)

    assert [each for each in made.shortfalls if "was proven" in each]
    assert made.coverage.copies == 0


def test_a_proven_increment_whose_chain_is_broken_covers_nothing(
    installation: MadeInstallation,
) -> None:
    (full,) = installation.catalog("primary")
    assert not isinstance(full, Unreadable)
    child = store_increment(installation.primary, installation.codec, full)
    installation.has_proof(child, Verdict.PROVEN, copy="primary")
    installation.clock.sleep(DAY.total_seconds())
    assert report(installation).coverage.copies == 1
    installation.primary.delete(layout.manifest_key(full.manifest.backup_id))

    assert report(installation).coverage.copies == 0
