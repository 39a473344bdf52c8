"""Randomness by name and by counter: no global seed, and no draw that depends on the order of another.

``rng`` gives a NumPy generator for a named purpose. ``hashed`` gives one 64-bit word per tuple of counters, and
``uniform`` one number in [0, 1) per tuple, so that edge 17 of item 3 sees the same draw whatever else is drawn: sweep
points are paired, and a larger share reaches a superset of people.
"""

import hashlib
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN, _MIX_1, _MIX_2, _SHIFT_1, _SHIFT_2, _SHIFT_3, _SHIFT_DOUBLE = (
    np.array(word, dtype=np.uint64)
    for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 30, 27, 31, 11)
)
_WORD = (1 << 64) - 1


def stream(name: str) -> int:
    """Turn the name of a purpose into a 63-bit integer, the same on every machine.

    Example:
        >>> stream("network") == stream("network"), stream("network") == stream("people")
        (True, False)
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") >> 1


def rng(seed: int, name: str) -> np.random.Generator:
    """Make the generator of one purpose of one run.

    Args:
        seed: The run's seed, zero or positive.
        name: The purpose, for example ``"people"``.

    Example:
        >>> bool(rng(1, "people").random() == rng(1, "people").random())
        True
    """
    return np.random.default_rng([seed, stream(name)])


def hashed(*counters: ArrayLike) -> NDArray[np.uint64]:
    """Hash tuples of integer counters to 64-bit words (SplitMix64, Steele, Lea and Flood 2014, chained).

    Args:
        counters: Integers or integer arrays that broadcast against each other.

    Returns:
        Words of the broadcast shape; changing any counter changes about half of the bits.

    Example:
        >>> hashed(1, [2, 3]).shape
        (2,)
    """
    plain = next((k for k, counter in enumerate(counters) if not isinstance(counter, int)), len(counters))
    start = 0
    for counter in counters[:plain]:
        start = _mix_int(start ^ cast(int, counter))
    word = np.array(start, dtype=np.uint64)
    for counter in counters[plain:]:
        word = np.array(word ^ np.asarray(counter).astype(np.uint64))
        word += _GOLDEN
        word ^= word >> _SHIFT_1
        word *= _MIX_1
        word ^= word >> _SHIFT_2
        word *= _MIX_2
        word ^= word >> _SHIFT_3
    return word


def _mix_int(word: int) -> int:
    """Mix one word as Python integers, which for a single number takes a tenth of NumPy's time."""
    word = (word + int(_GOLDEN)) & _WORD
    word = ((word ^ (word >> 30)) * int(_MIX_1)) & _WORD
    word = ((word ^ (word >> 27)) * int(_MIX_2)) & _WORD
    return word ^ (word >> 31)


def uniform(*counters: ArrayLike) -> NDArray[np.float64]:
    """Draw one number in [0, 1) per tuple of counters.

    Args:
        counters: As for `hashed`.

    Returns:
        Doubles of the broadcast shape with 53 random bits each.

    Example:
        >>> bool((uniform(7, range(1000)) < 1.0).all())
        True
    """
    return (hashed(*counters) >> _SHIFT_DOUBLE).astype(np.float64) * 2.0**-53
