"""The text of line `number`: words side by side that say nothing about each other, arithmetic, or both.

A reader that learns from such lines cannot guess the end of a line from its beginning. Lines of running text
are their counterpart, for comparison.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat
from typing import NamedTuple

from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.errors import InputError
from ocr_ray.randomness import keyed_generator
from ocr_ray.text.hangul import KS_X_1001
from ocr_ray.text.markup import to_markup
from ocr_ray.textgen import quantities as figures
from ocr_ray.textgen.arithmetic import expressions as arithmetic
from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig
from ocr_ray.textgen.arithmetic.operations import Random
from ocr_ray.textgen.corpus import read_maths_words
from ocr_ray.textgen.exact_length import Bag, choose
from ocr_ray.textgen.focus.confusions import Confusion
from ocr_ray.textgen.focus.focus import LINES_SHARE, Focus
from ocr_ray.textgen.holdout import MAX_SHARE, MIN_SHARE, Side
from ocr_ray.textgen.quantities import make_figures
from ocr_ray.textgen.sources import (
    SEPARATOR,
    ArithmeticLines,
    MixedLines,
    SentenceLines,
    Source,
    WordLines,
)
from ocr_ray.textgen.words import PUNCTUATION, Vocabulary

REQUIRED_CHARACTERS = arithmetic.CHARACTERS | frozenset("0123456789" + SEPARATOR)
"""What must be printable for any line to be drawn; of the rest, what is not is left out of the lines."""
CHARACTERS = REQUIRED_CHARACTERS | figures.CHARACTERS | frozenset(PUNCTUATION) | frozenset(KS_X_1001)
"""Every character that a line may hold besides those of the corpus."""

MAX_LENGTH = 200
"""Most characters of a line whose length follows weights."""

_ROUNDING = 1e-9
_NUM_AHEAD = 64
"""Random numbers that are drawn together: enough for nearly every line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInputs:
    """What lines are made from, in canonical form."""

    words: tuple[str, ...]
    """Distinct words of the corpus."""
    passages: tuple[str, ...] = ()
    """Running text with single spaces."""
    characters: frozenset[str]
    """What may be printed; words and passages hold nothing else."""
    length_weights: tuple[tuple[int, float], ...] = ()
    """Lengths in characters, 1 to 200, with how often they are wanted; if none are given, they are even from
    the shortest to the longest of the config."""
    confusions: tuple[Confusion, ...] = ()
    """What a part of the lines is to hold more often than the others, as `keep_focusable` gives it."""

    def __post_init__(self) -> None:
        lengths = [length for length, _ in self.length_weights]
        if not all(1 <= length <= MAX_LENGTH for length in lengths) or len(set(lengths)) < len(lengths):
            raise InputError(
                f"length_weights must be of distinct lengths from 1 to {MAX_LENGTH}, got {lengths}"
            )
        if not all(weight > 0 for _, weight in self.length_weights):
            raise InputError(f"length_weights must be above 0, got {self.length_weights}")
        if not all(word.split() == [word] for word in self.words):
            raise InputError("a word must not be empty or hold white space")
        for name, texts in (("words", self.words), ("passages", self.passages)):
            if alien := set().union(*texts) - (self.characters - set("$\\")) - {" "}:
                raise InputError(
                    f"{name} must hold printable characters, but neither $ nor a backslash, "
                    f"got {''.join(sorted(alien))!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """What the lines are made of."""

    min_length: int = 5
    """Fewest characters of a line."""
    max_length: int = 30
    """Most characters of a line."""
    arithmetic_share: float = 0.3
    """Share of lines that are arithmetic."""
    mixed_share: float = 0.2
    """Share of lines with words, numbers, symbols and arithmetic."""
    sentence_share: float = 0.0
    """Share of lines of running text; what is left are lines of words that say nothing about each other."""
    cut_share: float = 0.3
    """Share of lines of words that start or end inside a word, or both."""
    novel_share: float = 0.2
    """Share of words that are random syllables, so that every syllable is read and none guessed."""
    maths_share: float = 0.15
    """Share of words that come from the shipped list of maths words; what is left come from the corpus."""
    punctuation_share: float = 0.16
    """Share of words with punctuation, whatever the word."""
    holdout_word_share: float = 0.0
    """Share of words and of numbers of three digits or more that only the test split holds; 0, or 0.01 to
    0.5."""
    arithmetic: ArithmeticConfig = field(default_factory=ArithmeticConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise ValueError(
                "min_length must be at least 1 and at most max_length, "
                f"got {self.min_length} and {self.max_length}"
            )
        _check_shares(self, "arithmetic_share", "mixed_share", "sentence_share")
        _check_shares(self, "novel_share", "maths_share")
        _check_shares(self, "cut_share")
        _check_shares(self, "punctuation_share")
        if self.holdout_word_share != 0 and not MIN_SHARE <= self.holdout_word_share <= MAX_SHARE:
            raise ValueError(
                f"holdout_word_share must be 0 or from {MIN_SHARE} to {MAX_SHARE}, "
                f"got {self.holdout_word_share}"
            )
        if self.holdout_word_share and self.sentence_share:
            raise ValueError(
                "holdout_word_share must be 0 with a sentence_share, because words cannot be held out of "
                f"running text, got {self.holdout_word_share} and {self.sentence_share}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LineText:
    """What a line says, and what it is made of."""

    text: str
    """What is printed, in canonical form."""
    markup: str
    """The same with maths in `$…$` LaTeX."""
    source: str
    """`words`, `sentence`, `arithmetic` or `mixed`."""
    grades: tuple[int, ...] = ()
    """The school grade of each expression."""


class TextSampler:
    """Draws lines; built once, then a pure function of (seed, number).

    Words are drawn evenly over the distinct ones, on the condition that they fill the length asked for.
    """

    def __init__(self, material: TextInputs, config: TextConfig) -> None:
        """Raise InputError if a source that is asked for cannot make a line of the lengths."""
        missing = REQUIRED_CHARACTERS - material.characters
        if missing:
            raise InputError(
                f"every font must have the signs of arithmetic, got none for {''.join(sorted(missing))!r}: "
                "choose other fonts"
            )
        share = config.holdout_word_share
        self._sides = [
            [
                _LineSources(material, config, Side(held_out, share), is_focused=is_focused)
                for is_focused in ((False, True) if material.confusions else (False,))
            ]
            for held_out in ((False, True) if share else (False,))
        ]

    def draw(self, seed: int, number: int) -> LineText:
        """Return line `number`; a line does not depend on which others are drawn."""
        generator = keyed_generator(seed, "text", number)
        blocks = (generator.random(num).tolist() for num in repeat(_NUM_AHEAD))
        random = chain.from_iterable(blocks).__next__
        kinds = self._sides[-1 if number >= FIRST_NUMBERS["test"] else 0]
        is_focused = len(kinds) > 1 and random() < LINES_SHARE
        source, length = kinds[is_focused].choose(random)
        drawn = source.lines.draw(length, random)
        return LineText(
            text=drawn.text, markup=to_markup(drawn.text), source=source.name, grades=drawn.grades
        )


class _Source(NamedTuple):
    """A kind of lines, and the lengths that it is drawn with."""

    name: str
    share: float
    lines: Source
    lengths: list[int]
    weights_so_far: list[float]


class _LineSources:
    """The kinds of lines that are asked for, from the words and numbers of one side of the held-out ones."""

    def __init__(self, material: TextInputs, config: TextConfig, side: Side, *, is_focused: bool) -> None:
        self._material, self._config, self._side = material, config, side
        lengths = range(config.min_length, config.max_length + 1)
        self._weights = dict(material.length_weights) or dict.fromkeys(lengths, 1.0)
        self._longest = max(self._weights)
        self._vocabulary = _choose_words(material, config, side)
        self._focus = Focus(material.confusions, self._vocabulary) if is_focused else None
        self._sources = list(self._list_sources())
        self._shares_so_far = list(accumulate(source.share for source in self._sources))

    def choose(self, random: Random) -> tuple[_Source, int]:
        """Return a kind of lines and a length."""
        source = self._sources[choose(self._shares_so_far, random)]
        return source, source.lengths[choose(source.weights_so_far, random)]

    def _list_sources(self) -> Iterator[_Source]:
        config, longest = self._config, self._longest
        words_share = 1 - config.arithmetic_share - config.mixed_share - config.sentence_share
        arithmetic_lines = ArithmeticLines(config.arithmetic, self._side, longest)
        if config.arithmetic_share:
            lines = self._focus.choose_lines(arithmetic_lines) if self._focus else arithmetic_lines
            yield self._weigh("arithmetic", config.arithmetic_share, lines)
        if config.mixed_share:
            words, figures = self._make_words("mixed"), self._make_figures()
            mixed_lines = MixedLines(words, figures, arithmetic_lines, side=self._side, longest=longest)
            yield self._weigh("mixed", config.mixed_share, mixed_lines)
        if config.sentence_share:
            sentences = SentenceLines(self._material.passages, self._weights)
            yield self._weigh("sentence", config.sentence_share, sentences)
        if words_share > _ROUNDING:
            word_lines = WordLines(
                self._make_words("words"),
                self._vocabulary.make_starts(),
                self._vocabulary.make_ends(),
                cut_share=config.cut_share,
                joint_share=self._vocabulary.joint_share,
                longest=longest,
            )
            yield self._weigh("words", words_share, word_lines)

    def _make_words(self, name: str) -> Bag:
        corpus_words, corpus_share = self._vocabulary.lists[0]
        if corpus_share > _ROUNDING and not corpus_words:
            raise InputError(self._complain(name))
        return self._focus.make_words() if self._focus else self._vocabulary.make_words()

    def _make_figures(self) -> Bag:
        return self._focus.make_figures() if self._focus else make_figures(self._material.characters)

    def _weigh(self, name: str, share: float, lines: Source) -> _Source:
        weights = {length: weight for length, weight in self._weights.items() if length in lines.lengths}
        if not weights:
            raise InputError(self._complain(name))
        return _Source(name, share, lines, list(weights), list(accumulate(weights.values())))

    def _complain(self, name: str) -> str:
        wanted = f"{min(self._weights)} to {self._longest} characters"
        if name == "sentence":
            return (
                f"--sentence-share above 0 needs running text of {wanted}, got none in "
                f"{len(self._material.passages)} passages: give files by --corpus-uri or --texts-uri"
            )
        corpus_words, _ = self._vocabulary.lists[0]
        got = sorted(set(map(len, corpus_words)))
        which = {True: " held-out", False: ""}[self._side.held_out]
        return (
            f"the corpus must have{which} words that make a {name} line of {wanted}, got words of {got} "
            "characters: give more words or widen the lengths"
        )


def _choose_words(material: TextInputs, config: TextConfig, side: Side) -> Vocabulary:
    """Return the words of the corpus and of maths that one side may hold, and what they are mixed with."""
    words = filter(side.fits, sorted(set(material.words)))
    maths_words = filter(side.fits, filter(material.characters.issuperset, read_maths_words()))
    corpus_share = 1 - config.maths_share - config.novel_share
    return Vocabulary(
        lists=((tuple(words), corpus_share), (tuple(maths_words), config.maths_share)),
        novel_share=config.novel_share,
        punctuation_share=config.punctuation_share,
        characters=material.characters,
        side=side,
    )


def _check_shares(config: TextConfig, *names: str) -> None:
    shares = [getattr(config, name) for name in names]
    if not (min(shares) >= 0 and sum(shares) <= 1 + _ROUNDING):
        together = "and together " if len(names) > 1 else "and "
        raise ValueError(
            f"{_enumerate(names)} must be at least 0 {together}at most 1, got {_enumerate(map(str, shares))}"
        )


def _enumerate(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
