"""The text of line i is decided here, from the seed and i alone.

`TextSampler.draw(seed, i)` draws, in this order:

1. the split, from i: train and validation or test, which share no held-out words (holdout.py);
2. whether the line is focused on what a model misreads, if `--focus` is given (focus.py);
3. the kind of line and its length in characters, by their shares;
4. a line of that kind and exactly that length:

```
kind         class in sources.py   made of
words        WordLines             corpus words, maths words, random syllables  (corpus.py, words.py)
arithmetic   ArithmeticLines       expressions by school grade                  (arithmetic/)
mixed        MixedLines            words, quantities and expressions            (quantities.py)
sentence     SentenceLines         running text of the corpus                   (corpus.py)
```

Words are unrelated to each other, so that a model cannot guess the end of a line from its beginning. Lines of
running text exist for comparison. exact_length.py fills the lengths.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat
from typing import NamedTuple

from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.errors import InputError
from ocr_ray.randomness import keyed_generator
from ocr_ray.text.characters import WORD_PUNCTUATION
from ocr_ray.text.hangul import KS_X_1001
from ocr_ray.text.markup import to_markup
from ocr_ray.textgen import quantities
from ocr_ray.textgen.arithmetic import expressions
from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig
from ocr_ray.textgen.corpus import read_maths_words
from ocr_ray.textgen.exact_length import WeightedChoice, choose
from ocr_ray.textgen.focus import LINES_SHARE, Focus
from ocr_ray.textgen.holdout import MAX_SHARE, MIN_SHARE, HoldoutSplit
from ocr_ray.textgen.misreadings import Misreading
from ocr_ray.textgen.random_numbers import Random
from ocr_ray.textgen.sources import (
    EXPRESSION_SEPARATOR,
    ArithmeticLines,
    MixedLines,
    SentenceLines,
    Source,
    WordLines,
)
from ocr_ray.textgen.words import Vocabulary

REQUIRED_CHARACTERS = expressions.CHARACTERS | frozenset("0123456789" + EXPRESSION_SEPARATOR)
"""Characters that every font must have; lines leave out other characters that a font lacks."""
CHARACTERS = REQUIRED_CHARACTERS | quantities.CHARACTERS | frozenset(WORD_PUNCTUATION) | frozenset(KS_X_1001)
"""Every character that a line can contain, apart from those of the corpus."""

MAX_LENGTH = 200
"""Largest length in characters of `length_weights`."""

_TOLERANCE = 1e-9
"""Rounding error allowed in sums of shares."""
_BLOCK_SIZE = 64
"""Random numbers drawn together: enough for nearly every line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInputs:
    """Contents that lines are made of, in canonical form."""

    words: tuple[str, ...]
    """Distinct words of the corpus."""
    passages: tuple[str, ...] = ()
    """Running text with single spaces."""
    characters: frozenset[str]
    """Printable characters; words and passages contain no others."""
    length_weights: tuple[tuple[int, float], ...] = ()
    """Relative frequency of each length in characters, 1 to 200; if empty, lengths are uniform between
    `min_length` and `max_length` of the config."""
    misreadings: tuple[Misreading, ...] = ()
    """What focused lines contain more often, as `keep_focusable` returns it."""

    def __post_init__(self) -> None:
        lengths = [length for length, _ in self.length_weights]
        if not all(1 <= length <= MAX_LENGTH for length in lengths) or len(set(lengths)) < len(lengths):
            raise InputError(
                f"length_weights must be of distinct lengths from 1 to {MAX_LENGTH}, got {lengths}"
            )
        if not all(weight > 0 for _, weight in self.length_weights):
            raise InputError(f"length_weights must be above 0, got {self.length_weights}")
        if not all(word.split() == [word] for word in self.words):
            raise InputError("a word must not be empty or contain white space")
        for name, texts in (("words", self.words), ("passages", self.passages)):
            if unprintable := set().union(*texts) - (self.characters - set("$\\")) - {" "}:
                raise InputError(
                    f"{name} must contain only printable characters, and neither $ nor a backslash, "
                    f"got {''.join(sorted(unprintable))!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """Kinds of lines and what they contain."""

    min_length: int = 5
    """Fewest characters in a line."""
    max_length: int = 30
    """Most characters in a line."""
    arithmetic_share: float = 0.3
    """Share of lines of arithmetic."""
    mixed_share: float = 0.2
    """Share of lines that mix words, numbers, symbols and arithmetic."""
    sentence_share: float = 0.0
    """Share of lines of running text; the remaining lines are unrelated words."""
    cut_share: float = 0.3
    """Share of the lines of words that start or end inside a word, or both."""
    novel_share: float = 0.2
    """Share of words made of random syllables, so that every syllable must be read, not guessed."""
    maths_share: float = 0.15
    """Share of words from the built-in list of maths words; the remaining words come from the corpus."""
    punctuation_share: float = 0.16
    """Share of words with punctuation."""
    holdout_word_share: float = 0.0
    """Share of words, and of numbers of three or more digits, that only the test split contains.
    Must be 0, or from 0.01 to 0.5."""
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
    """The text of a line."""

    text: str
    """Printed text, in canonical form."""
    markup: str
    """The same with maths in `$…$` LaTeX."""
    source: str
    """Kind of line: `words`, `sentence`, `arithmetic` or `mixed`."""
    grades: tuple[int, ...] = ()
    """School grade of each expression."""


class TextSampler:
    """Draws the text of any line; a pure function of (seed, number) once built.

    Distinct words are equally likely, given the length of the line.
    """

    def __init__(self, inputs: TextInputs, config: TextConfig) -> None:
        """Raise InputError if a kind of line with a share above 0 is not possible at any of the lengths."""
        missing = REQUIRED_CHARACTERS - inputs.characters
        if missing:
            raise InputError(
                f"every font must have the signs of arithmetic, got none for {''.join(sorted(missing))!r}: "
                "choose other fonts"
            )
        share = config.holdout_word_share
        # By split, then by whether the line is focused.
        self._sources = [
            [
                _LineSources(inputs, config, HoldoutSplit(held_out, share), is_focused=is_focused)
                for is_focused in ((False, True) if inputs.misreadings else (False,))
            ]
            for held_out in ((False, True) if share else (False,))
        ]

    def draw(self, seed: int, number: int) -> LineText:
        """Return the text of line `number`; it does not depend on other lines."""
        generator = keyed_generator(seed, "text", number)
        blocks = (generator.random(num).tolist() for num in repeat(_BLOCK_SIZE))
        random = chain.from_iterable(blocks).__next__
        sources = self._sources[-1 if number >= FIRST_NUMBERS["test"] else 0]
        is_focused = len(sources) > 1 and random() < LINES_SHARE
        source, length = sources[is_focused].choose(random)
        drawn = source.lines.draw(length, random)
        return LineText(
            text=drawn.text, markup=to_markup(drawn.text), source=source.name, grades=drawn.grades
        )


class _WeightedSource(NamedTuple):
    """A kind of line with its share and the weights of its lengths."""

    name: str
    share: float
    lines: Source
    lengths: list[int]
    cumulative: list[float]


class _LineSources:
    """The requested kinds of lines, with the words and numbers that one split allows."""

    def __init__(
        self, inputs: TextInputs, config: TextConfig, holdout: HoldoutSplit, *, is_focused: bool
    ) -> None:
        self._inputs, self._config, self._holdout = inputs, config, holdout
        lengths = range(config.min_length, config.max_length + 1)
        self._weights = dict(inputs.length_weights) or dict.fromkeys(lengths, 1.0)
        self._max_length = max(self._weights)
        self._vocabulary = _select_words(inputs, config, holdout)
        self._focus = Focus(inputs.misreadings, self._vocabulary) if is_focused else None
        self._sources = list(self._list_sources())
        self._cumulative = list(accumulate(source.share for source in self._sources))

    def choose(self, random: Random) -> tuple[_WeightedSource, int]:
        """Return a random kind of line and length."""
        source = self._sources[choose(self._cumulative, random)]
        return source, source.lengths[choose(source.cumulative, random)]

    def _list_sources(self) -> Iterator[_WeightedSource]:
        config, max_length = self._config, self._max_length
        words_share = 1 - config.arithmetic_share - config.mixed_share - config.sentence_share
        arithmetic_lines = ArithmeticLines(config.arithmetic, self._holdout, max_length)
        if config.arithmetic_share:
            lines = self._focus.choose_lines(arithmetic_lines) if self._focus else arithmetic_lines
            yield self._weight("arithmetic", config.arithmetic_share, lines)
        if config.mixed_share:
            mixed_lines = MixedLines(
                self._make_words("mixed"),
                self._make_quantities(),
                arithmetic_lines,
                holdout=self._holdout,
                max_length=max_length,
            )
            yield self._weight("mixed", config.mixed_share, mixed_lines)
        if config.sentence_share:
            sentences = SentenceLines(self._inputs.passages, self._weights)
            yield self._weight("sentence", config.sentence_share, sentences)
        if words_share > _TOLERANCE:
            word_lines = WordLines(
                self._make_words("words"),
                self._vocabulary.make_endings(),
                self._vocabulary.make_beginnings(),
                cut_share=config.cut_share,
                middle_dot_share=self._vocabulary.middle_dot_share,
                max_length=max_length,
            )
            yield self._weight("words", words_share, word_lines)

    def _make_words(self, name: str) -> WeightedChoice:
        corpus_words, corpus_share = self._vocabulary.lists[0]
        if corpus_share > _TOLERANCE and not corpus_words:
            raise InputError(self._describe_missing(name))
        return self._focus.make_words() if self._focus else self._vocabulary.make_words()

    def _make_quantities(self) -> WeightedChoice:
        if self._focus:
            return self._focus.make_quantities()
        return quantities.make_quantities(self._inputs.characters)

    def _weight(self, name: str, share: float, lines: Source) -> _WeightedSource:
        """Return a kind of line with the weights of the lengths that it can have; InputError if none."""
        weights = {length: weight for length, weight in self._weights.items() if length in lines.lengths}
        if not weights:
            raise InputError(self._describe_missing(name))
        return _WeightedSource(name, share, lines, list(weights), list(accumulate(weights.values())))

    def _describe_missing(self, name: str) -> str:
        lengths = f"{min(self._weights)} to {self._max_length} characters"
        if name == "sentence":
            return (
                f"--sentence-share above 0 needs running text of {lengths}, got none in "
                f"{len(self._inputs.passages)} passages: give files with --corpus-uri or --texts-uri"
            )
        corpus_words, _ = self._vocabulary.lists[0]
        word_lengths = sorted(set(map(len, corpus_words)))
        which = "held-out words" if self._holdout.held_out else "words"
        return (
            f"the corpus must have {which} that make a {name} line of {lengths}, got words of {word_lengths} "
            "characters: give more words or allow more lengths"
        )


def _select_words(inputs: TextInputs, config: TextConfig, holdout: HoldoutSplit) -> Vocabulary:
    """Return the corpus words and maths words that one split allows, with their shares."""
    words = filter(holdout.allows, sorted(set(inputs.words)))
    maths_words = filter(holdout.allows, filter(inputs.characters.issuperset, read_maths_words()))
    corpus_share = 1 - config.maths_share - config.novel_share
    return Vocabulary(
        lists=((tuple(words), corpus_share), (tuple(maths_words), config.maths_share)),
        novel_share=config.novel_share,
        punctuation_share=config.punctuation_share,
        characters=inputs.characters,
        holdout=holdout,
    )


def _check_shares(config: TextConfig, *names: str) -> None:
    shares = [getattr(config, name) for name in names]
    if not (min(shares) >= 0 and sum(shares) <= 1 + _TOLERANCE):
        together = "and together " if len(names) > 1 else "and "
        raise ValueError(
            f"{_enumerate(names)} must be at least 0 {together}at most 1, got {_enumerate(map(str, shares))}"
        )


def _enumerate(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
