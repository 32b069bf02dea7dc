"""Values that never print themselves."""

from kb_dr.scrub import remember


class Secret:
    """A value that never prints itself, and is struck out of whatever quotes it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """The value, for the one library call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__
