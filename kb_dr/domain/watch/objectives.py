"""Objectives of `kb-dr status` that are watched: RPO, the age of proofs, clocks."""

from kb_dr.domain.objective import Limits, hold_clocks, hold_proof_ages, hold_rpo
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import Status
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched


def judge_rpo(status: Status | Unknown, limits: Limits) -> Watched:
    """``rpo_holds``: what a disaster now would lose, were each copy all that is left."""
    name = "rpo_holds"
    if isinstance(status, Unknown):
        return conclude(name, [status.about("RPO")])
    parts = [hold_rpo(each, limits.rpo_seconds) for each in status.rpo]
    return conclude(name, parts, {f"rpo_seconds_{each.copy}": each.seconds for each in status.rpo})


def judge_proof_age(status: Status | Unknown, limits: Limits) -> Watched:
    """``newest_proof_is_young``: of the copy that counts, and of each further one."""
    name = "newest_proof_is_young"
    if isinstance(status, Unknown):
        return conclude(name, [status.about("age of the newest proof")])
    parts = hold_proof_ages(status.copies, limits.proof_age_seconds, status.now)
    values = {
        f"age_seconds_{copy.copy}": (status.now - copy.newest_proof.proven_at).total_seconds()
        for copy in status.copies
        if copy.newest_proof is not None
    }
    return conclude(name, parts, values)


def judge_clocks(status: Status | Unknown, facts: SourceFacts | Unknown) -> Watched:
    """``clocks_agree``: nothing recorded lies ahead of this machine's, and the source's is near."""
    name = "clocks_agree"
    if isinstance(status, Unknown):
        return conclude(name, [status.about("clocks")])
    if isinstance(facts, Unknown):
        recorded = hold_clocks(status.copies, status.now, None)
        return conclude(name, [recorded, facts.about("clock of the source")])
    off = (facts.now - status.now).total_seconds()
    parts = [hold_clocks(status.copies, status.now, facts)]
    return conclude(name, parts, {"source_clock_off_seconds": off})
