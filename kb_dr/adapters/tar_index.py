"""Takes one member out of a tar while it passes, in bounded memory.

Only what PostgreSQL writes is read: POSIX ustar headers, sizes in octal or base 256
(src/port/tar.c, tarCreateHeader).
"""

from collections.abc import Callable

BLOCK_BYTES = 512


class TarDamaged(ValueError):
    """What passed is not a tar, or not a whole one."""


class MemberTap:
    """Sees a tar pass in pieces of any length; gives the bytes of one member to ``taken``."""

    def __init__(self, name: str, taken: Callable[[bytes], None]) -> None:
        self._name = name.encode()
        self._taken = taken
        self._header = bytearray()
        self._body = 0
        """Bytes of the present member still to come."""
        self._padding = 0
        self._wanted = False
        self._ended = False
        self.seen = 0
        """How often the member was met."""
        self.members = 0

    def feed(self, data: bytes) -> None:
        """The next piece; TarDamaged as soon as it cannot be a tar."""
        view = memoryview(data)
        while view:
            if self._ended:
                return  # zero blocks, and what pads the last record
            if self._body:
                piece = view[: self._body]
                if self._wanted:
                    self._taken(bytes(piece))
                self._body -= len(piece)
                view = view[len(piece) :]
            elif self._padding:
                skipped = min(self._padding, len(view))
                self._padding -= skipped
                view = view[skipped:]
            else:
                needed = BLOCK_BYTES - len(self._header)
                self._header += view[:needed]
                view = view[needed:]
                if len(self._header) == BLOCK_BYTES:
                    self._begin(bytes(self._header))
                    self._header.clear()

    def finish(self) -> None:
        """The tar is over; TarDamaged unless it ended as tars end."""
        if not self._ended:
            raise TarDamaged("the tar is cut short")

    def _begin(self, header: bytes) -> None:
        if not header.strip(b"\0"):
            self._ended = True
            return
        check_header(header, self.members)
        self.members += 1
        self._body = size_of(header)
        self._padding = padding(self._body)
        self._wanted = header[:100].rstrip(b"\0") == self._name
        self.seen += self._wanted


def check_header(header: bytes, members: int | None = None) -> None:
    """Raise TarDamaged unless this is the header of a member; ``members`` came before it."""
    where = "" if members is None else f", after {members} members"
    if header[257:262] != b"ustar":
        raise TarDamaged(f"no tar header where one is due{where}")
    unsigned = sum(header[:148]) + sum(header[156:]) + 8 * 0x20
    if unsigned != _number(header[148:156]):
        raise TarDamaged(f"a tar header with a wrong checksum{where}")


def size_of(header: bytes) -> int:
    """The length of the member's content."""
    return _number(header[124:136])


def padding(size: int) -> int:
    """Zero bytes after a content of ``size`` bytes."""
    return -size % BLOCK_BYTES


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise TarDamaged("a tar header with a number that is none") from error
