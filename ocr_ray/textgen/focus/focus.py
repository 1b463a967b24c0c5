"""Lines that hold what a model misreads more often than other lines do, within limits.

Half of the lines are drawn as ever. In the others some words and figures are taken for the characters that
they hold, in proportion to the counts of the confusions, and lines of arithmetic are chosen for theirs. They
take the place of words of the lists and of at most a fifth of all figures; random syllables keep their share,
so that nothing gets too rare to be learnt.

The limits are there because a model that meets a character or word too often guesses it. What is common comes
at most about twice as often as ever. What is rare is put into at most one word of fifty, or one figure of
twenty: a syllable that stands in one word of five thousand would still be rare at a few times that, and one
of fifty is what each of the twenty commonest syllables has anyway.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from ocr_ray.randomness import keyed_generator
from ocr_ray.text.hangul import is_hangul_syllable
from ocr_ray.textgen import quantities as figures
from ocr_ray.textgen.arithmetic import expressions as arithmetic
from ocr_ray.textgen.arithmetic.operations import Random
from ocr_ray.textgen.corpus import read_maths_words
from ocr_ray.textgen.exact_length import Bag, choose
from ocr_ray.textgen.focus.confusions import Confusion
from ocr_ray.textgen.focus.words import JOINTS, Members, make_focused_words
from ocr_ray.textgen.quantities import make_focused_figures
from ocr_ray.textgen.sources import Drawn, Source
from ocr_ray.textgen.words import PUNCTUATION, Vocabulary

LINES_SHARE = 0.5
"""Share of the lines that are focused."""
WORDS_SHARE, FIGURES_SHARE = 0.5, 0.4
"""Most of the words of lists, and of the figures, of focused lines that are taken for what they hold."""
CHARACTER_LIMIT_IN_WORDS, CHARACTER_LIMIT_IN_FIGURES = 0.02, 0.05
"""Share of all words, or figures, that a character may get on top, or its usual share if that is more."""
WORD_LIMIT = 0.001
"""Share of all words that a word of the lists may get on top: a word that is known is not read."""

_NUM_CANDIDATES = 3
"""Lines of arithmetic that one is chosen from: with half of the lines focused, twice as often is the most."""
_NUM_SAMPLES = 4000
"""Tokens that are drawn to see what they usually hold."""


def find_focusable(words: Iterable[str], characters: frozenset[str]) -> frozenset[str]:
    """Return which of the printable characters words or figures can be made to hold."""
    held = figures.CHARACTERS.union(arithmetic.CHARACTERS, PUNCTUATION, JOINTS, *words, *read_maths_words())
    return frozenset(char for char in characters if char in held or is_hangul_syllable(char))


def keep_focusable(
    confusions: Iterable[Confusion], focusable: frozenset[str]
) -> tuple[tuple[Confusion, ...], Counter[str]]:
    """Return the confusions that lines can hold, and how often each character was misread that they cannot.

    A confusion whose truth cannot be held teaches nothing; of one whose reading cannot, the truth stays.
    """
    kept: Counter[tuple[str, str]] = Counter()
    ignored: Counter[str] = Counter()
    for confusion in confusions:
        members = confusion.truth, confusion.read
        for char in members:
            if char and char not in focusable:
                ignored[char] += confusion.count
        truth, read = (char if char in focusable else "" for char in members)
        if truth == confusion.truth and (truth or read):
            kept[truth, read] += confusion.count
    return tuple(Confusion(*members, count) for members, count in kept.most_common()), ignored


class Focus:
    """What the words, figures and lines of arithmetic of focused lines are drawn from."""

    def __init__(self, confusions: Sequence[Confusion], vocabulary: Vocabulary) -> None:
        """`confusions` are some that `keep_focusable` gave."""
        self._vocabulary = vocabulary
        signs = frozenset(filter(_is_sign, vocabulary.characters))
        wordlike = {*PUNCTUATION, *JOINTS, *filter(is_hangul_syllable, vocabulary.characters)}
        wordlike.update(*(word for words, _ in vocabulary.lists for word in words))
        self._in_words = _gather(confusions, vocabulary.characters & wordlike)
        self._in_figures = _gather(confusions, signs & figures.CHARACTERS)
        self._in_arithmetic = _gather(confusions, signs & arithmetic.CHARACTERS)
        places = self._in_words, self._in_figures, self._in_arithmetic
        self._most = max(1, *(counts.total() for counts in places))

    def make_words(self) -> Bag:
        """Return the words of focused lines."""
        listed = sum(share for _, share in self._vocabulary.lists)
        # Without random syllables: they hold each character seldom, and take long to find for a side.
        held = _measure(replace(self._vocabulary, novel_share=0.0).make_words())
        usual = {char: share * listed for char, share in held.items()} | {" ": 1.0}
        limits = _set_limits(usual, CHARACTER_LIMIT_IN_WORDS)
        shares = self._share_out(self._in_words, WORDS_SHARE * listed, limits)
        return make_focused_words(self._vocabulary, shares, WORD_LIMIT / LINES_SHARE)

    def make_figures(self) -> Bag:
        """Return the figures of focused lines."""
        characters = self._vocabulary.characters
        limits = _set_limits(_measure(figures.make_figures(characters)), CHARACTER_LIMIT_IN_FIGURES)
        shares = self._share_out(self._in_figures, FIGURES_SHARE, limits)
        signs: dict[str, float] = {}
        digits: dict[Members, float] = {}
        for members, share in shares.items():
            if of_members := tuple(filter(str.isdecimal, members)):
                digits[of_members] = digits.get(of_members, 0.0) + share * len(of_members) / len(members)
            for char in members:
                if char not in of_members:
                    signs[char] = signs.get(char, 0.0) + share / len(members)
        return make_focused_figures(characters, signs, digits)

    def choose_lines(self, lines: Source) -> Source:
        """Return a source of lines of arithmetic that are chosen for what they hold."""
        return _ChosenLines(lines, self._in_arithmetic, self._most)

    def _share_out(
        self, counts: Counter[Members], budget: float, limits: defaultdict[str, float]
    ) -> dict[Members, float]:
        """Return each confusion's share of the tokens of focused lines, by its count; `limits` are used up.

        Where most of what is misread belongs, the counts come to the budget, elsewhere to less.
        """
        shares = {}
        for members, count in counts.most_common():
            share = min(budget * count / self._most, *(limits[char] for char in members))
            for char in members:
                limits[char] -= share
            if share > 0:
                shares[members] = share
        return shares


class _ChosenLines:
    """Lines of which some are the best of a few, which hold a character at most that many times as often."""

    def __init__(self, lines: Source, counts: Counter[Members], most: int) -> None:
        self.lengths = lines.lengths
        self._lines = lines
        self._members = list(counts)
        self._counts_so_far = list(accumulate(counts.values()))
        self._share = counts.total() / most

    def draw(self, length: int, random: Random) -> Drawn:
        """Return a line; if it is to be focused, the one of a few with the most of a confusion."""
        if random() >= self._share:
            return self._lines.draw(length, random)
        members = self._members[choose(self._counts_so_far, random)]
        candidates = [self._lines.draw(length, random) for _ in range(_NUM_CANDIDATES)]
        return max(candidates, key=lambda drawn: sum(map(drawn.text.count, members)))


def _is_sign(char: str) -> bool:
    return char != " " and not is_hangul_syllable(char)


def _gather(confusions: Iterable[Confusion], characters: frozenset[str]) -> Counter[Members]:
    """Return how often two of the characters were taken for each other, or one of them for another."""
    counts: Counter[Members] = Counter()
    for confusion in confusions:
        if members := tuple(sorted(characters.intersection((confusion.truth, confusion.read)))):
            counts[members] += confusion.count
    return counts


def _set_limits(usual: Mapping[str, float], least: float) -> defaultdict[str, float]:
    """Return the most that a character may get of the tokens of focused lines on top of its usual share."""
    limits = {char: max(share, least) / LINES_SHARE for char, share in usual.items()}
    return defaultdict(lambda: least / LINES_SHARE, limits)


def _measure(bag: Bag) -> dict[str, float]:
    """Return in which share of a bag's tokens each character stands, by a sample that is always the same."""
    if not bag.share_by_width:
        return {}
    random = keyed_generator(0, "focus", 0).random
    widths, shares_so_far = list(bag.share_by_width), list(accumulate(bag.share_by_width.values()))
    counts: Counter[str] = Counter()
    for _ in range(_NUM_SAMPLES):
        counts.update(set(bag.draw(widths[choose(shares_so_far, random)], random)))
    return {char: count / _NUM_SAMPLES for char, count in counts.items()}
