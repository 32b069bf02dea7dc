"""Log sequence numbers: byte positions in the WAL of one cluster."""

import re
from typing import Self

_FORM = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class Lsn(int):
    """A byte position in the WAL, written ``X/Y`` in hexadecimal as PostgreSQL writes it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``16/B374D848``; raise ValueError for anything else."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"not an LSN: {text!r}, expected the form 16/B374D848")
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({str(self)!r})"

    def plus(self, count: int) -> "Lsn":
        """The position ``count`` bytes further on."""
        return Lsn(int(self) + count)
