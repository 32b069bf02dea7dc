"""What Slack accepts as blocks: docs.slack.dev, Block Kit reference."""

from typing import Any

MOST_BLOCKS = 50
_LONGEST = {"section": 3000, "header": 150, "context": 3000, "field": 2000, "url": 3000}


def problem_of(blocks: Any) -> str | None:
    """Why Slack would answer invalid_blocks; None when it would take them."""
    if not isinstance(blocks, list) or not blocks:
        return "no list of blocks"
    if len(blocks) > MOST_BLOCKS:
        return f"{len(blocks)} blocks"
    for number, block in enumerate(blocks):
        problem = _problem_of_block(block)
        if problem:
            return f"block {number}: {problem}"
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    return "a block_id twice" if len(set(ids)) < len(ids) else None


def _problem_of_block(block: Any) -> str | None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "divider":
        return None
    if kind == "header":
        return _problem_of_text(block.get("text"), ("plain_text",), _LONGEST["header"])
    if kind == "context":
        elements = block.get("elements")
        if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
            return "a context of no or more than 10 elements"
        found = (_problem_of_text(each, _TEXTS, _LONGEST["context"]) for each in elements)
        return next((problem for problem in found if problem), None)
    if kind == "section":
        return _problem_of_section(block)
    return f"of type {kind!r}"


def _problem_of_section(block: dict[str, Any]) -> str | None:
    fields = block.get("fields")
    if "text" not in block and fields is None:
        return "a section of nothing"
    if "text" in block and (
        problem := _problem_of_text(block["text"], _TEXTS, _LONGEST["section"])
    ):
        return problem
    if fields is None:
        return None
    if not isinstance(fields, list) or not 1 <= len(fields) <= 10:
        return "a section of no or more than 10 fields"
    found = (_problem_of_text(each, _TEXTS, _LONGEST["field"]) for each in fields)
    return next((problem for problem in found if problem), None)


_TEXTS = ("plain_text", "mrkdwn")


def _problem_of_text(text: Any, kinds: tuple[str, ...], most: int) -> str | None:
    if not isinstance(text, dict) or text.get("type") not in kinds:
        return f"no text of {kinds}"
    said = text.get("text")
    if not isinstance(said, str) or not said:
        return "an empty text"
    units = len(said.encode("utf-16-le", "surrogatepass")) // 2
    return f"a text of {units}, {most} at most" if units > most else None
