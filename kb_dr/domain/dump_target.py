"""The server a dump is restored into, as it says it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kb_dr.domain.dump import DatabaseShape


@dataclass(frozen=True, slots=True)
class ServerLook:
    """A running server in one moment."""

    server_version: int
    """``server_version_num``, e.g. 160014."""
    system_identifier: int
    databases: tuple[str, ...]
    roles: tuple[str, ...]
    extensions: dict[str, tuple[str, ...]]
    """Name to the versions that can be created there."""
    in_recovery: bool
    """A standby: nothing can be restored into it."""
    may_create: bool
    """Whether our role may create databases there."""
    shapes: Mapping[str, DatabaseShape] = field(default_factory=dict)
    """Encoding and locale of each of ``databases``."""

    @property
    def major(self) -> int:
        """The major version, e.g. 16."""
        return self.server_version // 10000
