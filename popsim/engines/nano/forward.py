"""A Llama forward pass in plain NumPy: float32, a key/value cache, and rows that do not feel each other.

Activations are kept feature by feature in tiles of 16 columns, shape (tiles, features, 16), a column being a row of a
batch or a token of a prompt, and matrices in blocks of outputs. Every matrix product then has the same shape whatever
the number of columns, and every sum over the past runs chunk by chunk in its order, so that the logits of a row are the
same bits in every batch and at every place in it. The products are also too small for a BLAS to split them among
threads, which for matrices of this size would mostly wait for each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_TILE = 16
_CHUNK = 128
_SMALL = 500_000
_NEVER = np.float32(-np.inf)


class Matrix(NamedTuple):
    """A matrix cut into blocks of outputs.

    Attributes:
        blocks: Shape (blocks, outputs of a block, inputs), the last block filled up with zeros.
        outputs: How many outputs are meant.
    """

    blocks: Floats
    outputs: int

    def times(self, tiles: Floats) -> Floats:
        """Multiply with each column, (tiles, inputs, 16) in and (tiles, outputs, 16) out."""
        made = self.blocks @ tiles[:, None]
        return made.reshape(len(tiles), -1, _TILE)[:, : self.outputs]


def blocked(weight: Floats) -> Matrix:
    """Cut a matrix, shape (outputs, inputs), into blocks whose product with a tile no BLAS gives to several threads.

    Example:
        >>> blocked(np.ones((3, 2), dtype=np.float32)).times(np.ones((1, 2, 16), dtype=np.float32)).shape
        (1, 3, 16)
    """
    outputs, inputs = weight.shape
    count = -(-outputs * inputs * _TILE // _SMALL)
    height = -(-outputs // (8 * count)) * 8
    blocks = np.zeros((-(-outputs // height), height, inputs), dtype=np.float32)
    blocks.reshape(-1, inputs)[:outputs] = weight
    return Matrix(blocks, outputs)


class Layer(NamedTuple):
    """The matrices of one layer; those that follow a norm carry its weight.

    Attributes:
        qkv: Queries, already divided by the root of the head size, keys and values.
        out: What leaves attention.
        gate_up: Gate and up projection of the feed-forward part.
        down: Its down projection.
    """

    qkv: Matrix
    out: Matrix
    gate_up: Matrix
    down: Matrix


@dataclass(frozen=True, eq=False)
class Network:
    """A Llama model as arrays.

    Attributes:
        embedding: Shape (vocabulary, hidden).
        layers: From the first to the last.
        head: From hidden to vocabulary, carrying the weight of the last norm.
        cos: Rotary table, shape (context, head size / 2).
        sin: Rotary table, shape (context, head size / 2).
        heads: Heads of the queries.
        kv_heads: Heads of keys and values.
        epsilon: Added to the mean square in every norm.
    """

    embedding: Floats
    layers: tuple[Layer, ...]
    head: Matrix
    cos: Floats
    sin: Floats
    heads: int
    kv_heads: int
    epsilon: float

    @property
    def vocabulary(self) -> int:
        """Tokens that the model knows."""
        return len(self.embedding)

    @property
    def context(self) -> int:
        """Tokens that the model reads and writes together."""
        return len(self.cos)

    @property
    def head_size(self) -> int:
        """Features of one head."""
        return int(2 * self.cos.shape[1])


class Cache:
    """Keys and values of up to ``slots`` rows, the busy ones in front.

    Args:
        network: Whose keys and values.
        slots: Rows at most.
        length: Tokens of a row at most.

    Attributes:
        lengths: Tokens held by each busy row, in the order of the slots.
    """

    def __init__(self, network: Network, slots: int, length: int) -> None:
        chunks = -(-length // _CHUNK)
        shape = (len(network.layers), slots, network.kv_heads, chunks, _CHUNK, network.head_size)
        self.keys = np.zeros(shape, dtype=np.float32)
        self.values = np.zeros(shape, dtype=np.float32)
        self.unseen = np.full((slots, chunks * _CHUNK), _NEVER)
        self.lengths: list[int] = []

    def repeat(self, count: int) -> None:
        """Copy the only busy row until there are so many."""
        for held in (self.keys, self.values):
            held[:, 1:count] = held[:, :1]
        self.unseen[1:count] = self.unseen[0]
        self.lengths *= count

    def drop(self, slot: int) -> None:
        """Forget a row; the last busy one takes its slot."""
        last = len(self.lengths) - 1
        if slot < last:
            chunks = -(-self.lengths[last] // _CHUNK)
            for held in (self.keys, self.values):
                held[:, slot, :, :chunks] = held[:, last, :, :chunks]
            self.unseen[slot] = self.unseen[last]
            self.lengths[slot] = self.lengths[last]
        self.lengths.pop()


@np.errstate(over="ignore", invalid="ignore")
def prefill(network: Network, ids: Sequence[int], cache: Cache | None = None) -> Floats:
    """Read a prompt, alone, into the first free slot of a cache.

    Args:
        network: The model.
        ids: Token ids, at least one.
        cache: Where keys and values go; into one that is thrown away when None.

    Returns:
        The logits of the next token, shape (vocabulary,).
    """
    cache = cache or Cache(network, 1, len(ids))
    slot, length = len(cache.lengths), len(ids)
    cache.lengths.append(length)
    cache.unseen[slot, :length], cache.unseen[slot, length:] = 0, _NEVER
    positions = np.arange(length)
    width = max(1, _SMALL // (_CHUNK * network.head_size * network.heads // network.kv_heads))
    spans = [slice(start, min(start + width, length)) for start in range(0, length, width)]
    masks = [_hide_later(positions[span]) for span in spans]

    def attend(index: int, query: Floats, key: Floats, value: Floats) -> Floats:
        keys, values = (held[index, slot : slot + 1] for held in (cache.keys, cache.values))
        for held, new in ((keys, key), (values, value)):
            held.reshape(network.kv_heads, -1, network.head_size)[:, :length] = new.swapaxes(0, 1)
        found = np.empty_like(query)
        for span, mask in zip(spans, masks, strict=True):
            chunks = mask.shape[2]
            found[span] = _look_back(query[None, span], keys[:, :, :chunks], values[:, :, :chunks], mask)[0]
        return found

    state = _run(network, ids, positions, attend)
    logits: Floats = _rows(network.head.times(_tiled(_rows(state, length)[-1:])), 1)[0]
    return logits


@np.errstate(over="ignore", invalid="ignore")
def step(network: Network, ids: Sequence[int], cache: Cache) -> Floats:
    """Read one more token of every row in the cache.

    Args:
        network: The model.
        ids: The token of each busy slot, in their order.
        cache: Grows by these tokens.

    Returns:
        The logits of the next tokens, shape (rows, vocabulary).
    """
    count = len(ids)
    rows, positions = np.arange(count), np.array(cache.lengths)
    cache.unseen[rows, positions] = 0
    cache.lengths = [length + 1 for length in cache.lengths]
    places = rows, slice(None), positions // _CHUNK, positions % _CHUNK
    chunks = int(positions.max()) // _CHUNK + 1
    mask = cache.unseen[:count, : chunks * _CHUNK].reshape(count, 1, chunks, _CHUNK, 1, 1)

    def attend(index: int, query: Floats, key: Floats, value: Floats) -> Floats:
        keys, values = cache.keys[index], cache.values[index]
        keys[places], values[places] = key, value
        return _look_back(query[:, None], keys[:count, :, :chunks], values[:count, :, :chunks], mask)[:, 0]

    return _rows(network.head.times(_run(network, ids, positions, attend)), count)


def is_steady(network: Network) -> bool:
    """Whether this machine's matrix products give a row the same bits at every place in a step.

    Args:
        network: The model.
    """

    def stepped(ids: list[int]) -> Floats:
        cache = Cache(network, len(ids), 2)
        for token in ids:
            prefill(network, [token], cache)
        return step(network, ids, cache)

    alone = [stepped([token])[0] for token in (0, 1)]
    together = stepped([slot % 2 for slot in range(2 * _TILE + 1)])
    return all(np.array_equal(alone[slot % 2], row, equal_nan=True) for slot, row in enumerate(together))


def _run(
    network: Network,
    ids: Sequence[int],
    positions: NDArray[np.integer],
    attend: Callable[[int, Floats, Floats, Floats], Floats],
) -> Floats:
    """Take tokens through all layers and the last norm, shape (tiles, hidden, 16).

    Args:
        network: The model.
        ids: One token a column.
        positions: Where each stands in its row.
        attend: Given a layer's number and queries, keys and values, each (columns, heads, head size), remembers the
            latter two and returns what the queries find, shaped as they are.
    """
    count, heads = len(ids), network.heads
    cos, sin = (_tiled(table[positions])[:, None] for table in (network.cos, network.sin))
    state = np.ascontiguousarray(_tiled(network.embedding[np.asarray(ids)]))
    for index, layer in enumerate(network.layers):
        made = layer.qkv.times(_normed(network, state)).reshape(len(state), -1, network.head_size, _TILE)
        _rotate(made[:, : heads + network.kv_heads], cos, sin)
        query, key, value = np.split(_rows(made, count), [heads, heads + network.kv_heads], axis=1)
        state += layer.out.times(_tiled(attend(index, query, key, value).reshape(count, -1)))
        gate, up = np.split(layer.gate_up.times(_normed(network, state)), 2, axis=1)
        slope = np.exp(-gate)
        slope += 1
        gate /= slope
        gate *= up
        state += layer.down.times(gate)
    return _normed(network, state)


def _rotate(heads: Floats, cos: Floats, sin: Floats) -> None:
    """Turn pairs of features by their positions, in place; shape (tiles, heads, head size, 16)."""
    half = heads.shape[2] // 2
    low, high = heads[:, :, :half], heads[:, :, half:]
    old = low.copy()
    low *= cos
    low -= high * sin
    high *= cos
    old *= sin
    high += old


def _look_back(query: Floats, keys: Floats, values: Floats, unseen: Floats) -> Floats:
    """Attend from some tokens of each row to its past.

    Args:
        query: Shape (rows, tokens, heads, head size).
        keys: Shape (rows, key heads, chunks, 128, head size).
        values: The same shape.
        unseen: 0, or minus infinity for what a token must not see; (rows, 1, chunks, 128, tokens, 1).

    Returns:
        The shape of the queries.
    """
    rows, kv_heads, chunks, _, size = keys.shape
    tokens, heads = query.shape[1:3]
    asked = query.reshape(rows, tokens, kv_heads, -1, size).swapaxes(1, 2).reshape(rows, kv_heads, 1, -1, size)
    scores = keys @ asked.swapaxes(-1, -2)
    apart = scores.reshape(rows, kv_heads, chunks, _CHUNK, tokens, -1)
    apart += unseen
    scores -= scores.max((2, 3), keepdims=True)
    np.exp(scores, out=scores)
    found = _added(np.matmul(scores.swapaxes(-1, -2), values))
    found /= _added(scores.sum(3))[..., None]
    return found.reshape(rows, kv_heads, tokens, -1, size).swapaxes(1, 2).reshape(rows, tokens, heads, size)


def _added(chunks: Floats) -> Floats:
    """Sum over the third axis in its order, so that chunks of zeros at the end change nothing."""
    total = chunks[:, :, 0]
    for index in range(1, chunks.shape[2]):
        total += chunks[:, :, index]
    return total


def _hide_later(positions: NDArray[np.integer]) -> Floats:
    """Make the mask of `_look_back` for consecutive tokens of one row."""
    chunks = int(positions[-1]) // _CHUNK + 1
    later = np.arange(chunks * _CHUNK)[:, None] > positions
    return np.where(later, _NEVER, np.float32(0)).reshape(1, 1, chunks, _CHUNK, -1, 1)


def _normed(network: Network, state: Floats) -> Floats:
    """Divide each column by its root mean square."""
    scale = np.square(state).sum(1, keepdims=True)
    scale /= np.float32(state.shape[1])
    scale += np.float32(network.epsilon)
    np.sqrt(scale, out=scale)
    normed: Floats = state / scale
    return normed


def _tiled(rows: Floats) -> Floats:
    """Lay rows, shape (rows, features), into tiles, (tiles, features, 16), the last one filled up with zeros."""
    tiles = np.zeros((-(-len(rows) // _TILE) * _TILE, rows.shape[1]), dtype=np.float32)
    tiles[: len(rows)] = rows
    return tiles.reshape(-1, _TILE, rows.shape[1]).swapaxes(1, 2)


def _rows(tiles: Floats, count: int) -> Floats:
    """Take the first rows out of tiles: (tiles, ..., 16) in, (rows, ...) out."""
    rows = np.moveaxis(tiles, -1, 1)
    return rows.reshape(-1, *rows.shape[2:])[:count]
