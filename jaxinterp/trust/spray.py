r"""`spray`: the strategies by which a model decides, as clusters of explanations.

$r_i$ is the relevance of item $i$: summed over channels, made coarse, and divided by
the sum of its absolute values. $A_{ij}$ says whether $j$ is one of the $k$ items
nearest to $i$, without $i$ itself,

$$W = \tfrac12 (A + A^\top), \qquad L = I - D^{-1/2} W D^{-1/2}, \qquad
  D_{ii} = \textstyle\sum_j W_{ij}.$$

So many of the eigenvalues $\lambda_1 \le \lambda_2 \le \dots$ of $L$ are 0 as the graph
has parts that are not connected, and those near 0 are of clusters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.csgraph
import scipy.sparse.linalg

from jaxinterp.checks import check_outside, checked_integer, shown
from jaxinterp.keys import check_key
from jaxinterp.types import Key

# So many items have all their eigenvalues computed; of more only the smallest are.
DENSE = 5000
# So many strategies are looked for at most.
MOST_STRATEGIES = 10


class Spray(NamedTuple):
    r"""The clusters of the explanations of one class.

    Where all items have the same relevance there is nothing to be clustered: then
    numbers are NaN, there are 0 strategies, and all labels are -1.

    Attributes:
        eigenvalues: the smallest eigenvalues $\lambda$ of the graph, in [0, 2].
        n_strategies: the number of clusters, the $i \le 10$ behind which the gap
            $\lambda_{i+1} - \lambda_i$ is largest.
        gap: this gap.
        labels: the cluster of each item, `(items,)`; cluster 0 is the largest.
        medoids: the item of each cluster whose relevance is nearest to the mean of it.
        embedding: the items as rows of unit length of the first eigenvectors, `(items,
            n_strategies)`.
        separability: the variance between clusters divided by that inside of them,
            $\mathrm{tr} S_B / \mathrm{tr} S_W$ in the embedding; NaN for one cluster,
            infinite if clusters are points.
        silhouette: the mean silhouette in the embedding, in [-1, 1]; NaN for one.
    """

    eigenvalues: np.ndarray
    n_strategies: int
    gap: float
    labels: np.ndarray
    medoids: np.ndarray
    embedding: np.ndarray
    separability: float
    silhouette: float


def spray(
    attributions: Any,
    *,
    key: Key,
    pool: int = 16,
    neighbors: int = 10,
    eigenvalues: int = 32,
) -> Spray:
    """Clusters the explanations of one class by spectral relevance analysis.

    Give the attributions of *one class*, by any method, for items of the training set
    that the model gets right: an artefact lies there. A model that looks at the object
    in some images and at a watermark in the others has two strategies. Relevance is
    compared pixel by pixel, so only what is always at the same place is found; and a
    cluster is a question, not an answer: ask `artifact_effect` what the thing does.
    An artefact that *all* items have makes no cluster of its own.

    Cost: all distances between items, and the eigenvalues of a matrix of their number,
    all of them up to 5,000 items.

    Args:
        attributions: the relevance of each item: of images `(items, height, width,
            channels)`; of other inputs `(items, features)`, or with channels last.
        key: the random key of the clustering.
        pool: images are made coarse by means, to at most so many pixels a side.
        neighbors: how many nearest items each one is connected to, at most all others.
        eigenvalues: how many eigenvalues are computed, at most all but one.

    Returns:
        A `Spray`.

    Raises:
        ValueError: if there are fewer than three items, one of them has no finite
            relevance, or a number is too small.
        TypeError: if there is no key, if attributions are no array of real numbers, or
            inside of `jax.jit`.

    References:
        Lapuschkin et al., 2019, on spectral relevance analysis
        [lapuschkin2019unmasking]; Ng, Jordan and Weiss, 2001 (rows of unit length)
        [ng2001spectral].

    Example:
        >>> left, right = np.eye(4)[np.array([0] * 9 + [1] * 6)], np.arange(15)
        >>> result = spray(left + 0.01 * np.sin(right)[:, None], key=jax.random.key(0),
        ...                neighbors=5)
        >>> result.n_strategies, result.labels.tolist()
        (2, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    """
    check_outside("spray", "returns numbers to read", attributions)
    check_key("spray", key)
    pool = checked_integer("pool", pool, 1, call="spray")
    neighbors = checked_integer("neighbors", neighbors, 1, call="spray")
    eigenvalues = checked_integer("eigenvalues", eigenvalues, 2, call="spray")
    rows = relevance_rows(attributions, pool)
    if (rows == rows[:1]).all():
        return _not_analyzable(len(rows))
    # Imported here, since importing scikit-learn takes a second.
    from sklearn.cluster import KMeans

    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    affinity = _affinity(rows, min(neighbors, len(rows) - 1))
    count = min(eigenvalues, len(rows) - 1)
    values, vectors = _smallest(affinity, count, seed)
    gaps = np.diff(values)[:MOST_STRATEGIES]
    n_strategies = int(gaps.argmax()) + 1
    lengths = np.linalg.norm(vectors[:, :n_strategies], axis=1, keepdims=True)
    embedding = vectors[:, :n_strategies] / np.where(lengths > 0, lengths, 1)
    labels = np.zeros(len(rows), int)
    if n_strategies > 1:
        n_init: Any = 10  # its stub knows the word "auto" alone
        means = KMeans(n_strategies, n_init=n_init, random_state=seed)
        labels = _largest_first(means.fit_predict(embedding))
    medoids = np.array([_medoid(rows, labels == i) for i in range(labels.max() + 1)])
    return Spray(
        values,
        n_strategies,
        float(gaps.max()),
        labels,
        medoids,
        embedding,
        *_separation(embedding, labels),
    )


def relevance_rows(attributions: Any, pool: int) -> np.ndarray:
    """Returns the relevance of each item in one row, whose absolute values add up to 1.

    A row of zeros stays one.

    Args:
        attributions: the relevance of each item, with the items on the first axis.
        pool: the largest number of pixels of each side of an image.

    Raises:
        TypeError: if it is no array of real numbers.
        ValueError: if there are fewer than three items, or one is not finite.
    """
    if not jax.tree_util.all_leaves([attributions]) or np.iscomplexobj(attributions):
        raise TypeError(
            "spray: attributions are one array of real numbers, (items, ...), and are "
            f"{shown(attributions)}."
        )
    values = np.asarray(attributions, np.float64)
    if values.ndim < 2 or len(values) < 3:
        raise ValueError(
            "spray: clusters are of three items at least, (items, ...), and the "
            f"attributions have shape {values.shape}."
        )
    is_finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not is_finite.all():
        raise ValueError(
            f"spray: the relevance of item {is_finite.argmin()} (and "
            f"{(~is_finite).sum() - 1} others) is not finite.\nLeave them out, "
            "`attributions[jnp.isfinite(attributions).all((1, 2, 3))]`."
        )
    if values.ndim > 2:
        values = values.sum(axis=-1)
    if values.ndim == 3:
        for axis in (1, 2):
            values = _coarse(values, pool, axis)
    rows = values.reshape(len(values), -1)
    sizes = np.abs(rows).sum(axis=1, keepdims=True)
    return rows / np.where(sizes > 0, sizes, 1)


def _coarse(values: np.ndarray, pool: int, axis: int) -> np.ndarray:
    """Means over stretches of one axis, of as equal lengths as can be."""
    size = values.shape[axis]
    if size <= pool:
        return values
    starts = np.arange(pool) * size // pool
    lengths = np.diff([*starts, size]).reshape(-1, *[1] * (values.ndim - 1 - axis))
    return np.add.reduceat(values, starts, axis=axis) / lengths


def _affinity(rows: np.ndarray, neighbors: int) -> Any:
    """The graph of nearest items, made symmetric."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=neighbors, algorithm="brute").fit(rows)
    # Without an argument no item is its own neighbor, not even if it has a copy.
    graph = nearest.kneighbors_graph()
    return (graph + graph.T) / 2


def _smallest(affinity: Any, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest eigenvalues of the normalized Laplacian, and their vectors."""
    degrees = np.asarray(affinity.sum(axis=1)).ravel()
    root = scipy.sparse.diags_array(1 / np.sqrt(degrees))
    values, vectors = _spectrum((root @ affinity @ root).tocsr(), count, seed)
    return np.clip(values, 0, 2), vectors


def _spectrum(similar: Any, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest eigenvalues of 1 - similar, part by part if there are many items.

    Iterations miss eigenvalues that are there several times, as 0 is in a graph of
    several parts; in each part it is there once.
    """
    n_items = similar.shape[0]
    if n_items <= DENSE:
        laplacian = np.eye(n_items) - similar.toarray()
        last = min(count, n_items) - 1
        return scipy.linalg.eigh(laplacian, subset_by_index=(0, last))
    n_parts, part = scipy.sparse.csgraph.connected_components(similar, directed=False)
    if n_parts == 1:
        # The largest by value: the largest by size may be negative.
        start = np.random.default_rng(seed).normal(size=n_items)
        largest, vectors = scipy.sparse.linalg.eigsh(
            similar, min(count, n_items - 1), which="LA", v0=start
        )
        return 1 - largest[::-1], vectors[:, ::-1]
    values, vectors = np.zeros(0), np.zeros((n_items, 0))
    for number in range(n_parts):
        inside = np.flatnonzero(part == number)
        own, columns = _spectrum(similar[inside][:, inside], count, seed)
        whole = np.zeros((n_items, len(own)))
        whole[inside] = columns
        values = np.concatenate([values, own])
        vectors = np.concatenate([vectors, whole], axis=1)
        order = np.argsort(values, stable=True)[:count]
        values, vectors = values[order], vectors[:, order]
    return values, vectors


def _largest_first(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered by their sizes; of equal ones the first item's."""
    names, first, counts = np.unique(labels, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    numbers = np.empty(len(names), int)
    numbers[order] = np.arange(len(names))
    return numbers[np.searchsorted(names, labels)]


def _medoid(rows: np.ndarray, is_inside: np.ndarray) -> int:
    """The item of a cluster that is nearest to its mean."""
    distances = ((rows - rows[is_inside].mean(axis=0)) ** 2).sum(axis=1)
    return int(np.where(is_inside, distances, np.inf).argmin())


def _separation(embedding: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Fisher's ratio of variances, and the mean silhouette."""
    names = np.unique(labels)
    if len(names) < 2:
        return np.nan, np.nan
    from sklearn.metrics import silhouette_score

    groups = [embedding[labels == name] for name in names]
    center = embedding.mean(axis=0)
    between = sum(len(g) * ((g.mean(axis=0) - center) ** 2).sum() for g in groups)
    within = sum(((g - g.mean(axis=0)) ** 2).sum() for g in groups)
    is_defined = len(names) < len(labels)
    silhouette = float(silhouette_score(embedding, labels)) if is_defined else np.nan
    return float(between / within) if within > 0 else np.inf, silhouette


def _not_analyzable(n_items: int) -> Spray:
    """What is said of items that all have the same relevance."""
    none = np.full(n_items, -1)
    nothing = np.full((n_items, 0), np.nan)
    empty = np.zeros(0, int)
    return Spray(np.full(1, np.nan), 0, np.nan, none, empty, nothing, np.nan, np.nan)
