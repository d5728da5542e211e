r"""Coalitions of features, and the Shapley values of a game from the values of some.

A game $v$ gives every coalition $S$ of $n$ features a number. Features outside of it
are taken away. A coalition is a mask: one row, `True` where a feature belongs to it.
The functions here make the masks, and make Shapley values of what a model says of them.
Differences are taken before sums, so a feature that changes nothing gets exactly 0.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer
from jaxinterp.keys import each_folded, folded, steady
from jaxinterp.types import Key

# Which value of pairs of features.
Interaction = Literal["shapley", "shapley_taylor"]

# So many features make 65536 coalitions.
MOST_FEATURES = 16


def all_coalitions(features: int) -> np.ndarray:
    """Returns every coalition of some features, as masks.

    Args:
        features: the number $n$ of features, 16 at most.

    Returns:
        Booleans $(2^n, n)$; feature `i` belongs to row `r` if bit `i` of `r` is 1.

    Raises:
        ValueError: if there are more than 16 features, or none.

    Example:
        >>> all_coalitions(2).astype(int).tolist()
        [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    features = checked_integer("features", features, 1, call="all_coalitions")
    if features > MOST_FEATURES:
        raise ValueError(
            f"{features} features have 2^{features} coalitions, and at most "
            f"{MOST_FEATURES} features are taken all at once. Draw permutations."
        )
    rows = np.arange(2**features)[:, None]
    return (rows >> np.arange(features)[None] & 1).astype(bool)


def size_weights(features: int) -> np.ndarray:
    r"""Returns what the gain of a feature counts for each size of what it joins.

    Args:
        features: the number $n$ of features.

    Returns:
        $|S|!\,(n - |S| - 1)! / n!$ for $|S|$ from 0 to $n - 1$.

    Example:
        >>> (6 * size_weights(3)).round(6).tolist()
        [2.0, 1.0, 2.0]
    """
    return np.array(
        [1 / (features * math.comb(features - 1, s)) for s in range(features)]
    )


def shapley_of_all(values: Any) -> jax.Array:
    r"""Returns Shapley values from the values of every coalition.

    $$\phi_i = \sum_{S \not\ni i} \frac{|S|!\,(n - |S| - 1)!}{n!}\,(v(S \cup \{i\}) -
    v(S))$$

    Args:
        values: the value of each coalition, $(2^n, ...)$, in the order of
            `all_coalitions`.

    Returns:
        An array $(n, ...)$; its sum over features is the value of all of them minus
        that of none.

    Example:
        >>> shapley_of_all(jnp.array([0.0, 1.0, 1.0, 4.0])).tolist()
        [2.0, 2.0]

    References:
        Shapley, 1953 [shapley1953value].
    """
    values = jnp.asarray(values)
    features = len(values).bit_length() - 1
    of_size = size_weights(features)
    rest = values.shape[1:]

    def of_feature(i: int) -> Any:
        # Bit `i` of a coalition's number is an axis of its own.
        pairs = values.reshape(2 ** (features - 1 - i), 2, 2**i, *rest)
        gains = (pairs[:, 1] - pairs[:, 0]).reshape(2 ** (features - 1), *rest)
        others = all_coalitions(features - 1).sum(1) if features > 1 else np.zeros(1)
        weights = of_size[others.astype(int)].reshape(-1, *[1] * len(rest))
        return (gains * jnp.asarray(weights, gains.dtype)).sum(0)

    return jnp.stack([of_feature(i) for i in range(features)])


def interactions_of_all(values: Any, index: Interaction = "shapley") -> jax.Array:
    r"""Returns the shares of pairs of features from the values of every coalition.

    $$I_{ij} = \sum_{S \not\ni i, j} w_{|S|}\,(v(S \cup \{i, j\}) - v(S \cup \{i\}) -
    v(S \cup \{j\}) + v(S))$$

    An entry off the diagonal is $I_{ij} / 2$, one on the diagonal what is left of the
    Shapley value: a row adds up to that.

    Args:
        values: the value of each coalition, $(2^n, ...)$, in the order of
            `all_coalitions`.
        index: `"shapley"` for $w_s = s!\,(n - s - 2)! / (n - 1)!$, or
            `"shapley_taylor"` for $w_s = 2\,s!\,(n - s - 1)! / n!$.

    Returns:
        A symmetric array $(n, n, ...)$.

    Example:
        >>> interactions_of_all(jnp.array([0.0, 1.0, 1.0, 4.0])).tolist()
        [[1.0, 1.0], [1.0, 1.0]]

    References:
        Grabisch and Roubens, 1999, the Shapley interaction index
        [grabisch1999axiomatic]; Sundararajan et al., 2020 [sundararajan2020shapley].
    """
    values = jnp.asarray(values)
    n = len(values).bit_length() - 1
    alone = shapley_of_all(values)
    if n == 1:
        return alone[None]
    of_size = [1 / ((n - 1) * math.comb(n - 2, s)) for s in range(n - 1)]
    if index == "shapley_taylor":
        of_size = [2 / (n * math.comb(n - 1, s)) for s in range(n - 1)]
    sizes = all_coalitions(n - 2).sum(1) if n > 2 else np.zeros(1, int)
    weights = np.array(of_size)[sizes].reshape(-1, *[1] * (values.ndim - 1))

    def of_pair(pair: tuple[Any, Any]) -> Any:
        rows = jnp.arange(2 ** (n - 2))
        for feature in pair:  # a bit of zero is put in, the lower one first
            low = rows & (1 << feature) - 1
            rows = ((rows ^ low) << 1) | low
        first, second = (1 << feature for feature in pair)
        with_second = values[rows | first | second] - values[rows | second]
        gains = with_second - (values[rows | first] - values[rows])
        return (gains * jnp.asarray(weights, gains.dtype)).sum(0) / 2

    first, second = np.triu_indices(n, 1)
    shares = jax.lax.map(of_pair, (jnp.asarray(first), jnp.asarray(second)))
    matrix = jnp.zeros((n, *alone.shape), shares.dtype)
    matrix = matrix.at[first, second].set(shares).at[second, first].set(shares)
    rest = alone - matrix.sum(1)
    return matrix.at[np.arange(n), np.arange(n)].set(rest)


def kernel_coalitions(key: Key, features: int, count: int) -> jax.Array:
    r"""Returns coalitions drawn by the Shapley kernel, each followed by its complement.

    The size $k$ is drawn with a probability in proportion to $1 / (k (n - k))$, and the
    members of a size evenly.

    Args:
        key: the random key; the i-th pair depends on `fold_in(key, i)` alone.
        features: the number of features $n$, two at least.
        count: the number of coalitions.

    Returns:
        Booleans `(count, features)`.

    Raises:
        ValueError: if there are fewer than two features, or no coalition.

    References:
        Covert and Lee, 2021 [covert2021improving].

    Example:
        >>> kernel_coalitions(jax.random.key(0), 5, 4).sum(0).tolist()
        [2, 2, 2, 2, 2]
    """
    features = checked_integer("features", features, 2, call="kernel_coalitions")
    count = checked_integer("count", count, 1, call="kernel_coalitions")
    sizes = np.arange(1, features)
    odds = np.cumsum(1 / (sizes * (features - sizes)))
    bounds = jnp.asarray(odds / odds[-1], jnp.float32)

    def pair(key: Key) -> jax.Array:
        for_size, for_order = jax.random.split(key)
        draw = jax.random.uniform(for_size, (), jnp.float32)
        size = 1 + jnp.sum(draw >= bounds[:-1])
        is_in = jax.random.permutation(for_order, features) < size
        return jnp.stack([is_in, ~is_in])

    keys = each_folded(steady(key), jnp.arange(-(-count // 2)))
    return jax.vmap(pair)(keys).reshape(-1, features)[:count]


def antithetic_permutations(
    key: Key, features: int, count: int, hierarchy: Any = ()
) -> jax.Array:
    """Returns random orders of features in pairs, of which one is the other reversed.

    Args:
        key: the random key; pair `i` depends on `fold_in(key, i)` alone.
        features: the number of features.
        count: the number of orders; the last has no partner if it is odd.
        hierarchy: the group of every feature at each level, `(levels, features)`,
            coarse to fine; the features of a group follow one another.

    Returns:
        Integers `(count, features)`.

    Raises:
        ValueError: if a number is not positive.

    Example:
        >>> orders = antithetic_permutations(jax.random.key(0), 3, 2)
        >>> orders[0].tolist() == orders[1, ::-1].tolist()
        True

    References:
        Mitchell et al., 2022, antithetic sampling [mitchell2022sampling].
    """
    call = "antithetic_permutations"
    features = checked_integer("features", features, 1, call=call)
    count = checked_integer("count", count, 1, call=call)
    keys = each_folded(steady(key), jnp.arange(-(-count // 2)))

    def shuffled(key: Key, count: int) -> jax.Array:
        return jax.random.permutation(key, jnp.arange(count, dtype=jnp.int32))

    def order(key: Key) -> jax.Array:
        alone = shuffled(key, features)
        if not len(hierarchy):
            return alone
        places = [
            shuffled(folded(key, level), int(groups.max()) + 1)[groups]
            for level, groups in enumerate(hierarchy)
        ]
        return jnp.lexsort([jnp.argsort(alone), *places[::-1]])

    orders = jax.vmap(order)(keys)
    pairs = jnp.stack([orders, orders[:, ::-1]], axis=1)
    return pairs.reshape(-1, features)[:count]


def prefixes(orders: Any) -> jax.Array:
    """Returns the coalitions that grow by one feature after another, as masks.

    Args:
        orders: the orders in which features join, `(orders, features)`.

    Returns:
        Booleans `(2 + orders * (features - 1), features)`: no feature, all features,
        and of each order the first feature, the first two, and so on.

    Example:
        >>> prefixes(jnp.array([[1, 0]])).astype(int).tolist()
        [[0, 0], [1, 1], [0, 1]]
    """
    features = orders.shape[1]
    ranks = jnp.argsort(orders, axis=1)
    sizes = jnp.arange(1, features)[None, :, None]
    masks = (ranks[:, None, :] < sizes).reshape(-1, features)
    ends = jnp.stack([jnp.zeros(features, bool), jnp.ones(features, bool)])
    return jnp.concatenate([ends, masks])


def shapley_of_prefixes(values: Any, orders: Any) -> jax.Array:
    r"""Returns estimates of Shapley values from coalitions that grow.

    $$\phi_i = \frac1m \sum_\pi v(\{\pi_1, ..., i\}) - v(\{\pi_1, ..., i\} \setminus
    \{i\})$$

    They add up to the value of all features minus that of none for any number $m$ of
    orders $\pi$. If no more than two features interact, one antithetic pair is exact.

    Args:
        values: the value of each coalition of `prefixes(orders)`, `(coalitions, ...)`.
        orders: the orders in which features join, `(orders, features)`.

    Returns:
        An array `(features, ...)`.

    Example:
        >>> orders = jnp.array([[0, 1], [1, 0]])
        >>> shapley_of_prefixes(jnp.array([0.0, 4.0, 1.0, 1.0]), orders).tolist()
        [2.0, 2.0]

    References:
        Castro et al., 2009, ApproShapley [castro2009polynomial].
    """
    values = jnp.asarray(values)
    count, features = orders.shape
    rest = values.shape[1:]
    inner = values[2:].reshape(count, features - 1, *rest)
    none, every = (jnp.broadcast_to(v, (count, 1, *rest)) for v in values[:2])
    gains = jnp.diff(jnp.concatenate([none, inner, every], axis=1), axis=1)
    ranks = jnp.argsort(orders, axis=1).reshape(count, features, *[1] * len(rest))
    return jnp.take_along_axis(gains, ranks, axis=1).mean(0)
