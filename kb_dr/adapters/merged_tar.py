"""Puts the archives of one cluster into one tar: its data directory, and each extra tablespace.

PostgreSQL sends an archive for each tablespace, whose members do not say which, and then that of
the data directory. What comes out unpacks into one directory, with links that hold wherever that
is. Only what PostgreSQL writes is read (src/port/tar.c, tarCreateHeader).
"""

import tarfile
from collections.abc import Collection, Iterator

from kb_dr.adapters.tar_index import BLOCK_BYTES, TarDamaged, check_header, padding, size_of
from kb_dr.domain.tablespaces import LINKS, TABLESPACE_MAP, TABLESPACES, directory_of, link_to

_PREFIX = slice(345, 500)
_CHECKSUM = slice(148, 156)


class MergedTar:
    """Takes the archives in the order they are sent; gives the pieces of one tar.

    begin() each archive, feed() it, end() it; close() after the last. TarDamaged for what cannot
    be such an archive. Memory is bounded by the pieces fed.
    """

    def __init__(self, oids: Collection[int]) -> None:
        self._oids = tuple(oids)
        self._met: list[int | None] = []
        self._prefix = b""
        self._header = bytearray()
        self._body = 0
        """Bytes of the present member still to come, its padding counted."""
        self._dropped = False
        """Whether the present member is left out."""
        self._ended = True

    def begin(self, oid: int | None) -> bytes:
        """The next archive is that of this tablespace; None for the data directory."""
        if oid in self._met or None in self._met or (oid is not None and oid not in self._oids):
            raise TarDamaged(f"an archive of tablespace {oid} that was not announced")
        self._ended, self._prefix = False, b""
        self._header.clear()
        self._met.append(oid)
        if oid is None:
            return b""
        self._prefix = directory_of(oid).encode()
        # Its parents are no member of any archive; unpacked they are to be PostgreSQL's alone.
        parents = [directory_of(oid)] if len(self._met) > 1 else [TABLESPACES, directory_of(oid)]
        return b"".join(_own_member(name, tarfile.DIRTYPE, mode=0o700) for name in parents)

    def feed(self, data: bytes | memoryview) -> Iterator[bytes | memoryview]:
        """The next piece of the present archive; gives what of it belongs into the tar.

        Contents are views of ``data``: every byte of a cluster goes through here.
        """
        view = memoryview(data)
        while view and not self._ended:
            if self._body:
                piece = view[: self._body]
                self._body -= len(piece)
                view = view[len(piece) :]
                if not self._dropped:
                    yield piece
            else:
                missing = BLOCK_BYTES - len(self._header)
                self._header += view[:missing]
                view = view[missing:]
                if len(self._header) == BLOCK_BYTES:
                    header = bytes(self._header)
                    self._header.clear()
                    yield self._begin_member(header)

    def end(self) -> None:
        """The present archive is over; TarDamaged when it ends inside a member.

        Before version 15 archives came without the zero blocks that end a tar.
        """
        if self._body or self._header or not self._met:
            raise TarDamaged(f"the archive of tablespace {self._met[-1:]} is cut short")
        self._ended = True

    def close(self) -> bytes:
        """All archives are over: the links to the tablespaces."""
        if not self._ended or set(self._met) != {None, *self._oids}:
            raise TarDamaged(f"archives of {self._met}, expected of {self._oids} and base")
        return b"".join(
            _own_member(f"{LINKS}/{oid}", tarfile.SYMTYPE, link=link_to(oid)) for oid in self._oids
        )

    def _begin_member(self, header: bytes) -> bytes:
        if not header.strip(b"\0"):
            self._ended = True
            return b""
        check_header(header)
        size = size_of(header)
        self._body = size + padding(size)
        # Without tablespaces it is empty, and in the server's manifest: it stays.
        self._dropped = (
            bool(self._oids)
            and not self._prefix
            and header[:100].rstrip(b"\0") == TABLESPACE_MAP.encode()
        )
        if self._dropped:
            return b""
        return _below(self._prefix, header) if self._prefix else header


def last_member(name: str, size: int) -> bytes:
    """The header of a file of our own; ``size`` bytes and end_of_tar(size) have to follow."""
    return _own_member(name, tarfile.REGTYPE, size=size)


def end_of_tar(size: int) -> bytes:
    """What follows the content of the last member: its padding, and the end of the tar."""
    return bytes(padding(size) + 2 * BLOCK_BYTES)


def _below(prefix: bytes, header: bytes) -> bytes:
    """The same member in another directory: the ustar field that PostgreSQL leaves empty."""
    if header[_PREFIX].strip(b"\0"):
        raise TarDamaged("a tar header whose prefix is in use")
    changed = bytearray(header)
    changed[_PREFIX] = prefix.ljust(155, b"\0")
    changed[_CHECKSUM] = b" " * 8
    changed[_CHECKSUM] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def _own_member(
    name: str, kind: bytes, *, size: int = 0, link: str = "", mode: int = 0o600
) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname, member.mode = kind, size, link, mode
    return member.tobuf(tarfile.USTAR_FORMAT)
