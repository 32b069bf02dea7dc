"""The entries of an archive that a part of it takes, and the tables among them."""

from kb_dr.domain.dump_contents import DumpContents
from kb_dr.domain.load_plan import Part
from kb_dr.domain.select_entries import Selection, select_entries


def select_part(contents: DumpContents, part: Part) -> Selection | None:
    """None for all of it. ConfigurationError when a table or schema is not in it."""
    if part.is_whole:
        return None
    return select_entries(contents, tables=part.tables, schemas=part.schemas)
