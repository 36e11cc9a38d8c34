"""Clusters of texts that are equal or nearly so: Jaccard similarity of character 5-grams, through MinHash.

Source: Broder, On the resemblance and containment of documents, 1997; bands as in Leskovec et al., Mining of
Massive Datasets, ch. 3.4, http://www.mmds.org. Signatures by the library datasketch. A pair that shares a band is
verified by its exact similarity, and clusters are the connected components of such pairs.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pipeline.text.normalising import normalise

SHINGLE = 5
N_PERMUTATIONS = 64
RECALL = 0.999
CHUNK_CHARACTERS = 1 << 19
PIECE = 1 << 16
# Members of a bucket are compared with this many next ones: all pairs of a usual bucket, linear for boilerplate.
WINDOW = 64
MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 1], np.uint64)


def encode(texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return int codes and the distinct texts in sorted order: codes do not depend on the order of rows."""
    encoded = pc.dictionary_encode(texts)
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    return rank[encoded.indices.to_numpy()], encoded.dictionary.take(order)


def cluster_texts(texts: pa.Array, *, similarity: float | None) -> np.ndarray:
    """Return a cluster number per text, int64 of shape (texts,), independent of the order of the texts.

    The texts are strings without nulls, for pairs both with a newline between. From a Jaccard `similarity` in (0, 1] on,
    two belong together. None, and texts shorter than a shingle, join equal ones only. "Equal" is after `normalise`.

    >>> texts = pa.array(["Good morning to you all", "good  morning to you all!", "rain"])
    >>> cluster_texts(texts, similarity=0.8).tolist()
    [0, 0, 1]
    """
    codes, distinct = encode(_normalised(texts))
    if similarity is None or len(distinct) < 2:
        return codes
    component = np.arange(len(distinct))
    long, keys = _band_keys(distinct, similarity)
    for band in keys.T:
        order = np.argsort(band, kind="stable")
        places, ends = long[order], np.searchsorted(band[order], band[order], "right")
        for pairs in _in_windows(places, places, np.arange(1, len(places) + 1), ends):
            pairs = pairs[:, component[pairs[0]] != component[pairs[1]]]
            component = join(component, _verified(pairs, distinct, similarity))
    return np.unique(component, return_inverse=True)[1][codes]


def near_pairs(texts: pa.Array, others: pa.Array, *, similarity: float | None) -> np.ndarray:
    """Return the pairs (place in texts, place in others) that belong together, int64 (2, P), in ascending order.

    Equal ones are always found, all of them: of a text that stands m times here and n times there, m x n pairs. Of near
    ones as few are missed as by `cluster_texts`; a text of which very many others are near is given some of those. Memory
    grows with the others and the pairs alone. Texts and `similarity` are as for `cluster_texts`.

    >>> texts, others = pa.array(["Rain", "Good morning to you all!"]), pa.array(["good morning to you all", "ｒain "])
    >>> near_pairs(texts, others, similarity=0.8).tolist()
    [[0, 1], [1, 0]]
    """
    near = NearTexts(others, similarity=similarity)
    pairs, n_before = [np.empty((2, 0), np.int64)], 0
    for chunk in _chunks(texts):
        pairs.append(near.pairs(chunk) + np.array([[n_before], [0]]))
        n_before += len(chunk)
    return np.concatenate(pairs, axis=1)


