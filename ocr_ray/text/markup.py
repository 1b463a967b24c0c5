"""Converts between printed text, `탁자 7개`, and the markup of AI Hub with maths in LaTeX, `탁자 $7$개`.

Spaces inside `$…$` are printed as written, with one exception, because TeX needs a space after a
command's name whether it is printed or not: a space after an infix sign (`\\times`, `\\div`, `\\cdots`)
is printed only if there is one before the sign too. So `3 \\times 8` prints `3 × 8` and `3\\times 8`
prints `3×8`; `3\\times{} 8` forces `3× 8`. TeX's own spaces (`~`, `\\,`, `\\quad`) print one space.

A superscript or subscript prints as the single character that KS X 1001 and the Korean fonts have for it:
`x_1` prints `x₁`. Markup of several lines, such as an `array` or an HTML `<table>`, is not supported.
"""

import html
import re
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn

from ocr_ray.errors import LabelError
from ocr_ray.text.hangul import nfc
from ocr_ray.text.unusual_characters import LOST, replace_unusual

UNSUPPORTED = "unsupported_markup"
MAX_DETAIL_LENGTH = 40
"""Largest length of a label's quotation in a reject."""

_INFIX = {"times": "×", "div": "÷", "cdots": "…"}
_SIGNS = {
    **_INFIX,
    **{"ldots": "…", "dots": "…", "square": "□", "Box": "□", "bigcirc": "○", "triangle": "△", "circ": "°"},
    **{"lt": "<", "gt": ">", "colon": ":"},
    **{"%": "%", "$": "$", "#": "#", "&": "&", "_": "_", "{": "{", "}": "}"},
    **dict.fromkeys([",", ";", ":", " ", "quad", "qquad"], " "),
    **dict.fromkeys(["!", "displaystyle"], ""),
}
"""Printed form of commands without arguments, by name."""
_SCRIPTS = {
    "^": {"°": "°", "1": "¹", "2": "²", "3": "³", "4": "⁴", "n": "ⁿ"},
    "_": {"1": "₁", "2": "₂", "3": "₃", "4": "₄"},
}
"""Superscripts and subscripts by their argument; KS X 1001 has no others."""
_FRACTIONS = frozenset({"frac", "dfrac", "tfrac"})
_TEXT_COMMANDS = frozenset({"text", "mathrm", "textrm", "mathbf"})
_DELIMITERS = frozenset({"left", "right"})

_FORMULA = re.compile(r"(?<!\\)\$")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_PLAIN_COMMAND = re.compile(r"\\(?:[A-Za-z]+|[^$%#&_{}]|$)")
_FRACTION_MARK = "\0"
"""Precedes a fraction until the whole line is printed; after a number it becomes a space: `2 3/4`."""
_MIXED_NUMBER = re.compile(f"(?<=[0-9□○△☆]){_FRACTION_MARK}")
_FRACTION_PART = re.compile(r"[0-9A-Za-z.□○△☆ㅁ]+")
_CELSIUS = re.compile(r"°\s+C(?![A-Za-z])")
"""The space in `^\\circ C` only ends the command's name."""
_LONE_MIEUM = re.compile(r"(?<![가-힣ㄱ-ㆎ])ㅁ(?![가-힣ㄱ-ㆎ])")
_OTHER_JAMO = re.compile(r"[ㄱ-ㅀㅂ-ㆎ]")
_SPACES = re.compile(r"\s+")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufffd]")
"""Control characters other than white space, and the replacement character."""

_BREAK = re.compile(r"\r\n|[\n\r]|<br ?/?>")
# `<p>` is the only tag of one letter, because `<b>` can be printed text.
_TAG = re.compile(
    r"</?(table|thead|tbody|tr|t[dh]|p|div|span|img|su[bp]|[ou]l|li|hr|strong|em)(?:[ /][^<>]*)?>"
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,6}|[A-Za-z]{2,8});")
_HTML = re.compile("|".join(form.pattern for form in (_BREAK, _TAG, _ENTITY)))

