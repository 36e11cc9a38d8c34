"""Clusters of texts that are equal or nearly so: Jaccard similarity of character 5-grams, through MinHash.

Source: Broder, On the resemblance and containment of documents, 1997; bands as in Leskovec et al., Mining of
Massive Datasets, ch. 3.4, http://www.mmds.org. Signatures by the library datasketch. A pair that shares a band is
verified by its exact similarity, and clusters are the connected components of such pairs.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pipeline.artifacts import Table

SHINGLE = 5
N_PERMUTATIONS = 64
RECALL = 0.999
CHUNK_CHARACTERS = 1 << 19
PIECE = 1 << 16
# Members of a bucket are compared with this many next ones: all pairs of a usual bucket, linear for boilerplate.
WINDOW = 64
HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x2A6DF))
MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 1], np.uint64)


def normalise(text: str) -> str:
    """Return a text as it is compared: NFKC, case folded, white space collapsed, traditional characters simplified.

    >>> normalise("  Ｈello \\n WORLD "), normalise("頭髮")
    ('hello world', '头发')
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded if folded.isascii() else folded.translate(_simplified())


@cache
def _simplified() -> dict[int, str]:
    """Return the simplified character of each traditional one; phrases, which differ by region, are left alone."""
    from opencc import OpenCC

    characters = [chr(code) for first, last in HAN for code in range(first, last + 1)]
    converted = OpenCC("t2s").convert("\n".join(characters)).split("\n")
    return {ord(one): other for one, other in zip(characters, converted, strict=True) if one != other}


