"""Words as lines hold them: of lists or of random syllables, with punctuation, cut where a line breaks."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product

from ocr_ray.text.hangul import KS_X_1001
from ocr_ray.textgen.arithmetic.operations import Random
from ocr_ray.textgen.exact_length import Bag, Way
from ocr_ray.textgen.holdout import Side

Mark = tuple[str, str, float]
"""What stands before a word, what behind it, and how often."""

PUNCTUATION = ".,?!()'\"~·"
JOINT = "·"
"""Stands between two words instead of a space."""
JOINT_SHARE = 0.08
"""Its share of the words with punctuation."""

_AROUND_A_WORD = {
    **{("", "."): 3.0, ("", ","): 3.0, ("", "?"): 1.5, ("", "!"): 1.0, ("", "~"): 1.0},
    **{("(", ")"): 1.5, ("'", "'"): 1.0, ('"', '"'): 1.0},
}
# Of what stands around several words, one end is on the line before or the next.
_BEHIND_AN_END = {
    **{("", "."): 4.0, ("", ","): 3.0, ("", "?"): 1.5, ("", "!"): 1.0, ("", "~"): 1.0},
    **{("", ")"): 1.0, ("", "'"): 1.0, ("", '"'): 1.0},
}
_BEFORE_A_BEGINNING = {("(", ""): 1.0, ("'", ""): 1.0, ('"', ""): 1.0}

NOVEL_SHARES = {1: 0.07, 2: 0.25, 3: 0.33, 4: 0.22, 5: 0.13}
"""How often a word of random syllables has how many."""
_NOVEL_LIMIT = 5000
"""Words that are looked at to find one that may be drawn; with a share of 1 % held out, 500 would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The words that lines are made of; those of the lists fit their side."""

    lists: tuple[tuple[tuple[str, ...], float], ...]
    """Lists of distinct words, each with its share of the words; within a list each word is as likely."""
    novel_share: float
    """Share of words that are random syllables."""
    punctuation_share: float
    """Share of words with punctuation."""
    characters: frozenset[str]
    """What may be printed; punctuation and syllables outside are left out."""
    side: Side

    @property
    def joint_share(self) -> float:
        """How many of the words are tied to the next by a `·`."""
        return self.punctuation_share * JOINT_SHARE if JOINT in self.characters else 0.0

    @property
    def syllables(self) -> tuple[str, ...]:
        """What words of random syllables are made of."""
        return tuple(filter(self.characters.__contains__, KS_X_1001))

    @property
    def marks(self) -> list[Mark]:
        """What stands around a whole word, mostly nothing."""
        return _list_marks(_AROUND_A_WORD, self.punctuation_share * (1 - JOINT_SHARE), self.characters)

    def make_words(self) -> Bag:
        """Return whole words."""
        return Bag(self.list_words())

    def list_words(self) -> Iterator[Way]:
        """Yield the ways to draw a whole word."""
        yield from self.list_listed(self.marks)
        yield from _list_novel_words(self.syllables, self.novel_share, self.marks, self.side)

    def list_marked(self, char: str) -> Iterator[Way]:
        """Yield the ways to draw a word of the lists with punctuation that holds a character."""
        holding = {mark: weight for mark, weight in _AROUND_A_WORD.items() if char in mark}
        _, *marks = _list_marks(holding, 1.0, self.characters)
        yield from self.list_listed(marks)

    def make_starts(self) -> Bag:
        """Return ends of words that a line starts with."""
        marks = _list_marks(_BEHIND_AN_END, self.punctuation_share, self.characters)
        return Bag(self._list_cut_ways(marks, keep_end=True))

    def make_ends(self) -> Bag:
        """Return beginnings of words that a line ends with."""
        marks = _list_marks(_BEFORE_A_BEGINNING, self.punctuation_share, self.characters)
        return Bag(self._list_cut_ways(marks, keep_end=False))

    def list_listed(self, marks: Sequence[Mark]) -> Iterator[Way]:
        """Yield the ways to draw a word of the lists with one of the marks."""
        for words, share in self.lists:
            by_length: defaultdict[int, list[str]] = defaultdict(list)
            for word in words:
                by_length[len(word)].append(word)
            for length, group in sorted(by_length.items()):
                yield from punctuate(length, share * len(group) / len(words), marks, partial(_pick, group))

    def _list_cut_ways(self, marks: Sequence[Mark], *, keep_end: bool) -> Iterator[Way]:
        """Yield the ways to draw what is left of a word that was cut somewhere inside.

        A length is as frequent as when all words are cut at all places; of one length, each distinct piece is
        as likely as the next.
        """
        for words, share in self.lists:
            cuts: Counter[int] = Counter()
            pieces: defaultdict[int, set[str]] = defaultdict(set)
            for word in words:
                for place in range(1, len(word)):
                    piece = word[place:] if keep_end else word[:place]
                    cuts[len(piece)] += 1
                    pieces[len(piece)].add(piece)
            for length in sorted(pieces):
                if fitting := sorted(filter(self.side.fits, pieces[length])):
                    share_of_length = share * cuts[length] / cuts.total()
                    yield from punctuate(length, share_of_length, marks, partial(_pick, fitting))


def join_words(words: Sequence[str], joint_share: float, random: Random) -> str:
    """Return the words with spaces between them; of the bare ones that share is tied to the next by `·`."""
    if not joint_share or not words:
        return " ".join(words)
    text = words[0]
    for word in words[1:]:
        tied = random() < joint_share and text[-1] not in PUNCTUATION and word[0] not in PUNCTUATION
        text += (JOINT if tied else " ") + word
    return text


def _list_marks(
    weights: dict[tuple[str, str], float], share: float, characters: frozenset[str]
) -> list[Mark]:
    """Return punctuation for that share of words, without what needs a character outside the set."""
    printable = {mark: weight for mark, weight in weights.items() if characters.issuperset("".join(mark))}
    total = sum(printable.values())
    marks = [(before, behind, share * weight / total) for (before, behind), weight in printable.items()]
    return [("", "", 1 - share if marks else 1.0), *marks]


def _list_novel_words(
    syllables: Sequence[str], share: float, marks: Sequence[Mark], side: Side
) -> Iterator[Way]:
    """Yield the ways to draw a word of 1 to 5 random syllables, each syllable as likely as the next."""
    for length, share_of_length in NOVEL_SHARES.items():
        draw = make_novel(syllables, length, side)
        if draw is not None:
            yield from punctuate(length, share * share_of_length, marks, draw)


def punctuate(length: int, share: float, marks: Sequence[Mark], draw: partial[str]) -> Iterator[Way]:
    """Yield the ways to draw a word of that length in its marks."""
    for before, behind, share_of_mark in marks:
        wrapped = partial(_wrap, before, behind, draw) if before or behind else draw
        yield Way(len(before) + length + len(behind), share * share_of_mark, wrapped)


def _wrap(before: str, behind: str, draw: partial[str], random: Random) -> str:
    return before + draw(random) + behind


def _pick(words: Sequence[str], random: Random) -> str:
    return words[int(random() * len(words))]


def make_novel(syllables: Sequence[str], length: int, side: Side) -> partial[str] | None:
    """Return what draws a word of that many random syllables, or None where a side has no such word."""
    candidates = islice(map("".join, product(syllables, repeat=length)), _NOVEL_LIMIT)
    reserve = next(filter(side.fits, candidates), None)
    return None if reserve is None else partial(_draw_novel, syllables, length, side, reserve)


def _draw_novel(syllables: Sequence[str], length: int, side: Side, reserve: str, random: Random) -> str:
    """Return random syllables; the last is the first from a random one on that makes a word of the side."""
    num = len(syllables)
    head = "".join([syllables[int(random() * num)] for _ in range(length - 1)])
    first = int(random() * num)
    candidates = (head + syllables[(first + step) % num] for step in range(num))
    return next(filter(side.fits, candidates), reserve)
