"""What every error of ours has, and the two without a subject."""

from typing import ClassVar

from kb_dr.scrub import scrub


class KbDrError(Exception):
    """Something kb_dr was asked to do could not be done.

    The message reads ``<action> <object>: <what was seen>[, expected <what>]``; the hint says
    what to do next. Neither ever holds a secret: known ones are struck out.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(scrub(message))
        self.hint = scrub(hint or self.default_hint)


class ConfigurationError(KbDrError):
    """The settings, or the words typed, cannot be used as they are."""

    exit_code = 2
    default_hint = ".env.example lists every setting; `kb-dr VERB --help` every word."
