"""A plain dump of a file, read once: its gzip, its structure, and whether psql may have it."""

from kb_dr.domain.plain_dump import PlainDump
from kb_dr.domain.sql_dump import SqlDump, SqlDumpReader
from kb_dr.errors import ChecksumMismatch, LoadFailed
from kb_dr.operations.gunzip import Gunzip

GZIP = b"\x1f\x8b"
_ARCHIVE = b"PGDMP"
_BEGINS_BYTES = 1 << 20


class PlainReading:
    """Is fed the file piece by piece, from its beginning."""

    def __init__(self) -> None:
        self._begun = False
        self._gunzip: Gunzip | None = None
        self._reader = SqlDumpReader()
        self._gate = PlainDump(has_transaction_timeout=True)
        self._damage: ChecksumMismatch | None = None
        self.refused: LoadFailed | None = None
        """The first thing in it that a restore would not run."""
        self.begins = b""
        """Its first MiB, without gzip."""

    @property
    def compressed(self) -> bool:
        """Whether there is gzip around it."""
        return self._gunzip is not None

    def feed(self, piece: bytes) -> None:
        """The next piece; what is wrong with it is said at the end."""
        if not self._begun:
            self._begun = True
            self._gunzip = Gunzip() if piece.startswith(GZIP) else None
        if self._damage is not None:
            return  # the rest is read for its digest alone
        try:
            for plain in (piece,) if self._gunzip is None else self._gunzip.feed(piece):
                self._take(plain)
        except ChecksumMismatch as error:
            self._damage = error

    def finish(self) -> SqlDump:
        """What was read. Raises ChecksumMismatch where its gzip is damaged, or ends early."""
        if self._damage is not None:
            raise self._damage
        if self._gunzip is not None:
            self._gunzip.finish()
        self._ask_gate(None)
        return self._reader.finish()

    def _take(self, plain: bytes) -> None:
        if len(self.begins) < _BEGINS_BYTES:
            self.begins += plain[:_BEGINS_BYTES]
            if self.begins.startswith(_ARCHIVE):
                raise ChecksumMismatch("it is an archive of pg_dump inside gzip: gunzip it")
        self._reader.feed(plain)
        self._ask_gate(plain)

    def _ask_gate(self, plain: bytes | None) -> None:
        if self.refused is not None:
            return
        try:
            self._gate.finish() if plain is None else self._gate.feed(plain)
        except LoadFailed as error:
            self.refused = error
        except ChecksumMismatch:
            return  # that it ends early is what its structure says
