"""Between what is printed, `탁자 7개`, and how AI Hub writes it, with maths as LaTeX: `탁자 $7$개`.

Spaces inside `$…$` are printed as they are written. One exception, because TeX wants a space after
a command's name whether or not one is printed: behind an infix sign (`\\times`, `\\div`, `\\cdots`)
it is printed only if one stands before the sign too. So `3 \\times 8` prints `3 × 8` and `3\\times
8` prints `3×8`; `3\\times{} 8` insists on `3× 8`. A space that TeX makes itself (`~`, `\\,`,
`\\quad`) prints one space.

A raised or lowered sign prints as the one character that KS X 1001 has for it, and with it every Korean font
that was looked at: `x_1` prints `x₁`. What stands on several lines, an `array` or an HTML `<table>`, prints
on none.
"""

import html
import re
from collections.abc import Iterator
from typing import NoReturn

from ocr_ray.errors import LabelError
from ocr_ray.text.hangul import nfc

UNSUPPORTED = "unsupported_markup"
MAX_DETAIL_LENGTH = 40
"""Of what a reject quotes from a label, whose commands may be of any length."""

_INFIX = {"times": "×", "div": "÷", "cdots": "…"}
_SIGNS = {
    **_INFIX,
    **{"ldots": "…", "dots": "…", "square": "□", "Box": "□", "bigcirc": "○", "triangle": "△", "circ": "°"},
    **{"lt": "<", "gt": ">", "colon": ":"},
    **{"%": "%", "$": "$", "#": "#", "&": "&", "_": "_", "{": "{", "}": "}"},
    **dict.fromkeys([",", ";", ":", " ", "quad", "qquad"], " "),
    **dict.fromkeys(["!", "displaystyle"], ""),
}
"""What a command without arguments prints, by its name."""
_SHIFTED = {
    "^": {"°": "°", "1": "¹", "2": "²", "3": "³", "4": "⁴", "n": "ⁿ"},
    "_": {"1": "₁", "2": "₂", "3": "₃", "4": "₄"},
}
"""What is printed above and below the line, by what the label writes there; KS X 1001 has no more of them."""
_FRACTIONS = frozenset({"frac", "dfrac", "tfrac"})
_LETTERINGS = frozenset({"text", "mathrm", "textrm", "mathbf"})
_DELIMITERS = frozenset({"left", "right"})

_FORMULA = re.compile(r"(?<!\\)\$")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_PLAIN_COMMAND = re.compile(r"\\(?:[A-Za-z]+|[^$%#&_{}]|$)")
_FRACTION_MARK = "\0"
"""Stands before a fraction until the whole line is known: behind a number it becomes a space, `2 3/4`."""
_MIXED_NUMBER = re.compile(f"(?<=[0-9□○△☆]){_FRACTION_MARK}")
_FRACTION_PART = re.compile(r"[0-9A-Za-z.□○△☆ㅁ]+")
_CELSIUS = re.compile(r"°\s+C(?![A-Za-z])")
"""The space of `^\\circ C` only ends the command's name."""
_LONE_MIEUM = re.compile(r"(?<![가-힣ㄱ-ㆎ])ㅁ(?![가-힣ㄱ-ㆎ])")
_OTHER_JAMO = re.compile(r"[ㄱ-ㅀㅂ-ㆎ]")
_SPACES = re.compile(r"\s+")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufffd]")
"""Control characters that are no white space, and the mark of a character that was lost."""

_BREAK = re.compile(r"\r\n|[\n\r]|<br ?/?>")
# Names of one letter but for `<p>` are left out: `<b>` may be printed as it stands.
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
_WRITTEN = {**_COMMANDS, "%": "\\%", "{": "\\{", "}": "\\}", "°": "^\\circ", "²": "^2", "³": "^3"}
_WRITING = str.maketrans(_WRITTEN)
_ATOM = r"(?:[0-9]+(?:[.,][0-9]+)*|[-+×÷=□○△☆<>(){}/:%…])[°²³]*"
_RUN = re.compile(rf"(?:{_ATOM})+(?: (?:{_ATOM})+)*")
_BRACKETED = re.compile(r"([)}]* ?)(.*?)( ?[({]*)")
"""A run between brackets whose partners stand beyond it, around words: those are not part of the formula."""
_WORTH_WRITING = re.compile(r"[0-9□○△☆×÷=]")
_ONE_SIDED = re.compile(r"(?<! )(\\(?:times|div|cdots))(?= )")


def to_markup(text: str) -> str:
    """Return `text` with each run of numbers and signs as LaTeX between dollars; `to_text` gives it back.

    The text is NFC with single spaces; it holds neither `$` nor a backslash (ValueError).
    """
    if "$" in text or "\\" in text:
        raise ValueError(f"a printed text must hold neither $ nor a backslash, got {text!r}")
    return _HTML.sub(lambda printed: html.escape(printed[0], quote=False), _RUN.sub(_write_run, text))