_COMMANDS = {
    "×": "\\times",
    "÷": "\\div",
    "…": "\\cdots",
    "□": "\\square",
    "○": "\\bigcirc",
    "△": "\\triangle",
}
_LATEX = {**_COMMANDS, "%": "\\%", "{": "\\{", "}": "\\}", "°": "^\\circ", "²": "^2", "³": "^3"}
_TO_LATEX = str.maketrans(_LATEX)
_ATOM = r"(?:[0-9]+(?:[.,][0-9]+)*|[-+×÷=□○△☆<>(){}/:%…])[°²³]*"
_RUN = re.compile(rf"(?:{_ATOM})+(?: (?:{_ATOM})+)*")
_BRACKETED = re.compile(r"([)}]* ?)(.*?)( ?[({]*)")
"""A run with brackets at its ends that enclose words outside it; they are not part of the formula."""
_MATHS = re.compile(r"[0-9□○△☆×÷=]")
_ONE_SIDED = re.compile(r"(?<! )(\\(?:times|div|cdots))(?= )")


def to_markup(text: str) -> str:
    """Return `text` with each run of numbers and signs as LaTeX between dollars; the inverse of `to_text`.

    The text is NFC with single spaces, and contains neither `$` nor a backslash (ValueError).
    """
    if "$" in text or "\\" in text:
        raise ValueError(f"a printed text must contain neither $ nor a backslash, got {text!r}")
    return _HTML.sub(lambda printed: html.escape(printed[0], quote=False), _RUN.sub(_format_run, text))


def _format_run(match: re.Match[str]) -> str:
    bracketed = _BRACKETED.fullmatch(match[0])
    if not bracketed or not _MATHS.search(bracketed[2]):
        return match[0]
    before, formula, after = bracketed.groups()
    commands = _ONE_SIDED.sub(r"\1{}", formula.translate(_TO_LATEX))
    return f"{before}${commands}${after}"


def to_text(markup: str) -> str:
    """Return the printed text of a label, in NFC; white space and line breaks become single inner spaces.

    Invisible characters are left out, and half-width letters are usual ones.

    Raises:
        LabelError: `unsupported_markup`, with the command or tag that has no printed form on one line, or for
            old Hangul and characters of private use.
    """
    parts = _print_parts(markup)
    parts[1::2] = (_replace_mieum(formula)[0] for formula in parts[1::2])
    text = _MIXED_NUMBER.sub(" ", "".join(parts)).replace(_FRACTION_MARK, "")
    text = nfc(replace_unusual(nfc(text), Counter()))
    if LOST in text:
        _reject("old Hangul or private use")
    return _SPACES.sub(" ", text).strip()


def count_lone_mieum(markup: str) -> int:
    """Return the number of letters ㅁ in a label that `to_text` reads as a box, which is a guess.

    Raises:
        LabelError: as in `to_text`.
    """
    return sum(_replace_mieum(formula)[1] for formula in _print_parts(markup)[1::2])


def split_markup(markup: str) -> list[str]:
    """Return the lines of a label, split at line breaks and `<br>`, without blank ones.

    A formula across a break is split too, and `to_text` rejects its unpaired dollars.
    """
    return [line for line in map(str.strip, _BREAK.split(markup)) if line]


def _reject(detail: str) -> NoReturn:
    raise LabelError(UNSUPPORTED, detail[:MAX_DETAIL_LENGTH])


def _print_parts(markup: str) -> list[str]:
    """Return the printed text outside and, at odd indices, inside formulas; fraction marks are unresolved."""
    unprintable = _UNPRINTABLE.search(markup)
    if unprintable:
        _reject(f"U+{ord(unprintable[0]):04X}")
    parts = _FORMULA.split(markup)
    if len(parts) % 2 == 0:
        _reject("$ without its partner")
    parts[0::2] = map(_print_plain, parts[0::2])
    parts[1::2] = map(_print_formula, parts[1::2])
    return parts


