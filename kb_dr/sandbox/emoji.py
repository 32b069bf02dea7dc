"""The emoji of alerts as small pictures: not every machine has letters for them."""

import html
import re

_BOX = '<rect x="1" y="1" width="18" height="18" rx="3" fill="{}"/>'
_CIRCLE = '<circle cx="10" cy="10" r="8.5" fill="{}"/>'
_LINE = '<path d="{}" stroke="#fff" stroke-width="2.6" fill="none" stroke-linecap="round"/>'
_MARK = _LINE.format("M10 8V12M10 15.4V15.5")
_TRIANGLE = '<path d="M10 1.5 19 18H1Z" fill="#f2b21d"/>'
_RED, _GREEN, _BLUE = "#e01e5a", "#2eb67d", "#1d9bd1"

_DRAWN = {
    "rotating_light": (
        "🚨",
        f'<path d="M4 15V9a6 6 0 0 1 12 0v6Z" fill="{_RED}"/>'
        '<rect x="2" y="15" width="16" height="4" rx="1" fill="#5a5a5e"/>'
        '<path d="M7.5 12V9.5A2.5 2.5 0 0 1 10 7" stroke="#fff" stroke-width="1.5" fill="none"/>',
    ),
    "warning": ("⚠", _TRIANGLE + _MARK.replace("#fff", "#1d1c1d")),
    "white_check_mark": ("✅", _BOX.format(_GREEN) + _LINE.format("M5.5 10.5 9 14 14.5 6.5")),
    "x": ("❌", _LINE.format("M4 4 16 16M16 4 4 16").replace("#fff", _RED)),
    "information_source": (
        "\u2139",
        _BOX.format(_BLUE) + _LINE.format("M10 9V14.5M10 5.4V5.5"),
    ),
    "red_circle": ("🔴", _CIRCLE.format(_RED)),
    "large_orange_circle": ("🟠", _CIRCLE.format("#e8912d")),
    "large_yellow_circle": ("🟡", _CIRCLE.format("#f2c744")),
    "large_green_circle": ("🟢", _CIRCLE.format(_GREEN)),
    "large_blue_circle": ("🔵", _CIRCLE.format(_BLUE)),
    "large_red_square": ("🟥", _BOX.format(_RED)),
    "large_orange_square": ("🟧", _BOX.format("#e8912d")),
    "large_yellow_square": ("🟨", _BOX.format("#f2c744")),
    "large_green_square": ("🟩", _BOX.format(_GREEN)),
    "large_blue_square": ("🟦", _BOX.format(_BLUE)),
}
_LETTERS = {
    "bell": "🔔", "repeat": "🔁", "fire": "🔥", "arrow_up": "⬆️", "eyes": "👀", "mega": "📣",
    "hourglass_flowing_sand": "⏳", "calendar": "📆", "bar_chart": "📊", "wrench": "🔧",
    "books": "📚", "memo": "📝", "heavy_check_mark": "✔️", "no_entry": "⛔",
}  # fmt: skip
_BY_LETTER = {letter: name for name, (letter, _) in _DRAWN.items()}
_ANY = re.compile(rf":([a-z0-9_+-]+):|({'|'.join(_BY_LETTER)})\ufe0f?")


def with_emoji(text: str) -> str:
    """A text that is HTML already, with its emoji; a name that is none stays as it is."""
    return _ANY.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    name = found[1] or _BY_LETTER[found[2]]
    if name in _DRAWN:
        _, drawn = _DRAWN[name]
        return (
            f'<svg class="emoji" viewBox="0 0 20 20" role="img" aria-label=":{html.escape(name)}:">'
            f"{drawn}</svg>"
        )
    return _LETTERS.get(name, found[0])
