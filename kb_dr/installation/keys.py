"""The keys of what is stored."""

from typing import TYPE_CHECKING

from kb_dr.domain.key_check import KeyCheck
from kb_dr.installation.places import Places
from kb_dr.operations.check_keys import check_keys

if TYPE_CHECKING:
    from collections.abc import Sequence


class Keys(Places):
    """Tries the identities of this machine on what the copies hold."""

    def check_keys(self, copies: "Sequence[str]", *, every_file: bool = False) -> KeyCheck:
        """Whether everything retained in these copies opens with an identity held here."""
        check = KeyCheck(self.codec.identities)
        for copy in copies:
            looks = check_keys(
                self.checked(copy),
                self.codec,
                every_file=every_file,
                parallel=self.settings.transfers,
            )
            check.add_all(looks)
        return check