def encode(texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return int codes and the distinct texts in sorted order: codes do not depend on the order of rows."""
    encoded = pc.dictionary_encode(texts)
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    return rank[encoded.indices.to_numpy()], encoded.dictionary.take(order)


def cluster_texts(texts: pa.Array, *, similarity: float | None, n_jobs: int = 1) -> np.ndarray:
    """Return a cluster number per text, int64 of shape (texts,), independent of the order of the texts.

    Args:
        texts: strings without nulls, for pairs both texts with a newline between.
        similarity: Jaccard similarity in (0, 1] from which two texts belong together. None, and texts shorter than
            a shingle, join equal ones only. "Equal" is after `normalise`.
        n_jobs: processes that compute signatures.

    >>> texts = pa.array(["Good morning to you all", "good  morning to you all!", "rain"])
    >>> cluster_texts(texts, similarity=0.8).tolist()
    [0, 0, 1]
    """
    codes, distinct = encode(_normalised(texts))
    if similarity is None or len(distinct) < 2:
        return codes
    lengths = pc.utf8_length(distinct).to_numpy(zero_copy_only=False)
    component = np.arange(len(distinct))
    for long, ends, _ in _buckets(distinct, lengths, similarity, n_jobs=n_jobs, by="text"):
        for pairs in _in_windows(long, long, np.arange(1, len(long) + 1), ends):
            pairs = pairs[:, component[pairs[0]] != component[pairs[1]]]
            component = _join(component, _verified(pairs, distinct, lengths, similarity))
    return np.unique(component, return_inverse=True)[1][codes]


def near_pairs(texts: pa.Array, others: pa.Array, *, similarity: float | None, n_jobs: int = 1) -> np.ndarray:
    """Return the pairs (place in texts, place in others) that belong together, int64 (2, P), in ascending order.

    Equal ones are always found, all of them: of a text that stands m times here and n times there, m x n pairs. Of near
    ones as few are missed as by `cluster_texts`; a text of which very many others are near is given some of those.

    Args:
        texts: strings without nulls.
        others: strings without nulls.
        similarity: Jaccard similarity in (0, 1] from which two texts belong together. None, and texts shorter than
            a shingle, pair equal ones only. "Equal" is after `normalise`.
        n_jobs: processes that compute signatures.

    >>> texts, others = pa.array(["Rain", "Good morning to you all!"]), pa.array(["good morning to you all", "ｒain "])
    >>> near_pairs(texts, others, similarity=0.8).tolist()
    [[0, 1], [1, 0]]
    """
    parts = [_normalised(texts), _normalised(others)]
    codes, distinct = encode(pa.chunked_array(parts, pa.large_string()).combine_chunks())
    left, right = codes[: len(texts)], codes[len(texts) :]
    equal = np.intersect1d(left, right)
    found = np.stack([equal, equal])
    if similarity is not None and len(left) and len(right):
        lengths = pc.utf8_length(distinct).to_numpy(zero_copy_only=False)
        sides = np.isin(np.arange(len(distinct)), left), np.isin(np.arange(len(distinct)), right)
        buckets = _buckets(distinct, lengths, similarity, n_jobs=n_jobs, by="next_band")
        candidates = _across(buckets, *sides)
        found = np.concatenate([found, _verified(candidates, distinct, lengths, similarity)], axis=1)
    return _places(found, left, right)


def row_texts(rows: pd.DataFrame) -> pa.Array:
    """Return what rows are compared by: the text, for pairs followed by a newline and the second text."""
    columns = (pa.array(rows[column], pa.large_string()) for column in ("text", "text_pair"))
    texts, pairs = (c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns)
    if pairs.null_count == len(pairs):
        return texts
    return pc.binary_join_element_wise(texts, pc.fill_null(pairs, ""), pa.scalar("\n", pa.large_string()))


def cluster_rows(table: Table, *, similarity: float | None, n_jobs: int = 1) -> pd.DataFrame:
    """Return `task, split, row_id, cluster` of all rows; clusters span a task's training and test rows."""
    clusters = table.rows[["task", "split", "row_id"]].assign(cluster=np.int64(0))
    for task in table.labels:
        own = table.rows["task"] == task
        texts = row_texts(table.rows[own])
        clusters.loc[own, "cluster"] = cluster_texts(texts, similarity=similarity, n_jobs=n_jobs)
    return clusters


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
    component = _join(np.arange(offset), np.concatenate(links, axis=1))
    return np.unique(component[:n_rows], return_inverse=True)[1]


def _join(component: np.ndarray, pairs: np.ndarray) -> np.ndarray:
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


def _rows_per_band(similarity: float) -> int:
    """Return the longest band of which a pair at the similarity still shares one, but for one pair in 1000."""
    rows = [r for r in range(1, 17) if 1 - (1 - similarity**r) ** (N_PERMUTATIONS // r) >= RECALL]
    return max(rows, default=1)


def _buckets(
    texts: pa.Array, lengths: np.ndarray, similarity: float, *, n_jobs: int, by: Literal["text", "next_band"]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield per band the places of texts that have shingles, those that share a bucket together.

    Within a bucket they stand in the order of the texts, or those together that share the next band too. With them come
    where the bucket of each ends and begins in that order.
    """
    long = np.flatnonzero(lengths >= SHINGLE)
    keys = _band_keys(texts.take(pa.array(long)), _rows_per_band(similarity), n_jobs=n_jobs)
    n_bands = keys.shape[1]
    for band in range(n_bands):
        within = (keys[:, (band + 1) % n_bands],) if by == "next_band" else ()
        order = np.lexsort((*within, keys[:, band]))
        ordered = keys[order, band]
        yield long[order], np.searchsorted(ordered, ordered, "right"), np.searchsorted(ordered, ordered, "left")


def _in_windows(left: np.ndarray, right: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs (2, P) of each left one with those right ones from its begin to its end, WINDOW of them at most."""
    for shift in range(WINDOW):
        inside = begins + shift < ends
        if not inside.any():
            return
        yield np.stack([left[inside], right[begins[inside] + shift]])


def _across(
    buckets: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], in_left: np.ndarray, in_right: np.ndarray
) -> np.ndarray:
    """Return the different pairs (2, P) of texts of the left side and others of the right side that share a bucket.

    Of a bucket with more than WINDOW right ones a left one is paired with those that are nearest in order.
    """
    found = np.empty(0, np.int64)
    for order, ends, begins in buckets:
        n_right = np.append(0, np.cumsum(in_right[order]))  # right ones before each place
        places = np.flatnonzero(in_left[order])
        first, last = n_right[begins[places]], n_right[ends[places]]
        nearest = np.clip(n_right[places] - WINDOW // 2, first, np.maximum(first, last - WINDOW))
        windows = _in_windows(order[places], order[in_right[order]], nearest, last)
        numbers = [(left * len(in_left) + right)[left != right] for left, right in windows]
        ordered = np.sort(np.concatenate([found, *numbers]))  # numpy's unique, by hashes, took ten times as long
        found = ordered[np.diff(ordered, prepend=-1) > 0]
    return np.stack(np.divmod(found, len(in_left)))


def _places(pairs: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the places, ascending, at which the codes of each pair stand on the two sides."""
    orders = [np.argsort(codes, kind="stable") for codes in (left, right)]
    begins, ends = (
        [
            np.searchsorted(codes[order], wanted, side)
            for codes, order, wanted in zip((left, right), orders, pairs, strict=True)
        ]
        for side in ("left", "right")
    )
    n_left, n_right = (end - begin for begin, end in zip(begins, ends, strict=True))
    n_pairs = n_left * n_right
    number = np.arange(n_pairs.sum()) - np.repeat(np.cumsum(n_pairs) - n_pairs, n_pairs)  # of a place pair in its pair
    at = np.divmod(number, np.repeat(n_right, n_pairs))
    found = np.stack([order[np.repeat(begin, n_pairs) + a] for order, begin, a in zip(orders, begins, at, strict=True)])
    return found[:, np.lexsort(found[::-1])].astype(np.int64)


def _normalised(texts: pa.Array) -> pa.Array:
    chunks = [[normalise(text) for text in chunk] for chunk in _chunks(texts)]
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


def _band_keys(texts: pa.Array, rows_per_band: int, *, n_jobs: int) -> np.ndarray:
    """Return a hash for each band of each MinHash signature, uint64 of shape (texts, bands)."""
    from joblib import Parallel, delayed

    if not len(texts):
        return np.empty((0, N_PERMUTATIONS // rows_per_band), np.uint64)
    sign = delayed(_chunk_keys)
    return np.concatenate(Parallel(n_jobs=n_jobs)(sign(chunk, rows_per_band) for chunk in _chunks(texts)))


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
    return np.stack([_mixed(signatures[:, band : band + rows_per_band]) for band in bands], axis=1)


def _verified(pairs: np.ndarray, texts: pa.Array, lengths: np.ndarray, similarity: float) -> np.ndarray:
    """Return the pairs whose Jaccard similarity of shingles reaches the threshold."""
    if not pairs.shape[1]:
        return pairs
    part = np.cumsum(lengths[pairs].sum(axis=0)) // CHUNK_CHARACTERS
    parts = np.split(pairs, np.flatnonzero(np.diff(part)) + 1, axis=1)
    return np.concatenate([p[:, _jaccard(p, texts) >= similarity] for p in parts], axis=1)


def _jaccard(pairs: np.ndarray, texts: pa.Array) -> np.ndarray:
    involved, places = np.unique(pairs, return_inverse=True)
    left, right = places.reshape(pairs.shape)
    hashes, offsets = _shingles(texts.take(pa.array(involved)).to_pylist())
    columns = pd.factorize(hashes)[0]
    sets = csr_array((np.ones(len(hashes), np.int64), columns, offsets))
    sets.sum_duplicates()
    sets.data[:] = 1
    sizes = np.diff(sets.indptr)
    shared = np.asarray(sets[left].multiply(sets[right]).sum(axis=1)).ravel()
    return shared / (sizes[left] + sizes[right] - shared)
