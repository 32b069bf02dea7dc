"""Proofs that keep retention from letting anything go."""

from collections.abc import Iterable

from kb_dr.domain.proof import Proof, Verdict, Void, is_void


def proofs_that_stop(
    proofs: Iterable[Proof], *, copy: str, url: str, void_through: Void | None
) -> tuple[str, ...]:
    """Why nothing may go from a copy: its newest conclusive proof, of whatever backup, FAILED.

    Call it for each family of backups by itself: a dump that loads refutes no red of a base backup,
    nor the reverse. What counts is what kb_dr.domain.proof.standing counts. A void green refutes no
    older red.
    """
    newest = max(
        (
            proof
            for proof in proofs
            if proof.copy == copy
            and proof.verdict is not Verdict.NOT_PROVEN
            and (proof.verdict is Verdict.FAILED or (proof.url == url and proof.to_the_end))
            and not is_void(proof, void_through)
        ),
        key=lambda proof: (proof.finished, proof.verdict is Verdict.FAILED, proof.id),
        default=None,
    )
    if newest is None or newest.verdict is not Verdict.FAILED:
        return ()
    return (f"the newest proof of this copy, of {newest.backup_id}, FAILED: {newest.reason}",)
