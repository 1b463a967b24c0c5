"""Words that hold what a model misreads: those of the lists that do, and made-up ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain, product
from typing import NamedTuple

from ocr_ray.text.hangul import is_hangul_syllable
from ocr_ray.textgen.arithmetic.operations import Random
from ocr_ray.textgen.exact_length import Bag, Draw, Way, choose
from ocr_ray.textgen.holdout import Side
from ocr_ray.textgen.words import JOINT, NOVEL_SHARES, PUNCTUATION, Vocabulary, make_novel, punctuate

Members = tuple[str, ...]
"""The one or two characters of a confusion that lines can hold, in code point order."""

JOINTS = {" ": 3, JOINT: 2}
"""What stands between words, and how many short words a token has that is to show it."""


def make_focused_words(vocabulary: Vocabulary, shares: Mapping[Members, float], word_limit: float) -> Bag:
    """Return words of which the given shares are to hold one of the characters, or both; the rest as ever.

    They take the place of words of the lists, which `shares` must not exceed; random syllables keep their
    share. No word of the lists gets more than `word_limit` on top of its usual share.
    """
    focused = list(_list_focused(vocabulary, shares, word_limit))
    listed = sum(share for _, share in vocabulary.lists)
    left = 1 - sum(way.share for way in focused) / listed if listed else 1.0
    usual = replace(vocabulary, lists=tuple((words, share * left) for words, share in vocabulary.lists))
    return Bag((*usual.list_words(), *focused))


def _list_focused(
    vocabulary: Vocabulary, shares: Mapping[Members, float], word_limit: float
) -> Iterator[Way]:
    """Yield the ways to draw a focused word.

    Of two syllables a third of the words holds both side by side, a third each the one and the other.
    """
    pairs, singles = _divide(shares)
    marked = {char: share for char, share in singles.items() if char in PUNCTUATION and char != JOINT}
    listed = sum(share for _, share in vocabulary.lists)
    for char, share in marked.items():
        for way in vocabulary.list_marked(char):
            yield way._replace(share=way.share * share / listed)
    for char, num_words in JOINTS.items():
        if char in singles:
            yield from _list_joined(vocabulary, char, num_words, singles[char])
    letters = {char: share for char, share in singles.items() if char not in PUNCTUATION and char != " "}
    words, lacking = _weigh_words(vocabulary, letters, word_limit)
    yield from _list_weighted(words, vocabulary)
    syllables: dict[Members, float] = {
        (char,): share for char, share in lacking.items() if is_hangul_syllable(char)
    }
    yield from _list_made_up(syllables, vocabulary)
    yield from _list_made_up(pairs, vocabulary)


def _divide(shares: Mapping[Members, float]) -> tuple[dict[Members, float], dict[str, float]]:
    """Return the shares of words for both syllables of a confusion, and for each character alone."""
    pairs: dict[Members, float] = {}
    singles: dict[str, float] = {}
    for members, share in shares.items():
        if len(members) > 1 and all(map(is_hangul_syllable, members)):
            pairs[members] = share / 3
            share -= pairs[members]
        for char in members:
            singles[char] = singles.get(char, 0.0) + share / len(members)
    return pairs, singles


def _weigh_words(
    vocabulary: Vocabulary, letters: Mapping[str, float], limit: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the shares of words of the lists that hold the letters, and what each letter lacks then.

    The words that hold a letter share it evenly.
    """
    holding: dict[str, list[str]] = {char: [] for char in letters}
    for word in sorted(set(chain.from_iterable(words for words, _ in vocabulary.lists))):
        for char in letters.keys() & set(word):
            holding[char].append(word)
    wanted: dict[str, float] = {}
    for char, words in holding.items():
        for word in words:
            wanted[word] = wanted.get(word, 0.0) + letters[char] / len(words)
    granted = {word: min(1.0, limit / share) for word, share in wanted.items()}
    lacking = {
        char: share - sum(share / len(holding[char]) * granted[word] for word in holding[char])
        for char, share in letters.items()
    }
    return {word: share * granted[word] for word, share in wanted.items()}, lacking


def _list_weighted(shares: Mapping[str, float], vocabulary: Vocabulary) -> Iterator[Way]:
    """Yield the ways to draw words by their shares, with punctuation as often as any word."""
    for length in sorted(set(map(len, shares))):
        words = tuple(word for word in shares if len(word) == length)
        shares_so_far = tuple(accumulate(shares[word] for word in words))
        draw = partial(_pick_weighted, words, shares_so_far)
        yield from punctuate(length, shares_so_far[-1], vocabulary.marks, draw)


def _list_made_up(shares: Mapping[Members, float], vocabulary: Vocabulary) -> Iterator[Way]:
    """Yield the ways to draw words of random syllables around the members, all of as many syllables.

    At least one syllable of a word is random, so that no word comes often.
    """
    if not shares:
        return
    blocks = tuple(map("".join, shares))
    made_up = _MadeUp(blocks, tuple(accumulate(shares.values())), vocabulary.syllables, vocabulary.side)
    lengths = {length: share for length, share in NOVEL_SHARES.items() if length > len(blocks[0])}
    for length, share in lengths.items():
        novel = make_novel(made_up.syllables, length, made_up.side)
        if novel is not None:
            share_of_length = made_up.shares_so_far[-1] * share / sum(lengths.values())
            yield from punctuate(
                length, share_of_length, vocabulary.marks, partial(made_up.draw, length, novel)
            )


class _MadeUp(NamedTuple):
    """Words of random syllables, each with one of the blocks in it."""

    blocks: tuple[str, ...]
    shares_so_far: tuple[float, ...]
    syllables: tuple[str, ...]
    side: Side

    def draw(self, length: int, novel: Draw, random: Random) -> str:
        """Return a word with a block, in either order, anywhere in it; where a side has none, a novel one."""
        block, num = self.blocks[choose(self.shares_so_far, random)], len(self.syllables)
        block = block if random() < 0.5 else block[::-1]
        num_free = length - len(block)
        place = int(random() * (num_free + 1))
        others = [self.syllables[int(random() * num)] for _ in range(num_free - 1)]
        first = int(random() * num)
        for step in range(num):
            free = [self.syllables[(first + step) % num], *others]
            word = "".join([*free[:place], block, *free[place:]])
            if self.side.fits(word):
                return word
        return novel(random)


def _list_joined(vocabulary: Vocabulary, joint: str, num_words: int, share: float) -> Iterator[Way]:
    """Yield the ways to draw short words of random syllables with a joint or a space between them."""
    novel = {length: make_novel(vocabulary.syllables, length, vocabulary.side) for length in (1, 2)}
    drawable = {length: draw for length, draw in novel.items() if draw is not None}
    choices = list(product(drawable, repeat=num_words))
    for lengths in choices:
        draw = partial(_draw_joined, joint, [drawable[length] for length in lengths])
        yield Way(sum(lengths) + len(lengths) - 1, share / len(choices), draw)


def _pick_weighted(words: Sequence[str], shares_so_far: Sequence[float], random: Random) -> str:
    return words[choose(shares_so_far, random)]


def _draw_joined(joint: str, draws: Sequence[Draw], random: Random) -> str:
    return joint.join([draw(random) for draw in draws])
