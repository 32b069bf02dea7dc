"""When the demo may end well: never without a proof of the other region, or with rows missing."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kb_dr.domain.proof import Proof, Verdict
from kb_dr.sandbox.story import Ending

_NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)

_PROOF = Proof(
    schema_version=1, id="20261120-020000-abc", backup_id="kb-full-20261120-020000",
    manifest_digest="d" * 64, copy="offsite", url="s3://b", started=_NOW, finished=_NOW,
    verdict=Verdict.PROVEN, reason="every check passed", checks=(), phases=(), reach=None,
    tools={}, host="here",
)  # fmt: skip

GOOD = Ending(
    backup_id=_PROOF.backup_id, confirmed=200, archived=150, survived=160, missing_archived=0,
    lost_seconds=1.5, restore_seconds=9.0, phases=(), reached="0/B000000 on timeline 1",
    proof=_PROOF, archives_again="00000002000000000000000B",
)  # fmt: skip


def test_a_proven_copy_and_no_row_missing_is_good() -> None:
    assert GOOD.good


@pytest.mark.parametrize(
    "ending",
    [
        replace(GOOD, missing_archived=1),
        replace(GOOD, archived=0),
        replace(GOOD, proof=replace(_PROOF, verdict=Verdict.FAILED)),
        replace(GOOD, proof=replace(_PROOF, verdict=Verdict.NOT_PROVEN)),
        replace(GOOD, proof=replace(_PROOF, copy="primary")),
    ],
)
def test_anything_less_is_not(ending: Ending) -> None:
    assert not ending.good
