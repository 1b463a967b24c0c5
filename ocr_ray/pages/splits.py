"""Problems dealt to the splits: all pages of a group of problems go to the same one.

A group are the problems that differ only in numbers and white space, because a model that has learnt a
problem recognises the same problem with other numbers. Hashes deal the groups, so that a group stays where it
is when pages are added. With few groups, or groups of unequal size, this can miss the shares; then the groups
are dealt anew, so that the shares are met as nearly as the groups allow.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from ocr_ray.text.numbers import mask_numbers

NEAR_SHARE = 0.25
"""How far the smaller split may be from its number of pages, as a share of it."""
MAX_MOVED_GROUPS = 2_000
"""Groups that are dealt anew, the largest ones; the others stay where their hashes put them."""
MAX_SUM_BITS = 2**31
"""Pages times groups that are dealt anew, fewer of millions of pages: the sums take 256 MB."""

Keys = npt.NDArray[np.uint64]
Sizes = npt.NDArray[np.int64]


def problem_key(problem_markup: str, seed: int) -> int:
    """Return the hash of a problem's group, keyed by `seed`: 64 bits, equal for problems of one group.

    Numbers are masked and white space is removed before hashing.
    """
    masked = mask_numbers(problem_markup)
    digest = hashlib.blake2b(masked.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little")


def choose_validation(keys: Keys, sizes: Sizes, validation_share: float) -> Keys:
    """Return the keys of the groups in validation, ascending.

    `keys` are those of all groups, ascending and different; `sizes` their numbers of pages, which can be 0.
    Validation are the groups whose key is below `validation_share` of all keys, if that gives about the share
    of the pages. Otherwise groups are exchanged so that no other choice is nearer to it. With a share between
    0 and 1 no split is empty, if at least two groups have pages.
    """
    if not 0 <= validation_share <= 1:
        raise ValueError(f"validation_share must be from 0 to 1, got {validation_share}")
    by_hash = (keys >> np.uint64(11)) / 2.0**53 < validation_share  # 53 bits: exact as a float, below 1
    total = int(sizes.sum())
    target = validation_share * total
    near = NEAR_SHARE * min(target, total - target)
    number = int(sizes[by_hash].sum())
    if validation_share in (0, 1) or (abs(number - target) <= near and 0 < number < total):
        return keys[by_hash]
    num_movable = min(MAX_MOVED_GROUPS, MAX_SUM_BITS // max(total, 1), np.count_nonzero(sizes))
    movable = np.sort(np.argsort(-sizes, kind="stable")[:num_movable])
    chosen = by_hash.copy()
    chosen[movable] = False
    rest = int(sizes[chosen].sum())
    for index in _choose_sum(
        sizes[movable].tolist(), target - rest, least=int(rest == 0), total=total - rest
    ):
        chosen[movable[index]] = True
    return keys[chosen]


def _choose_sum(sizes: list[int], target: float, *, least: int, total: int) -> list[int]:
    """Return the indices of sizes whose sum is nearest to `target`; of equal choices, the first sizes.

    The sum is from `least` to below `total` if any choice allows.
    """
    sums = [1]  # bit n of sums[i]: some of the first i sizes have the sum n
    for size in sizes:
        sums.append(sums[-1] | sums[-1] << size)
    possible = [number for number, bit in enumerate(reversed(f"{sums[-1]:b}")) if bit == "1"]
    inside = [number for number in possible if least <= number < total] or possible
    left = min(inside, key=lambda number: abs(number - target))
    chosen = []
    for index in reversed(range(len(sizes))):
        if not sums[index] >> left & 1:
            chosen.append(index)
            left -= sizes[index]
    return chosen
