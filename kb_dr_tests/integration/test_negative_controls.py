"""A verifier that sees damage is told from one that does not, on a real backup, really damaged."""

from collections.abc import Sequence
from pathlib import Path

from kb_dr import wiring
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.overlay_repository import OverlayRepository
from kb_dr.adapters.restored_checks import RestoredChecks
from kb_dr.adapters.restored_damage import RestoredDamage
from kb_dr.domain.control import ControlRun, Damage
from kb_dr.operations.run_controls import ControlTools, run_controls
from kb_dr_tests.protected_cluster import LostCluster


def controlled(
    lost: LostCluster, directory: Path, damages: Sequence[Damage] = tuple(Damage)
) -> ControlRun:
    """Run these controls on a lost cluster's repository."""
    tools = ControlTools(
        codec=lost.codec,
        stranger=wiring.stranger(),
        host=lost.host,
        scratch=lost.scratch(directory),
        inspector=RestoredChecks(),
        damager=RestoredDamage(),
        overlay=OverlayRepository,
        clock=SystemClock(),
    )
    return run_controls(lost.repository, tools, SilentProgress(), damages=damages)


def test_every_damage_is_seen_and_named(lost_cluster: LostCluster, tmp_path: Path) -> None:
    lost = lost_cluster.copied(tmp_path)

    run = controlled(lost, tmp_path)

    for each in run.results:
        print(each)
    assert run.passed
