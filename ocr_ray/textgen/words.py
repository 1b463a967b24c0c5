"""Words of the lines: from word lists or of random syllables, with punctuation, and cut at a line's ends."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product

from ocr_ray.text.characters import WORD_PUNCTUATION
from ocr_ray.text.hangul import KS_X_1001
from ocr_ray.textgen.exact_length import Draw, Option, WeightedChoice
from ocr_ray.textgen.holdout import HoldoutSplit
from ocr_ray.textgen.random_numbers import Random

Mark = tuple[str, str, float]
"""Punctuation before and after a word, and its share of the words."""

MIDDLE_DOT = "·"
"""Joins two words instead of a space."""
MIDDLE_DOT_SHARE = 0.08
"""Share of words followed by a middle dot among the words with punctuation."""

_AROUND_WORDS = {
    **{("", "."): 3.0, ("", ","): 3.0, ("", "?"): 1.5, ("", "!"): 1.0, ("", "~"): 1.0},
    **{("(", ")"): 1.5, ("'", "'"): 1.0, ('"', '"'): 1.0},
}
# Brackets and quotes around several words open on one line and can close on the next.
_AFTER_ENDINGS = {
    **{("", "."): 4.0, ("", ","): 3.0, ("", "?"): 1.5, ("", "!"): 1.0, ("", "~"): 1.0},
    **{("", ")"): 1.0, ("", "'"): 1.0, ("", '"'): 1.0},
}
_BEFORE_BEGINNINGS = {("(", ""): 1.0, ("'", ""): 1.0, ('"', ""): 1.0}

NOVEL_SHARES = {1: 0.07, 2: 0.25, 3: 0.33, 4: 0.22, 5: 0.13}
"""Share of novel words, which are random syllables, by number of syllables."""
_NOVEL_LIMIT = 5000
"""Candidates checked to find one allowed novel word; with a held-out share of 1 %, 500 would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Words to draw lines from; those of the lists are allowed in the split."""

    lists: tuple[tuple[tuple[str, ...], float], ...]
    """Lists of distinct words, each with its share of the words; the words of a list are equally likely."""
    novel_share: float
    """Share of words that are random syllables."""
    punctuation_share: float
    """Share of words with punctuation."""
    characters: frozenset[str]
    """Printable characters; other punctuation and syllables are left out."""
    holdout: HoldoutSplit

    @property
    def middle_dot_share(self) -> float:
        """Share of words joined to the next by a middle dot."""
        return self.punctuation_share * MIDDLE_DOT_SHARE if MIDDLE_DOT in self.characters else 0.0

    @property
    def syllables(self) -> tuple[str, ...]:
        """Syllables of novel words."""
        return tuple(filter(self.characters.__contains__, KS_X_1001))

    @property
    def marks(self) -> list[Mark]:
        """Punctuation around whole words; most have none."""
        return _list_marks(_AROUND_WORDS, self.punctuation_share * (1 - MIDDLE_DOT_SHARE), self.characters)

    def make_words(self) -> WeightedChoice:
        """Return the choice of whole words."""
        return WeightedChoice(self.list_words())

    def list_words(self) -> Iterator[Option]:
        """Yield the options for a whole word."""
        yield from self.list_listed(self.marks)
        yield from _list_novel_words(self.syllables, self.novel_share, self.marks, self.holdout)

    def list_marked(self, char: str) -> Iterator[Option]:
        """Yield the options for a listed word with a punctuation character."""
        weights = {mark: weight for mark, weight in _AROUND_WORDS.items() if char in mark}
        _, *marks = _list_marks(weights, 1.0, self.characters)
        yield from self.list_listed(marks)

    def make_endings(self) -> WeightedChoice:
        """Return the choice of word endings for the start of a line."""
        marks = _list_marks(_AFTER_ENDINGS, self.punctuation_share, self.characters)
        return WeightedChoice(self._list_pieces(marks, keep_end=True))

    def make_beginnings(self) -> WeightedChoice:
        """Return the choice of word beginnings for the end of a line."""
        marks = _list_marks(_BEFORE_BEGINNINGS, self.punctuation_share, self.characters)
        return WeightedChoice(self._list_pieces(marks, keep_end=False))

    def list_listed(self, marks: Sequence[Mark]) -> Iterator[Option]:
        """Yield the options for a word from the lists with one of the marks."""
        for words, share in self.lists:
            by_length: defaultdict[int, list[str]] = defaultdict(list)
            for word in words:
                by_length[len(word)].append(word)
            for length, group in sorted(by_length.items()):
                yield from punctuate(length, share * len(group) / len(words), marks, partial(_pick, group))

    def _list_pieces(self, marks: Sequence[Mark], *, keep_end: bool) -> Iterator[Option]:
        """Yield the options for a piece of a word that is cut in two.

        The lengths of pieces are as frequent as if every word were cut at every position; distinct pieces of
        one length are equally likely.
        """
        for words, share in self.lists:
            longer = [word for word in words if len(word) > 1]
            num_cuts = sum(len(word) - 1 for word in longer)
            length = 1
            while longer:
                pieces = {word[-length:] if keep_end else word[:length] for word in longer}
                if allowed := sorted(filter(self.holdout.allows, pieces)):
                    share_of_length = share * len(longer) / num_cuts
                    # One string, because the pieces of a large corpus are many more than its words.
                    draw = partial(_pick_part, "".join(allowed), length)
                    yield from punctuate(length, share_of_length, marks, draw)
                length += 1
                longer = [word for word in longer if len(word) > length]


def join_words(words: Sequence[str], middle_dot_share: float, random: Random) -> str:
    """Return the words joined by spaces or, for that share of words without punctuation, by a middle dot."""
    if not middle_dot_share or not words:
        return " ".join(words)
    text = words[0]
    for word in words[1:]:
        has_dot = (
            random() < middle_dot_share
            and text[-1] not in WORD_PUNCTUATION
            and word[0] not in WORD_PUNCTUATION
        )
        text += (MIDDLE_DOT if has_dot else " ") + word
    return text


def _list_marks(
    weights: dict[tuple[str, str], float], share: float, characters: frozenset[str]
) -> list[Mark]:
    """Return no punctuation, then the punctuation for that share of words that the characters allow."""
    printable = {mark: weight for mark, weight in weights.items() if characters.issuperset("".join(mark))}
    total = sum(printable.values())
    marks = [(before, after, share * weight / total) for (before, after), weight in printable.items()]
    return [("", "", 1 - share if marks else 1.0), *marks]


def _list_novel_words(
    syllables: Sequence[str], share: float, marks: Sequence[Mark], holdout: HoldoutSplit
) -> Iterator[Option]:
    """Yield the options for a novel word of 1 to 5 syllables."""
    for length, share_of_length in NOVEL_SHARES.items():
        draw = make_novel(syllables, length, holdout)
        if draw is not None:
            yield from punctuate(length, share * share_of_length, marks, draw)


def punctuate(length: int, share: float, marks: Sequence[Mark], draw: Draw) -> Iterator[Option]:
    """Yield the options for a word of that length with each of the marks."""
    for before, after, share_of_mark in marks:
        draw_marked = partial(_add_mark, before, after, draw) if before or after else draw
        yield Option(len(before) + length + len(after), share * share_of_mark, draw_marked)


def _add_mark(before: str, after: str, draw: Draw, random: Random) -> str:
    return before + draw(random) + after


def _pick(words: Sequence[str], random: Random) -> str:
    return words[int(random() * len(words))]


def _pick_part(parts: str, length: int, random: Random) -> str:
    """Return one of the parts of a length that a text consists of."""
    start = int(random() * (len(parts) // length)) * length
    return parts[start : start + length]


def make_novel(syllables: Sequence[str], length: int, holdout: HoldoutSplit) -> Draw | None:
    """Return a function that draws a novel word of that many syllables; None if the split allows none."""
    candidates = islice(map("".join, product(syllables, repeat=length)), _NOVEL_LIMIT)
    fallback = next(filter(holdout.allows, candidates), None)
    return None if fallback is None else partial(_draw_novel, syllables, length, holdout, fallback)


def _draw_novel(
    syllables: Sequence[str], length: int, holdout: HoldoutSplit, fallback: str, random: Random
) -> str:
    """Return random syllables; the last is the next one, from a random start, that makes an allowed word."""
    num = len(syllables)
    head = "".join([syllables[int(random() * num)] for _ in range(length - 1)])
    first = int(random() * num)
    candidates = (head + syllables[(first + step) % num] for step in range(num))
    return next(filter(holdout.allows, candidates), fallback)
