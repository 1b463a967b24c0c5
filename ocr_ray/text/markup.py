"""Between what is printed, `탁자 7개`, and how AI Hub writes it, with maths as LaTeX: `탁자 $7$개`.

Spaces inside `$…$` are printed as they are written. One exception, because TeX wants a space after
a command's name whether or not one is printed: behind an infix sign (`\\times`, `\\div`, `\\cdots`)
it is printed only if one stands before the sign too. So `3 \\times 8` prints `3 × 8` and `3\\times
8` prints `3×8`; `3\\times{} 8` insists on `3× 8`. A space that TeX makes itself (`~`, `\\,`,
`\\quad`) prints one space.
"""

import re
from collections.abc import Iterator

from ocr_ray.errors import LabelError
from ocr_ray.text.hangul import nfc

UNSUPPORTED = "unsupported_markup"

_INFIX = {"times": "×", "div": "÷", "cdots": "…"}
_SIGNS = {
    **_INFIX,
    **{"ldots": "…", "dots": "…", "square": "□", "Box": "□", "bigcirc": "○", "triangle": "△", "circ": "°"},
    **{"lt": "<", "gt": ">", "colon": ":", "%": "%", "$": "$", "#": "#", "&": "&", "{": "{", "}": "}"},
    **dict.fromkeys([",", ";", ":", " ", "quad", "qquad"], " "),
    **dict.fromkeys(["!", "displaystyle"], ""),
}
"""What a command without arguments prints, by its name."""
_RAISED = {"°": "°", "2": "²", "3": "³"}
_FRACTIONS = frozenset({"frac", "dfrac", "tfrac"})
_LETTERINGS = frozenset({"text", "mathrm", "textrm", "mathbf"})
_DELIMITERS = frozenset({"left", "right"})

_FORMULA = re.compile(r"(?<!\\)\$")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_FRACTION_MARK = "\0"
"""Stands before a fraction until the whole formula is known: behind a digit it becomes a space, `2 3/4`."""
_MIXED_NUMBER = re.compile(f"(?<=[0-9]){_FRACTION_MARK}")
_FRACTION_PART = re.compile(r"[0-9A-Za-z.□○△]+")
_LONE_MIEUM = re.compile(r"(?<![가-힣ㄱ-ㆎ])ㅁ(?![가-힣ㄱ-ㆎ])")
_SPACES = re.compile(r"\s+")

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
    return _RUN.sub(_write_run, text)


def _write_run(match: re.Match[str]) -> str:
    bracketed = _BRACKETED.fullmatch(match[0])
    if not bracketed or not _WORTH_WRITING.search(bracketed[2]):
        return match[0]
    before, formula, behind = bracketed.groups()
    commands = _ONE_SIDED.sub(r"\1{}", formula.translate(_WRITING))
    return f"{before}${commands}${behind}"


def to_text(markup: str) -> str:
    """Return what a label prints: NFC, white space as single spaces, none at the ends.

    Raises:
        LabelError: `unsupported_markup` with the command that has no printed form on one line.
    """
    parts = _FORMULA.split(markup)
    if len(parts) % 2 == 0:
        raise LabelError(UNSUPPORTED, "$ without its partner")
    parts[0::2] = map(_print_plain, parts[0::2])
    parts[1::2] = map(_print_formula, parts[1::2])
    return _SPACES.sub(" ", nfc("".join(parts))).strip()


def _print_plain(text: str) -> str:
    """Return text outside of a formula, where only an escaped sign may be a command."""
    command = re.search(r"\\(?:[A-Za-z]+|[^$%#&{}]|$)", text)
    if command:
        raise LabelError(UNSUPPORTED, command[0])
    return text.replace("\\", "")


def _print_formula(formula: str) -> str:
    tokens = _TOKEN.findall(nfc(formula))
    try:
        printed = _print_group(_drop_ending_spaces(tokens), until=None)
    except RecursionError as error:
        raise LabelError(UNSUPPORTED, "{ or ^ nested hundreds deep") from error
    printed = _MIXED_NUMBER.sub(" ", printed).replace(_FRACTION_MARK, "")
    return _LONE_MIEUM.sub("□", printed)


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
    printed = ""
    for token in tokens:
        if token == until:
            return printed
        printed = _print_token(token, tokens, printed)
    if until is not None:
        raise LabelError(UNSUPPORTED, "{ without its partner")
    return printed


def _print_token(token: str, tokens: Iterator[str], before: str) -> str:
    """Return `before` and what a token prints after it, taking its arguments from the tokens that follow."""
    name = token[1:]
    if token == "{":
        return before + _print_group(tokens, until="}")
    if token == "~":
        return before + " "
    if token == "^":
        return before + _print_raised(_print_argument(tokens, token).strip())
    if not token.startswith("\\"):
        if token in "}_":
            raise LabelError(UNSUPPORTED, token)
        return before + token
    if name in _SIGNS:
        return before + _SIGNS[name]
    if name in _FRACTIONS:
        parts = [_print_argument(tokens, token).strip() for _ in range(2)]
        if not all(map(_FRACTION_PART.fullmatch, parts)):
            raise LabelError(UNSUPPORTED, token)
        return before + _FRACTION_MARK + "/".join(parts)
    if name in _LETTERINGS:
        return before + _print_argument(tokens, token)
    if name in _DELIMITERS:
        delimiter = _print_argument(tokens, token)
        return before + ("" if delimiter == "." else delimiter)
    raise LabelError(UNSUPPORTED, token)


def _print_argument(tokens: Iterator[str], command: str) -> str:
    """Return what the group or the one token behind a command prints."""
    token = next(tokens, None)
    if token is None:
        raise LabelError(UNSUPPORTED, f"{command} without what it applies to")
    return _print_token(token, tokens, "")


def _print_raised(text: str) -> str:
    if text not in _RAISED:
        raise LabelError(UNSUPPORTED, f"^{{{text}}}")
    return _RAISED[text]
