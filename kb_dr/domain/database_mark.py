"""What stands as the comment of a database that kb-dr made: who made it, and from what.

Only a database that bears such a mark is ever dropped or swapped back by kb-dr.
"""

import json
from dataclasses import dataclass

_BEGINS = "kb-dr: "


@dataclass(frozen=True, slots=True)
class DatabaseMark:
    """The mark of one restored database."""

    token: str
    """Of the one restore that made it."""
    restored_from: str
    """The backup, or the file's name."""
    complete: bool
    """Everything was loaded, and compared; else a restore is at work, or was killed."""
    kept: str | None = None
    """The database whose name it was given, under the name that one is kept by."""

    def text(self) -> str:
        """The comment."""
        return _BEGINS + json.dumps(
            {
                "restored_from": self.restored_from,
                "complete": self.complete,
                "kept": self.kept,
                "token": self.token,
            }
        )

    @classmethod
    def parse(cls, text: str | None) -> "DatabaseMark | None":
        """What a comment says; None when it is none of ours."""
        if text is None or not text.startswith(_BEGINS):
            return None
        try:
            found = json.loads(text.removeprefix(_BEGINS))
            return cls(
                token=str(found["token"]),
                restored_from=str(found["restored_from"]),
                complete=found["complete"] is True,
                kept=None if found["kept"] is None else str(found["kept"]),
            )
        except (ValueError, KeyError, TypeError):
            return None