class NearTexts:
    """Texts in which others look for those that are equal or near, in parts: `near_pairs` says what is found."""

    def __init__(self, texts: pa.Array, *, similarity: float | None) -> None:
        self.similarity = similarity
        self.codes, self.distinct = encode(_normalised(texts))
        hashes = hash_texts(self.distinct)
        self.by_hash = np.argsort(hashes).astype(np.int32)
        self.hashes = hashes[self.by_hash]
        self.orders: list[np.ndarray] = []
        if similarity is not None:
            self.long, self.keys = _band_keys(self.distinct, similarity)
            for band, keys in enumerate(self.keys.T):
                following = self.keys[:, (band + 1) % self.keys.shape[1]]
                # Within a bucket those stand together that share the next band too.
                self.orders.append(np.lexsort((following, keys)).astype(np.int32))

    def pairs(self, texts: Sequence[str]) -> np.ndarray:
        """Return the pairs (place in texts, place in those of the class) that belong together, int64 (2, P), ascending."""
        codes, distinct = encode(pa.array(list(map(normalise, texts)), pa.large_string()))
        equal = self._equal(distinct)
        pairs = np.stack([np.flatnonzero(equal >= 0), equal[equal >= 0]])
        if self.similarity is not None:
            left, right = self._candidates(distinct, self.similarity)
            unequal = equal[left] != right
            candidates = np.stack([left[unequal], right[unequal] + len(distinct)])
            near = _verified(candidates, pa.chunked_array([distinct, self.distinct]), self.similarity)
            pairs = np.concatenate([pairs, near - np.array([[0], [len(distinct)]])], axis=1)
        return _places(pairs, codes, self.codes)

    def _equal(self, texts: pa.Array) -> np.ndarray:
        """Return the place of each normalised text in the distinct ones, or -1."""
        hashes = hash_texts(texts)
        first, last = (np.searchsorted(self.hashes, hashes, side) for side in ("left", "right"))
        places = np.full(len(texts), -1, np.int64)
        for pairs in _in_windows(np.arange(len(texts)), self.by_hash, first, last):
            left, right = (side.take(pa.array(at)) for side, at in zip((texts, self.distinct), pairs, strict=True))
            same = pc.equal(left, right).to_numpy(zero_copy_only=False)
            places[pairs[0, same]] = pairs[1, same]
        return places

    def _candidates(self, texts: pa.Array, similarity: float) -> np.ndarray:
        """Return the different pairs (2, P) that share a bucket, of one with more than WINDOW those nearest in order."""
        long, keys = _band_keys(texts, similarity)
        numbers = [np.empty(0, np.int64)]
        for band, order in enumerate(self.orders):
            following = (band + 1) % len(self.orders)
            in_order = self.keys[order, band]
            begins, ends = (np.searchsorted(in_order, keys[:, band], side) for side in ("left", "right"))
            for text in np.flatnonzero(ends - begins > WINDOW):
                bucket = self.keys[order[begins[text] : ends[text]], following]
                nearest = np.searchsorted(bucket, keys[text, following]) - WINDOW // 2
                begins[text] += np.clip(nearest, 0, len(bucket) - WINDOW)
            windows = _in_windows(long, self.long[order], begins, ends)
            numbers += [left * len(self.distinct) + right for left, right in windows]
        ordered = np.sort(np.concatenate(numbers))  # numpy's unique, by hashes, took ten times as long
        return np.stack(np.divmod(ordered[np.diff(ordered, prepend=-1) > 0], max(1, len(self.distinct))))


def connect(*keys: np.ndarray) -> np.ndarray:
    """Return the connected component of each row; rows that share a value (>= 0) in any of the arrays are linked.

    >>> connect(np.array([0, 0, 1, 2]), np.array([-1, 5, 5, -1])).tolist()
    [0, 0, 0, 1]
    """
    n_rows = len(keys[0])
    links, offset = [], n_rows
    for key in keys:
        rows = np.flatnonzero(key >= 0)
        links.append(np.stack([rows, key[rows] + offset]))
        offset += int(key.max(initial=-1)) + 1
    component = join(np.arange(offset), np.concatenate(links, axis=1))
    return np.unique(component[:n_rows], return_inverse=True)[1]


