"""The split of a problem, by its text alone, so that what is learnt of it is not asked again."""

import hashlib
import re
import unicodedata

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SPACE = re.compile(r"\s+")


def split_of_problem(problem_markup: str, seed: int, validation_share: float) -> str:
    """Return `train` or `validation`, by a hash of the problem's text keyed by `seed`.

    Numbers are masked and white space is dropped before hashing: problems that differ only in numbers would
    otherwise be learnt in one split and recognised in the other. A greater `validation_share` keeps what
    validation had.
    """
    if not 0 <= validation_share <= 1:
        raise ValueError(f"validation_share must be from 0 to 1, got {validation_share}")
    masked = _SPACE.sub("", _NUMBER.sub("0", unicodedata.normalize("NFC", problem_markup)))
    digest = hashlib.blake2b(masked.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    share = (int.from_bytes(digest, "little") >> 11) / 2**53  # 53 bits: exact as a float, always below 1
    return "validation" if share < validation_share else "train"
