"""Randomness by name and by counter: no global seed, and no draw that depends on the order of another.

``rng`` gives a NumPy generator for a named purpose. ``hashed`` gives one 64-bit word per tuple of counters, and
``uniform`` one number in [0, 1) per tuple, so that edge 17 of item 3 sees the same draw whatever else is drawn: sweep
points are paired, and a larger share reaches a superset of people.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


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
    word = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for counter in counters:
            word = (word ^ np.asarray(counter).astype(np.uint64)) + _GOLDEN
            word = (word ^ (word >> np.uint64(30))) * _MIX_1
            word = (word ^ (word >> np.uint64(27))) * _MIX_2
            word = word ^ (word >> np.uint64(31))
    return np.asarray(word, dtype=np.uint64)


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
    return (hashed(*counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53