def join(component: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the components after linking pairs of rows; only components that a pair touches cost anything."""
    if not pairs.shape[1]:
        return component
    touched, places = np.unique(component[pairs], return_inverse=True)
    left, right = places.reshape(pairs.shape)
    graph = csr_array((np.ones(len(left), np.int8), (left, right)), shape=(len(touched), len(touched)))
    merged = connected_components(graph, directed=False)[1]
    renamed = np.arange(int(component.max()) + 1)
    renamed[touched] = touched[np.unique(merged, return_index=True)[1]][merged]
    return renamed[component]


def hash_texts(texts: pa.Array) -> np.ndarray:
    """Return a 64-bit hash of each text: among a million, two agree by chance once in 10 million runs."""
    hashes = [pd.util.hash_array(np.array(chunk, dtype=object), categorize=False) for chunk in _chunks(texts)]
    return np.concatenate([np.empty(0, np.uint64), *hashes])


def row_texts(rows: pd.DataFrame) -> pa.Array:
    """Return what rows are compared by: the text, of a pair both with a newline between, in either order the same."""
    columns = (pa.array(rows[column], pa.large_string()) for column in ("text", "text_pair"))
    texts, pairs = (c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns)
    if pairs.null_count == len(pairs):
        return texts
    swapped = [isinstance(b, str) and normalise(b) < normalise(a) for a, b in rows[["text", "text_pair"]].to_numpy()]
    ordered = [pc.if_else(pa.array(swapped), *either) for either in ((pairs, texts), (texts, pairs))]
    return pc.binary_join_element_wise(*ordered, pa.scalar("\n", pa.large_string()), null_handling="skip")


def _rows_per_band(similarity: float) -> int:
    """Return the longest band of which a pair at the similarity still shares one, but for one pair in 1000."""
    rows = [r for r in range(1, 17) if 1 - (1 - similarity**r) ** (N_PERMUTATIONS // r) >= RECALL]
    return max(rows, default=1)


def _in_windows(left: np.ndarray, right: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs (2, P) of each left one with those right ones from its begin to its end, WINDOW of them at most."""
    for shift in range(WINDOW):
        inside = begins + shift < ends
        if not inside.any():
            return
        yield np.stack([left[inside], right[begins[inside] + shift]])


def _places(pairs: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the places, ascending, at which the codes of each pair stand on the two sides."""
    orders = [np.argsort(codes, kind="stable") for codes in (left, right)]
    ordered = [codes[order] for codes, order in zip((left, right), orders, strict=True)]
    begins = [np.searchsorted(codes, values) for codes, values in zip(ordered, pairs, strict=True)]
    ends = [np.searchsorted(codes, values, "right") for codes, values in zip(ordered, pairs, strict=True)]
    n_left, n_right = (end - begin for begin, end in zip(begins, ends, strict=True))
    n_pairs = n_left * n_right
    number = np.arange(n_pairs.sum()) - np.repeat(np.cumsum(n_pairs) - n_pairs, n_pairs)  # of a place pair in its pair
    at = np.divmod(number, np.repeat(n_right, n_pairs))
    places = np.stack(
        [order[np.repeat(begin, n_pairs) + a] for order, begin, a in zip(orders, begins, at, strict=True)]
    )
    return places[:, np.lexsort(places[::-1])].astype(np.int64)


def _normalised(texts: pa.Array) -> pa.Array:
    chunks = [pa.array(list(map(normalise, chunk)), pa.large_string()) for chunk in _chunks(texts)]  # no list of all
    return pa.chunked_array(chunks, pa.large_string()).combine_chunks()


def _chunks(texts: pa.Array) -> Iterator[list[str]]:
    """Yield lists of texts of bounded total length."""
    lengths = np.cumsum(pc.utf8_length(texts).to_numpy(zero_copy_only=False) + 1)
    start = 0
    while start < len(texts):
        done = lengths[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(lengths, done + CHUNK_CHARACTERS)))
        yield texts.slice(start, stop - start).to_pylist()
        start = stop


def _shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return 64-bit hashes of the 5-grams of texts of five characters or more, and where each text's begin."""
    lengths = np.array([len(text) for text in texts], np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    counts = lengths - SHINGLE + 1
    offsets = np.append(0, np.cumsum(counts))
    first = np.append(0, np.cumsum(lengths)[:-1])
    at = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], counts)
    return _mixed(np.lib.stride_tricks.sliding_window_view(codes, SHINGLE))[at], offsets


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return one 64-bit hash per row of integers (the finalizer of MurmurHash3 after each column)."""
    mixed = np.zeros(len(values), np.uint64)
    for column in range(values.shape[1]):
        mixed = (mixed ^ values[:, column].astype(np.uint64)) * MULTIPLIERS[column % 4]
        mixed ^= mixed >> np.uint64(32)
    return (mixed * MULTIPLIERS[0]) ^ (mixed >> np.uint64(29))


def _band_keys(texts: pa.Array, similarity: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of texts that have shingles, and a hash of each band of their signatures, uint32 (texts, bands)."""
    rows_per_band = _rows_per_band(similarity)
    long = np.flatnonzero(pc.utf8_length(texts).to_numpy() >= SHINGLE)
    shingled = ([text for text in chunk if len(text) >= SHINGLE] for chunk in _chunks(texts))
    keys = [_chunk_keys(chunk, rows_per_band) for chunk in shingled if chunk]
    return long, np.concatenate([np.empty((0, N_PERMUTATIONS // rows_per_band), np.uint32), *keys])


def _chunk_keys(texts: list[str], rows_per_band: int) -> np.ndarray:
    from datasketch import MinHash

    hashes, offsets = _shingles(texts)
    # A text of megabytes is signed in pieces (the minimum of minima): its permutations would fill the memory.
    n_pieces = -(-np.diff(offsets) // PIECE)
    begins = [at for a, b in pairwise(offsets) for at in range(a, b, PIECE)]
    short = (hashes >> np.uint64(32)).astype(np.uint32)
    pieces = (short[a:b].tolist() for a, b in pairwise([*begins, len(short)]))
    signed = MinHash.generator(pieces, num_perm=N_PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")
    signatures = np.stack([minhash.hashvalues for minhash in signed])
    signatures = np.minimum.reduceat(signatures, np.append(0, np.cumsum(n_pieces)[:-1]), axis=0)
    bands = np.arange(N_PERMUTATIONS // rows_per_band) * rows_per_band
    mixed = [_mixed(signatures[:, band : band + rows_per_band]) for band in bands]
    return (np.stack(mixed, axis=1) >> np.uint64(32)).astype(np.uint32)


def _verified(pairs: np.ndarray, texts: pa.Array | pa.ChunkedArray, similarity: float) -> np.ndarray:
    """Return the pairs whose Jaccard similarity of shingles reaches the threshold."""
    if not pairs.shape[1]:
        return pairs
    involved, places = np.unique(pairs, return_inverse=True)
    lengths = pc.utf8_length(texts.take(pa.array(involved))).to_numpy()[places.reshape(pairs.shape)]
    part = np.cumsum(lengths.sum(axis=0)) // CHUNK_CHARACTERS
    parts = np.split(pairs, np.flatnonzero(np.diff(part)) + 1, axis=1)
    return np.concatenate([p[:, _jaccard(p, texts) >= similarity] for p in parts], axis=1)


def _jaccard(pairs: np.ndarray, texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    involved, (left, right) = np.unique(pairs, return_inverse=True)
    hashes, offsets = _shingles(texts.take(pa.array(involved)).to_pylist())
    columns = pd.factorize(hashes)[0]
    sets = csr_array((np.ones(len(hashes), np.int64), columns, offsets))
    sets.sum_duplicates()
    sets.data[:] = 1
    sizes = np.diff(sets.indptr)
    shared = np.asarray(sets[left].multiply(sets[right]).sum(axis=1)).ravel()
    return shared / (sizes[left] + sizes[right] - shared)
