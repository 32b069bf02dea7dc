"""60 to 69: what was shown, and what was not."""

from kb_dr.errors.base import KbDrError


class VerificationError(KbDrError):
    """Something was checked, and is bad."""

    exit_code = 60
    default_hint = "Start with the first thing that is named; docs/troubleshooting.md says more."


class ProofFailed(VerificationError):
    """The proof's verdict is FAILED: this copy of the backup cannot be relied on."""

    exit_code = 61
    default_hint = (
        "This copy cannot be relied on: `kb-dr copy --repair ID` mends it from another, then "
        "verify it again. Verify the other copy; take a full backup now."
    )


class NotProven(VerificationError):
    """The proof's verdict is NOT_PROVEN: it could not be run to its end."""

    exit_code = 62
    default_hint = (
        "It says neither good nor bad of the backup. Mend what was missing; run it again."
    )


class ObjectiveBroken(VerificationError):
    """An objective (RPO, age of backup, age of proof) does not hold."""

    exit_code = 63
    default_hint = "`kb-dr status` says what was seen, and what to do."


class ProofsVoid(VerificationError):
    """A negative control came out PROVEN: the verifier is blind, and no proof can be believed."""

    exit_code = 64
    default_hint = (
        "Rely on no proof until the verifier is mended, `kb-dr controls` passes, and the backups "
        "are verified again."
    )