def _write_run(match: re.Match[str]) -> str:
    bracketed = _BRACKETED.fullmatch(match[0])
    if not bracketed or not _WORTH_WRITING.search(bracketed[2]):
        return match[0]
    before, formula, behind = bracketed.groups()
    commands = _ONE_SIDED.sub(r"\1{}", formula.translate(_WRITING))
    return f"{before}${commands}${behind}"


def to_text(markup: str) -> str:
    """Return what a label prints: NFC, white space and line breaks as single spaces, none at the ends.

    Raises:
        LabelError: `unsupported_markup` with the command or tag that has no printed form on one line.
    """
    parts = _print_parts(markup)
    parts[1::2] = (_draw_boxes(formula)[0] for formula in parts[1::2])
    text = _MIXED_NUMBER.sub(" ", "".join(parts)).replace(_FRACTION_MARK, "")
    return _SPACES.sub(" ", nfc(text)).strip()


def count_lone_mieum(markup: str) -> int:
    """Return how many letters ㅁ of a label `to_text` took for a box, the guess that is worth a look.

    Raises:
        LabelError: as `to_text` does.
    """
    return sum(_draw_boxes(formula)[1] for formula in _print_parts(markup)[1::2])


def split_markup(markup: str) -> list[str]:
    """Return what a label of several lines says of each, by its line breaks and `<br>`; blank ones left out.

    A formula across a break is torn in two, which `to_text` refuses as dollars without their partners.
    """
    return [line for line in map(str.strip, _BREAK.split(markup)) if line]


def _refuse(found: str) -> NoReturn:
    raise LabelError(UNSUPPORTED, found[:MAX_DETAIL_LENGTH])


def _print_parts(markup: str) -> list[str]:
    """Return what stands outside of formulas and, at the odd places, inside; marks still unresolved."""
    unprintable = _UNPRINTABLE.search(markup)
    if unprintable:
        _refuse(f"U+{ord(unprintable[0]):04X}")
    parts = _FORMULA.split(markup)
    if len(parts) % 2 == 0:
        _refuse("$ without its partner")
    parts[0::2] = map(_print_plain, parts[0::2])
    parts[1::2] = map(_print_formula, parts[1::2])
    return parts


def _draw_boxes(formula: str) -> tuple[str, int]:
    """Return a printed formula with ㅁ as the box it stands for, and how many.

    Between other letters of its kind, `ㄱ, ㄴ, ㄷ, ㄹ, ㅁ`, it is the letter.
    """
    return (formula, 0) if _OTHER_JAMO.search(formula) else _LONE_MIEUM.subn("□", formula)


def _print_plain(text: str) -> str:
    """Return text outside of a formula, where only an escaped sign may be a command."""
    command = _PLAIN_COMMAND.search(text)
    if command:
        _refuse(command[0])
    tag = _TAG.search(text)
    if tag:
        _refuse(f"<{tag[1]}>")
    return _ENTITY.sub(_print_entity, _BREAK.sub(" ", text).replace("\\", ""))


def _print_entity(entity: re.Match[str]) -> str:
    printed = html.unescape(entity[0])
    if printed == entity[0] or _UNPRINTABLE.search(printed):
        _refuse(entity[0])
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
            if name in _FRACTIONS | _LETTERINGS | _DELIMITERS:
                continue
        yield token


def _is_space(token: str) -> bool:
    return token.isspace() or token == "~" or (token.startswith("\\") and _SIGNS.get(token[1:]) == " ")


def _print_group(tokens: Iterator[str], until: str | None) -> str:
    """Return what the tokens up to the closing brace print, or all of them if `until` is None."""
    printed: list[str] = []
    for token in tokens:
        if token == until:
            return "".join(printed)
        printed.append(_print_token(token, tokens))
    if until is not None:
        _refuse("{ without its partner")
    return "".join(printed)


def _print_token(token: str, tokens: Iterator[str]) -> str:
    """Return what a token prints, taking its arguments from the tokens that follow."""
    name = token[1:]
    if token == "{":
        return _print_group(tokens, until="}")
    if token == "~":
        return " "
    if token in _SHIFTED:
        shifted = _print_argument(tokens, token).strip().replace(_FRACTION_MARK, "")
        return _SHIFTED[token].get(shifted) or _refuse(f"{token}{{{shifted}}}")
    if not token.startswith("\\"):
        return _refuse(token) if token in "}&" else token
    if name in _SIGNS:
        return _SIGNS[name]
    if name in _FRACTIONS:
        parts = [_print_argument(tokens, token).strip() for _ in range(2)]
        if not all(map(_FRACTION_PART.fullmatch, parts)):
            _refuse(token)
        return _FRACTION_MARK + "/".join(parts)
    if name in _LETTERINGS:
        return _print_argument(tokens, token)
    if name in _DELIMITERS:
        delimiter = _print_argument(tokens, token)
        return "" if delimiter == "." else delimiter
    _refuse(token)


def _print_argument(tokens: Iterator[str], command: str) -> str:
    """Return what the group or the one token behind a command prints."""
    token = next(tokens, None)
    if token is None:
        _refuse(f"{command} without what it applies to")
    return _print_token(token, tokens)
