"""From a text that others wrote to one that may stand in a status, an event or a log, whoever shows it there. Pure.

Terminals act on control characters, pages on HTML, chat programs on links in Markdown, and readers on what they see: what is
invisible, turns the direction of writing or begins a line of its own goes. The words stay as they were.
"""

_INVISIBLE = (
    *(0xAD, 0x61C, 0x180E, 0xFEFF),
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10),
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0200),
)
_LINE_ENDS = "\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_MARKUP = {"<": "\u2039", ">": "\u203a"}
_KEPT = {"\n": "\n", "\t": "\t"}

_ONE_LINE: dict[int, str | None] = {
    **dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *_INVISIBLE)),
    **{ord(end): " " for end in _LINE_ENDS},
    **{ord(sign): other for sign, other in _MARKUP.items()},
}
_LINES: dict[int, str | None] = {**_ONE_LINE, **{ord(sign): other for sign, other in _KEPT.items()}}


def clean_text(text: str, *, limit: int, keeps_lines: bool = False) -> str:
    """Return a text in one line, or with its line breaks and tabs, of at most `limit` characters and without markup."""
    plain = text[:limit].encode(errors="replace").decode().translate(_LINES if keeps_lines else _ONE_LINE)
    return plain.replace("](", "] (")[:limit]
