"""Focused lines, which contain what a model misreads more often than other lines do, within limits.

Half of the lines stay as they are without a focus. In the other half:

- words and quantities are chosen for the characters they contain, in proportion to the counts of the
  misreadings. They replace words of the lists and at most two fifths of the quantities. Novel words keep
  their share, so no syllable becomes too rare to be learned;
- lines of arithmetic are chosen for the characters they contain.

The limits exist because a model guesses characters and words that it sees too often. Frequent characters
become at most about twice as frequent. Rare characters are added to at most one word in fifty or one
quantity in twenty: a syllable in one word of five thousand would still be rare at a few times that, and
each of the twenty most frequent syllables is in one word of fifty anyway.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain, product
from typing import NamedTuple

from ocr_ray.randomness import keyed_generator
from ocr_ray.text.characters import WORD_PUNCTUATION
from ocr_ray.text.hangul import is_hangul_syllable
from ocr_ray.textgen import quantities
from ocr_ray.textgen.arithmetic import expressions
from ocr_ray.textgen.corpus import read_maths_words
from ocr_ray.textgen.exact_length import Draw, Option, WeightedChoice, choose
from ocr_ray.textgen.holdout import HoldoutSplit
from ocr_ray.textgen.misreadings import Misreading
from ocr_ray.textgen.random_numbers import Random
from ocr_ray.textgen.sources import Drawn, Source
from ocr_ray.textgen.words import MIDDLE_DOT, NOVEL_SHARES, Vocabulary, make_novel, punctuate

LINES_SHARE = 0.5
"""Share of focused lines."""
WORDS_SHARE, QUANTITIES_SHARE = 0.5, 0.4
"""Largest share of listed words, and of quantities, that are chosen for their characters in focused lines."""
CHARACTER_LIMIT_IN_WORDS, CHARACTER_LIMIT_IN_QUANTITIES = 0.02, 0.05
"""Largest additional share of all words, or quantities, with one character; or its usual share, if larger."""
WORD_LIMIT = 0.001
"""Largest additional share of one listed word among all words: a word that is known is not read."""
WORD_SEPARATORS = {" ": 3, MIDDLE_DOT: 2}
"""Separators of words, with the number of short words in a token that is drawn to show one."""

_NUM_CANDIDATES = 3
"""Lines of arithmetic to choose one from; more would make a character over twice as frequent."""
_NUM_SAMPLES = 4000
"""Tokens drawn to measure their characters."""

Group = tuple[str, ...]
"""The one or two characters of a misreading that lines can contain, in code point order."""


def find_focusable(words: Iterable[str], characters: frozenset[str]) -> frozenset[str]:
    """Return the printable characters that words, quantities or expressions can contain."""
    possible = quantities.CHARACTERS.union(
        expressions.CHARACTERS, WORD_PUNCTUATION, WORD_SEPARATORS, *words, *read_maths_words()
    )
    return frozenset(char for char in characters if char in possible or is_hangul_syllable(char))


def keep_focusable(
    misreadings: Iterable[Misreading], focusable: frozenset[str]
) -> tuple[tuple[Misreading, ...], Counter[str]]:
    """Return the misreadings that lines can contain, and the counts of the characters that they cannot.

    A misreading is dropped if lines cannot contain its reference. If they cannot contain its prediction, the
    reference is kept.
    """
    kept: Counter[tuple[str, str]] = Counter()
    ignored: Counter[str] = Counter()
    for misreading in misreadings:
        pair = misreading.reference, misreading.prediction
        for char in pair:
            if char and char not in focusable:
                ignored[char] += misreading.count
        reference, prediction = (char if char in focusable else "" for char in pair)
        if reference == misreading.reference and (reference or prediction):
            kept[reference, prediction] += misreading.count
    return tuple(Misreading(*pair, count) for pair, count in kept.most_common()), ignored


class Focus:
    """Words, quantities and lines of arithmetic for focused lines."""

    def __init__(self, misreadings: Sequence[Misreading], vocabulary: Vocabulary) -> None:
        """`misreadings` come from `keep_focusable`."""
        self._vocabulary = vocabulary
        signs = frozenset(filter(_is_sign, vocabulary.characters))
        in_words = {*WORD_PUNCTUATION, *WORD_SEPARATORS, *filter(is_hangul_syllable, vocabulary.characters)}
        in_words.update(*(word for words, _ in vocabulary.lists for word in words))
        self._word_counts = _count_groups(misreadings, vocabulary.characters & in_words)
        self._quantity_counts = _count_groups(misreadings, signs & quantities.CHARACTERS)
        self._arithmetic_counts = _count_groups(misreadings, signs & expressions.CHARACTERS)
        all_counts = self._word_counts, self._quantity_counts, self._arithmetic_counts
        self._max_total = max(1, *(counts.total() for counts in all_counts))

    def make_words(self) -> WeightedChoice:
        """Return the choice of words for focused lines."""
        listed = sum(share for _, share in self._vocabulary.lists)
        # Novel words rarely contain a given character, and are slow to find in a split.
        measured = _measure(replace(self._vocabulary, novel_share=0.0).make_words())
        usual = {char: share * listed for char, share in measured.items()} | {" ": 1.0}
        limits = _set_limits(usual, CHARACTER_LIMIT_IN_WORDS)
        shares = self._distribute(self._word_counts, WORDS_SHARE * listed, limits)
        return _make_focused_words(self._vocabulary, shares, WORD_LIMIT / LINES_SHARE)

    def make_quantities(self) -> WeightedChoice:
        """Return the choice of quantities for focused lines."""
        characters = self._vocabulary.characters
        usual = _measure(quantities.make_quantities(characters))
        limits = _set_limits(usual, CHARACTER_LIMIT_IN_QUANTITIES)
        shares = self._distribute(self._quantity_counts, QUANTITIES_SHARE, limits)
        signs: dict[str, float] = {}
        digits: dict[Group, float] = {}
        for group, share in shares.items():
            if group_digits := tuple(filter(str.isdecimal, group)):
                share_of_digits = share * len(group_digits) / len(group)
                digits[group_digits] = digits.get(group_digits, 0.0) + share_of_digits
            for char in group:
                if char not in group_digits:
                    signs[char] = signs.get(char, 0.0) + share / len(group)
        return quantities.make_focused_quantities(characters, signs, digits)

    def choose_lines(self, lines: Source) -> Source:
        """Return a source of lines of arithmetic that are chosen for their characters."""
        return _ChosenLines(lines, self._arithmetic_counts, self._max_total)

    def _distribute(
        self, counts: Counter[Group], budget: float, limits: defaultdict[str, float]
    ) -> dict[Group, float]:
        """Return the share of tokens for each group by its count; `limits` are used up.

        The shares add up to the budget where most misreadings belong, and to less elsewhere.
        """
        shares = {}
        for group, count in counts.most_common():
            share = min(budget * count / self._max_total, *(limits[char] for char in group))
            for char in group:
                limits[char] -= share
            if share > 0:
                shares[group] = share
        return shares


class _ChosenLines:
    """Lines of which a share is the best of a few candidates."""

    def __init__(self, lines: Source, counts: Counter[Group], max_total: int) -> None:
        self.lengths = lines.lengths
        self._lines = lines
        self._groups = list(counts)
        self._cumulative = list(accumulate(counts.values()))
        self._share = counts.total() / max_total

    def draw(self, length: int, random: Random) -> Drawn:
        """Return a line; a chosen line has the most characters of a random group among the candidates."""
        if random() >= self._share:
            return self._lines.draw(length, random)
        group = self._groups[choose(self._cumulative, random)]
        candidates = [self._lines.draw(length, random) for _ in range(_NUM_CANDIDATES)]
        return max(candidates, key=lambda drawn: sum(map(drawn.text.count, group)))


def _is_sign(char: str) -> bool:
    return char != " " and not is_hangul_syllable(char)


def _count_groups(misreadings: Iterable[Misreading], characters: frozenset[str]) -> Counter[Group]:
    """Return how often each group of the given characters was misread."""
    counts: Counter[Group] = Counter()
    for misreading in misreadings:
        pair = misreading.reference, misreading.prediction
        if group := tuple(sorted(characters.intersection(pair))):
            counts[group] += misreading.count
    return counts


def _set_limits(usual: Mapping[str, float], least: float) -> defaultdict[str, float]:
    """Return the largest share of tokens to add for each character in focused lines."""
    limits = {char: max(share, least) / LINES_SHARE for char, share in usual.items()}
    return defaultdict(lambda: least / LINES_SHARE, limits)


def _measure(tokens: WeightedChoice) -> dict[str, float]:
    """Return the share of tokens that contain each character, in a fixed sample."""
    if not tokens.share_by_width:
        return {}
    random = keyed_generator(0, "focus", 0).random
    widths, cumulative = list(tokens.share_by_width), list(accumulate(tokens.share_by_width.values()))
    counts: Counter[str] = Counter()
    for _ in range(_NUM_SAMPLES):
        counts.update(set(tokens.draw(widths[choose(cumulative, random)], random)))
    return {char: count / _NUM_SAMPLES for char, count in counts.items()}


def _make_focused_words(
    vocabulary: Vocabulary, shares: Mapping[Group, float], word_limit: float
) -> WeightedChoice:
    """Return a choice of words in which the given shares contain one character of a group, or both.

    They replace words of the lists, whose share `shares` must not exceed; novel words keep their share. No
    listed word gains more than `word_limit`.
    """
    focused = list(_list_focused(vocabulary, shares, word_limit))
    listed = sum(share for _, share in vocabulary.lists)
    factor = 1 - sum(option.weight for option in focused) / listed if listed else 1.0
    usual = replace(vocabulary, lists=tuple((words, share * factor) for words, share in vocabulary.lists))
    return WeightedChoice((*usual.list_words(), *focused))


def _list_focused(
    vocabulary: Vocabulary, shares: Mapping[Group, float], word_limit: float
) -> Iterator[Option]:
    """Yield the options for a focused word.

    For two syllables, a third of the words contains both next to each other, and a third each one of them.
    """
    pairs, singles = _split_shares(shares)
    marked = {
        char: share for char, share in singles.items() if char in WORD_PUNCTUATION and char != MIDDLE_DOT
    }
    listed = sum(share for _, share in vocabulary.lists)
    for char, share in marked.items():
        for option in vocabulary.list_marked(char):
            yield option._replace(weight=option.weight * share / listed)
    for char, num_words in WORD_SEPARATORS.items():
        if char in singles:
            yield from _list_separated(vocabulary, char, num_words, singles[char])
    letters = {char: share for char, share in singles.items() if char not in WORD_PUNCTUATION and char != " "}
    words, lacking = _weight_words(vocabulary, letters, word_limit)
    yield from _list_weighted(words, vocabulary)
    syllables: dict[Group, float] = {
        (char,): share for char, share in lacking.items() if is_hangul_syllable(char)
    }
    yield from _list_made_up(syllables, vocabulary)
    yield from _list_made_up(pairs, vocabulary)


def _split_shares(shares: Mapping[Group, float]) -> tuple[dict[Group, float], dict[str, float]]:
    """Return the shares of words with both syllables of a group, and of words with a single character."""
    pairs: dict[Group, float] = {}
    singles: dict[str, float] = {}
    for group, share in shares.items():
        if len(group) > 1 and all(map(is_hangul_syllable, group)):
            pairs[group] = share / 3
            share -= pairs[group]
        for char in group:
            singles[char] = singles.get(char, 0.0) + share / len(group)
    return pairs, singles


def _weight_words(
    vocabulary: Vocabulary, letters: Mapping[str, float], limit: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the shares of listed words that contain the letters, and the share that each letter still lacks.

    The share of a letter is divided evenly between the words that contain it.
    """
    words_by_char: dict[str, list[str]] = {char: [] for char in letters}
    for word in sorted(set(chain.from_iterable(words for words, _ in vocabulary.lists))):
        for char in letters.keys() & set(word):
            words_by_char[char].append(word)
    requested: dict[str, float] = {}
    for char, words in words_by_char.items():
        for word in words:
            requested[word] = requested.get(word, 0.0) + letters[char] / len(words)
    granted = {word: min(1.0, limit / share) for word, share in requested.items()}
    lacking = {
        char: share - sum(share / len(words_by_char[char]) * granted[word] for word in words_by_char[char])
        for char, share in letters.items()
    }
    return {word: share * granted[word] for word, share in requested.items()}, lacking


