"""Which of the keys at hand open what is stored: a lost key, found before the disaster."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeyLook:
    """One header that was tried with every identity at hand."""

    copy: str
    subject: str
    """A backup's id, or a cluster's WAL."""
    key: str
    openers: tuple[str, ...]
    """The public keys of the identities that open it; empty: none does."""
    problem: str = ""
    """Why it could not be tried: missing, cut short, no header at all."""
    stands_for: int = 1
    """Objects this look speaks for: WAL between two files with the same openers is not opened."""

    @property
    def good(self) -> bool:
        """Whether somebody here can read it."""
        return bool(self.openers) and not self.problem


@dataclass(slots=True)
class KeyCheck:
    """What all looks come to. Grows with what is wrong, not with what is stored."""

    identities: tuple[str, ...]
    """The public keys of the identities at hand."""
    most_named: int = 1000
    looked: int = 0
    objects: int = 0
    """Those looked at, and those they stand for."""
    closed: int = 0
    """Looks at what nobody here can open, or that could not be made."""
    bad: list[KeyLook] = field(default_factory=list)
    """The first of them."""
    opens: dict[str, int] = field(default_factory=dict)
    """Public key to objects it opens."""
    alone: dict[str, int] = field(default_factory=dict)
    """Public key to objects that nothing else here opens: lose it, and they are lost."""
    by_subject: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Copy and subject to objects and how many of the looks were bad."""

    def add(self, look: KeyLook) -> None:
        """Take one look into account."""
        self.looked += 1
        self.objects += look.stands_for
        count, bad = self.by_subject.get((look.copy, look.subject), (0, 0))
        self.by_subject[look.copy, look.subject] = (count + look.stands_for, bad + (not look.good))
        if not look.good:
            self.closed += 1
            if len(self.bad) < self.most_named:
                self.bad.append(look)
            return
        for name in look.openers:
            self.opens[name] = self.opens.get(name, 0) + look.stands_for
        if len(look.openers) == 1:
            name = look.openers[0]
            self.alone[name] = self.alone.get(name, 0) + look.stands_for

    def add_all(self, looks: Iterable[KeyLook]) -> None:
        """The same for many."""
        for look in looks:
            self.add(look)

    @property
    def passed(self) -> bool:
        """Whether something was looked at and all of it opens."""
        return self.looked > 0 and self.closed == 0
