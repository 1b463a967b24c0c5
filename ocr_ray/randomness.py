"""Random numbers that depend only on a seed, the name of a stream and a number.

A Philox generator (Salmon et al., SC 2011, "Parallel random numbers: as easy as 1, 2, 3") is a keyed
function of a counter: line 2,999,999 can be drawn without drawing the lines before it.
"""

import hashlib
from functools import cache

import numpy as np

MAX_SEED = 2**63 - 1


def check_seed(seed: int) -> None:
    """Raise ValueError unless a seed is in [0, 2**63)."""
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be from 0 to {MAX_SEED}, got {seed}")


@cache
def _stream_key(stream: str) -> int:
    return int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")


def keyed_generator(seed: int, stream: str, number: int) -> np.random.Generator:
    """Return the random generator of a number in a stream, e.g. `keyed_generator(7, "text", 700_000_000)`.

    Streams and numbers are independent of each other, with 2**128 blocks per number. `seed` and `number` are
    in [0, 2**63).
    """
    return np.random.Generator(
        np.random.Philox(
            key=np.array([seed, _stream_key(stream)], dtype=np.uint64),
            counter=np.array([0, 0, number, 0], dtype=np.uint64),
        )
    )