def _list_weighted(shares: Mapping[str, float], vocabulary: Vocabulary) -> Iterator[Option]:
    """Yield the options for words by their shares, with punctuation as around any word."""
    for length in sorted(set(map(len, shares))):
        words = tuple(word for word in shares if len(word) == length)
        cumulative = tuple(accumulate(shares[word] for word in words))
        draw = partial(_pick_weighted, words, cumulative)
        yield from punctuate(length, cumulative[-1], vocabulary.marks, draw)


def _list_made_up(shares: Mapping[Group, float], vocabulary: Vocabulary) -> Iterator[Option]:
    """Yield the options for words of random syllables around the groups, which are of equal length.

    At least one syllable of a word is random, so that no word is frequent.
    """
    if not shares:
        return
    blocks = tuple(map("".join, shares))
    words = _MadeUpWords(blocks, tuple(accumulate(shares.values())), vocabulary.syllables, vocabulary.holdout)
    lengths = {length: share for length, share in NOVEL_SHARES.items() if length > len(blocks[0])}
    for length, share in lengths.items():
        draw_novel = make_novel(words.syllables, length, words.holdout)
        if draw_novel is not None:
            share_of_length = words.cumulative[-1] * share / sum(lengths.values())
            yield from punctuate(
                length, share_of_length, vocabulary.marks, partial(words.draw, length, draw_novel)
            )


