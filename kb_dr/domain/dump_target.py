"""The server a dump is restored into, as it says it is."""

from dataclasses import dataclass


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

    @property
    def major(self) -> int:
        """The major version, e.g. 16."""
        return self.server_version // 10000
