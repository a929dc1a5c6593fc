"""Showing text that nobody vouches for: without what no reader sees, and so that it cannot pass for anything else.

What environments, tools and models wrote reaches prompts as data, never as a turn. :func:`clean` takes out what a
person who looks at the text does not see. :func:`defang` takes away the spelling by which chat templates tell turns and
tool calls from text. :func:`quoted` indents all lines but the first, so that what begins in the first column was
written by this package, and :func:`frame` puts a fence around the whole that quoted text cannot close. All of them
depend on the text alone and not on the prompt: the same text gives the same bytes, and prompts keep their cacheable
prefix.
"""

from __future__ import annotations

import re
import unicodedata

EXAMPLES = "examples"
NOTES = "notes"
ADVICE = "advice"
KINDS = (EXAMPLES, NOTES, ADVICE)
"""What is framed, by the name of its fence."""

_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, hyperlinks, device strings
    r"|\x1b[ -/]*[0-~]?|\x9b[0-?]*[ -/]*[@-~]"
)
_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)"  # also one that is never closed: a browser shows nothing of it
    r"|<(script|style|template)\b[^<>]{0,500}>.*?(?:</\1\s*>|\Z)"
    r"|<(\w{1,20})\b[^<>]{0,300}?(?:\shidden\b(?!\s*=\s*[\"']?false)|display\s*:\s*none|visibility\s*:\s*hidden"
    r"|font-size\s*:\s*0(?![.\d]*[1-9])|opacity\s*:\s*0(?![.\d]*[1-9])|color\s*:\s*transparent)[^<>]{0,300}>"
    r".*?(?:</\2\s*>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_COMMENT = re.compile(r"^[ \t]*\[(?://|comment)\]:\s*#\s*[(\"'][^\n]*\n?", re.IGNORECASE | re.MULTILINE)
"""Markdown's comment."""
_ODD = re.compile(r"[^\n\t\x20-\x7e]")
_ROUNDS = 20
"""Rounds of taking out what stands hidden within the hidden, before what is left loses its brackets."""

_JOINS = "\u200c\u200d"
_BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f\u180b\u180c\u180d\u180f")
"""Letters and marks that are drawn as nothing."""

_NAMES = (
    "system|assistant|user|human|developer|tool|tools|turn|function|functions|function_calls?|function_results?|"
    "tool_calls?|tool_response|tool_results?|tool_code|tool_outputs?|invoke|parameter|antml:[a-z_]+|think|thinking|"
    "start_of_turn|end_of_turn|start_header_id|end_header_id|bos|eos|pad|unk|mask|s|instructions?|INST|SYS|prompt|"
    "message|im_start|im_end"
)
# Marks that are drawn upon a letter change no name.
_FRAMES = "|".join(r"[\u0300-\u036f\u0483-\u0489\u20d0-\u20f0]*+".join(kind) for kind in KINDS)
_ROLES = "system|assistant|user|human|developer|tool|operator"
# A mark is known by its beginning, whatever its attributes are; one of a frame also where nothing closes it.
_MARK = re.compile(
    rf"<<\s*+(/?+\s*+SYS)\s*+>>"
    rf"|<(\s*+[|\uff5c][^<>\n]{{0,60}}[|\uff5c]\s*+)>"
    rf"|<(\s*+/?+\s*+(?:{_NAMES})(?:\s[^<>]*+|/)?+)>"
    rf"|<(\s*+/?+\s*+(?:{_FRAMES})[\u0300-\u036f\u0483-\u0489\u20d0-\u20f0]*+(?!\w)[^<>]*+)>?"
    rf"|\[(\s*+/?+\s*+(?:INST|SYS|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT|IMG)\s*+)\]"
    rf"|\[\[(\s*+/?+\s*+(?:{_ROLES})\s*+)\]\]",
    re.IGNORECASE,
)
_LATIN = re.compile(r"LATIN (?:SMALL LETTER|CAPITAL LETTER|LETTER SMALL CAPITAL) ([A-Z])(?: WITH .*)?")


class _Like(dict[int, str]):
    """For ``str.translate``: one letter for one, so that a mark found in the spelling is found in the text.

    What is not listed is looked up in Unicode's own tables: letters with accents and strokes, small capitals, and those
    of mathematics, circled, raised or of full width.
    """

    def __missing__(self, code: int) -> str:
        char = chr(code)
        parts = unicodedata.normalize("NFKD", char)
        found = parts[0] if parts[0].isascii() and all(map(unicodedata.combining, parts[1:])) else char
        if found == char and (named := _LATIN.fullmatch(unicodedata.name(char, ""))):
            found = named[1]
        self[code] = found
        return found


_LIKE = _Like(
    (ord(pair[0]), pair[1])
    for pair in (
        # brackets and slashes that are drawn as those of a mark
        "\uff1c< \ufe64< \u2329< \u27e8< \u3008< \u276e< \uff1e> \ufe65> \u232a> \u27e9> \u3009> \u276f> "
        "\uff3b[ \uff3d] \uff0f/ \u2044/ \u2215/ "
        # Cyrillic and Greek letters that are drawn as Latin ones
        "\u0430a \u0435e \u043eo \u0440p \u0441c \u0443y \u0445x \u0455s \u0456i \u0458j \u0501d \u04cfl "
        "\u03bfo \u03bdv "
        "\u0410A \u0412B \u0415E \u041cM \u041dH \u041eO \u0420P \u0421C \u0422T \u0425X \u0405S \u0406I "
        "\u0391A \u0395E \u039cM \u039dN \u039fO \u03a1P \u03a4T \u03a7X"
    ).split()
)


_TOKEN = re.compile(
    r"<(\s*[|\uff5c][^<>\n]{0,60}[|\uff5c]\s*)>|<(/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|im_start|im_end))>"
    r"|\[(/?INST)\]|<<(/?SYS)>>"
)
"""What tokenizers of local models read as one special token wherever it stands."""


def clean(text: str) -> str:
    """``text`` without what a reader would not see: control, zero-width, bidirectional and tag characters, smuggled
    variation selectors, terminal escapes, comments and hidden markup. Ordinary text comes back as it is, and cleaning
    twice is cleaning once."""
    for _ in range(_ROUNDS):
        shorter = _once(text)
        if shorter == text:
            return text
        text = shorter
    return _once(text.replace("<", "\u2039").replace("[", "\u27e6").replace("\x1b", "").replace("\x9b", ""))


def hidden(text: str) -> str:
    """What :func:`clean` would take out of ``text`` and a model could still read: comments and hidden markup, and what
    is :func:`smuggled`; empty where there is nothing of the kind."""
    found = [match[0] for pattern in (_UNSEEN, _COMMENT) for match in pattern.finditer(text)]
    found.append(smuggled(text))
    return "\n".join(part for part in found if part.strip())


def smuggled(text: str) -> str:
    """The letters written in tag characters or variation selectors, which look like nothing."""
    return "" if text.isascii() else "".join(map(_smuggled, text))


def defang(text: str) -> str:
    """``text`` in which no chat template and no reader of XML finds a turn, a tool call or the end of a frame.

    Angle and square brackets of such marks become typographic ones, which tokenizers read as plain text. Letters and
    brackets that are drawn like those of a mark count as its own.
    """
    spelt = text if text.isascii() else text.translate(_LIKE)
    if "<" not in spelt and "[" not in spelt:
        return text
    parts, at = [], 0
    for mark in _MARK.finditer(spelt):
        start, end = next(span for span in map(mark.span, range(1, 7)) if span != (-1, -1))
        parts += [text[at : mark.start()], "\u2039", text[start:end], "\u203a" * (mark.end() > end)]
        at = mark.end()
    return "".join([*parts, text[at:]]) if parts else text


def untokened(text: str) -> str:
    """``text`` in which the tokenizer of a local model finds no special token: for the turns its template is filled
    with. Unlike :func:`defang` it leaves the marks of frames alone."""
    return _TOKEN.sub(_typographic, text) if "<" in text or "[" in text else text


def quoted(text: str) -> str:
    """``text`` cleaned, defanged and indented from its second line on: only what this package writes begins a line."""
    return defang(clean(text)).strip("\n").replace("\n", "\n  ")


def one_line(text: str) -> str:
    """As :func:`quoted`, with all white space turned into single spaces: for entries, which take one line each."""
    return " ".join(defang(clean(text)).split())


def frame(kind: str, head: str, parts: str) -> str:
    """``parts``, made of quoted texts, between the fences of ``kind``, after the sentence ``head``, which says what
    it is and that it is data. The closing fence stands in a paragraph of its own."""
    return f"{head}\n<{kind}>\n{parts}\n\n</{kind}>"


def _typographic(mark: re.Match[str]) -> str:
    return f"\u2039{next(part for part in mark.groups() if part is not None)}\u203a"


def _once(text: str) -> str:
    if "<" in text:
        text = _UNSEEN.sub("", text)
    if "[" in text:
        text = _COMMENT.sub("", text)
    if _ODD.search(text):
        if "\x1b" in text or "\x9b" in text:
            text = _ANSI.sub("", text)
        text = _ODD.sub(_shown, text.replace("\r\n", "\n"))
    return text


def _shown(match: re.Match[str]) -> str:
    """The character as a reader sees it: itself, a line break, or nothing."""
    char = match[0]
    if char in "\r\x0b\x0c\x85\u2028\u2029":
        return "\n"
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    if char == "\ufe0f":
        # It asks for an emoji's picture; every other selector says nothing that is seen.
        return char if _pictured(before) else ""
    if char in _JOINS:
        return char if _joins(before, after) else ""
    code = ord(char)
    unseen = char in _BLANK or 0xFE00 <= code < 0xFE0F or 0xFFF0 <= code <= 0xFFFB or 0xE0000 <= code <= 0xE0FFF
    nothing = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE or code == 0x2065
    return "" if unseen or nothing or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char


def _pictured(char: str) -> bool:
    return bool(char) and (unicodedata.category(char) in ("So", "Sm", "Sk") or char in "#*0123456789\u203c\u2049")


def _joins(before: str, after: str) -> bool:
    """Whether a joiner between two characters changes how they are drawn: in Arabic and Indic scripts, and emoji."""
    if not before or not after:
        return False
    written = all("\u0620" <= char <= "\u0dff" or "\u1780" <= char <= "\u17b3" for char in (before, after))
    return written or (_pictured(after) and (_pictured(before) or before == "\ufe0f"))


def _smuggled(char: str) -> str:
    """The printable letter that a tag character or a variation selector may stand for."""
    code = ord(char)
    if 0xE0020 <= code <= 0xE007E:
        return chr(code - 0xE0000)
    if 0xE0110 <= code <= 0xE016E:  # selectors 17 to 256 carry the bytes 16 to 255
        return chr(code - 0xE0100 + 16)
    return ""