def _replace_mieum(formula: str) -> tuple[str, int]:
    """Return a printed formula with each ㅁ replaced by a box, and their number.

    Among other single letters, as in `ㄱ, ㄴ, ㄷ, ㄹ, ㅁ`, it is the letter.
    """
    return (formula, 0) if _OTHER_JAMO.search(formula) else _LONE_MIEUM.subn("□", formula)


def _print_plain(text: str) -> str:
    """Return printed text outside formulas, where only escaped signs are allowed as commands."""
    command = _PLAIN_COMMAND.search(text)
    if command:
        _reject(command[0])
    tag = _TAG.search(text)
    if tag:
        _reject(f"<{tag[1]}>")
    return _ENTITY.sub(_print_entity, _BREAK.sub(" ", text).replace("\\", ""))


def _print_entity(entity: re.Match[str]) -> str:
    printed = html.unescape(entity[0])
    if printed == entity[0] or _UNPRINTABLE.search(printed):
        _reject(entity[0])
    return printed


def _print_formula(formula: str) -> str:
    tokens = _TOKEN.findall(nfc(_ENTITY.sub(_print_entity, formula)))
    try:
        printed = _print_group(_drop_ending_spaces(tokens), until=None)
    except RecursionError as error:
        raise LabelError(UNSUPPORTED, "{ or ^ nested hundreds deep") from error
    return _CELSIUS.sub("°C", printed)


def _drop_ending_spaces(tokens: list[str]) -> Iterator[str]:
    """Yield the tokens without the spaces that only end the name of a command."""
    for index, token in enumerate(tokens):
        if token.isspace() and index and tokens[index - 1].startswith("\\"):
            name = tokens[index - 1][1:]
            if name in _INFIX and not (index > 1 and _is_space(tokens[index - 2])):
                continue
            if name in _FRACTIONS | _TEXT_COMMANDS | _DELIMITERS:
                continue
        yield token


def _is_space(token: str) -> bool:
    return token.isspace() or token == "~" or (token.startswith("\\") and _SIGNS.get(token[1:]) == " ")


def _print_group(tokens: Iterator[str], until: str | None) -> str:
    """Return the printed tokens up to the closing brace, or all of them if `until` is None."""
    printed: list[str] = []
    for token in tokens:
        if token == until:
            return "".join(printed)
        printed.append(_print_token(token, tokens))
    if until is not None:
        _reject("{ without its partner")
    return "".join(printed)


def _print_token(token: str, tokens: Iterator[str]) -> str:
    """Return the printed form of a token; its arguments are taken from the following tokens."""
    name = token[1:]
    if token == "{":
        return _print_group(tokens, until="}")
    if token == "~":
        return " "
    if token in _SCRIPTS:
        script = _print_argument(tokens, token).strip().replace(_FRACTION_MARK, "")
        return _SCRIPTS[token].get(script) or _reject(f"{token}{{{script}}}")
    if not token.startswith("\\"):
        return _reject(token) if token in "}&" else token
    if name in _SIGNS:
        return _SIGNS[name]
    if name in _FRACTIONS:
        parts = [_print_argument(tokens, token).strip() for _ in range(2)]
        if not all(map(_FRACTION_PART.fullmatch, parts)):
            _reject(token)
        return _FRACTION_MARK + "/".join(parts)
    if name in _TEXT_COMMANDS:
        return _print_argument(tokens, token)
    if name in _DELIMITERS:
        delimiter = _print_argument(tokens, token)
        return "" if delimiter == "." else delimiter
    _reject(token)


def _print_argument(tokens: Iterator[str], command: str) -> str:
    """Return the printed form of a command's argument, a group or a single token."""
    token = next(tokens, None)
    if token is None:
        _reject(f"{command} without what it applies to")
    return _print_token(token, tokens)
