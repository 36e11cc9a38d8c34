"""Rows that belong together because they share something, directly or through others: connected components."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components


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