class _MadeUpWords(NamedTuple):
    """Words of random syllables that contain one of the blocks."""

    blocks: tuple[str, ...]
    cumulative: tuple[float, ...]
    syllables: tuple[str, ...]
    holdout: HoldoutSplit

    def draw(self, length: int, draw_novel: Draw, random: Random) -> str:
        """Return a word with a block, in either order, at a random index; a novel word if none is allowed."""
        block, num = self.blocks[choose(self.cumulative, random)], len(self.syllables)
        block = block if random() < 0.5 else block[::-1]
        num_free = length - len(block)
        index = int(random() * (num_free + 1))
        others = [self.syllables[int(random() * num)] for _ in range(num_free - 1)]
        first = int(random() * num)
        for step in range(num):
            free = [self.syllables[(first + step) % num], *others]
            word = "".join([*free[:index], block, *free[index:]])
            if self.holdout.allows(word):
                return word
        return draw_novel(random)


def _list_separated(vocabulary: Vocabulary, separator: str, num_words: int, share: float) -> Iterator[Option]:
    """Yield the options for short novel words with a separator between them."""
    novel = {length: make_novel(vocabulary.syllables, length, vocabulary.holdout) for length in (1, 2)}
    drawable = {length: draw for length, draw in novel.items() if draw is not None}
    combinations = list(product(drawable, repeat=num_words))
    for lengths in combinations:
        draw = partial(_draw_separated, separator, [drawable[length] for length in lengths])
        yield Option(sum(lengths) + len(lengths) - 1, share / len(combinations), draw)


def _pick_weighted(words: Sequence[str], cumulative: Sequence[float], random: Random) -> str:
    return words[choose(cumulative, random)]


def _draw_separated(separator: str, draws: Sequence[Draw], random: Random) -> str:
    return separator.join([draw(random) for draw in draws])
