"""Slow readers in plain Python solve the tasks by the truth, and not without it."""

import collections
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.data import dyck, evidence, induction, mislabeled, modular_addition

KEY = jax.random.key(11)
COUNT = 100


def as_numpy(data):
    return jax.tree.map(np.asarray, data)


def read_evidence(tokens):
    """The class after the marker, found from the left; `None` if it says none."""
    for here, after in itertools.pairwise(tokens):
        if here == 0:
            return after - 1
    return None


@pytest.mark.parametrize("repeats", [0, 1, 2])
def test_the_label_is_read_after_the_marker(repeats):
    data = as_numpy(evidence(KEY, COUNT, repeats=repeats))
    assert [read_evidence(row) for row in data.tokens] == data.labels.tolist()
    rows = np.arange(COUNT)
    np.testing.assert_array_equal(data.tokens[rows, data.position], 1 + data.labels)
    assert ((data.tokens == 0).sum(1) == 1).all()
    np.testing.assert_array_equal(data.mask.sum(1), 2)
    assert data.mask[rows, data.position].all()
    assert data.mask[rows, data.position - 1].all()


def test_another_token_at_the_evidence_changes_the_label_and_elsewhere_does_not():
    data = as_numpy(evidence(KEY, 20))
    for tokens, label, position in zip(*data, strict=True):
        for place, other in np.ndindex(len(tokens), 4):
            changed = tokens.copy()
            if changed[place] == 0:
                continue
            changed[place] = 1 + other
            expected = other if place == position else label
            assert read_evidence(changed) == expected


@pytest.mark.parametrize("repeats", [1, 2])
def test_counting_tells_nothing(repeats):
    data = as_numpy(evidence(KEY, COUNT, repeats=repeats))
    for value in range(1, 5):
        np.testing.assert_array_equal((data.tokens == value).sum(1), repeats)
    assert data.tokens.max() < 1 + 4 + 8


def test_only_the_evidence_is_left_without_repeats():
    data = as_numpy(evidence(KEY, COUNT, repeats=0))
    says_a_class = (data.tokens > 0) & (data.tokens <= 4)
    np.testing.assert_array_equal(says_a_class.argmax(1), data.position)
    np.testing.assert_array_equal(says_a_class.sum(1), 1)


def test_evidence_stands_anywhere_and_classes_are_equally_likely():
    data = as_numpy(evidence(jax.random.key(0), 2048))
    places = np.bincount(data.position, minlength=24)
    assert places[0] == 0
    for counts in (places[1:], np.bincount(data.labels)):
        rate = 1 / len(counts)
        bound = 4 * np.sqrt(rate * (1 - rate) / 2048)
        assert np.abs(counts / 2048 - rate).max() < bound


def test_the_copied_token_is_where_attend_says():
    data = as_numpy(induction(KEY, COUNT))
    for tokens, labels, attend in zip(*data, strict=True):
        np.testing.assert_array_equal(labels[:-1], tokens[1:])
        for t in range(len(tokens)):
            seen = np.flatnonzero(tokens[:t] == tokens[t])
            # A token that occurred before is followed by what followed it then, unless
            # the copy is over: its last token is followed by something new.
            is_last = attend[t] < 0 and seen.size
            expected = seen[0] + 1 if seen.size and not is_last else -1
            assert attend[t] == expected
            if attend[t] >= 0:
                assert tokens[attend[t]] == labels[t] == tokens[t + 1]
    np.testing.assert_array_equal(data.mask.sum(1), 11)
    assert data.tokens.max() < 64


def test_tokens_occur_twice_in_the_copies_alone():
    data = as_numpy(induction(KEY, COUNT))
    for tokens in data.tokens:
        counts = collections.Counter(tokens.tolist())
        assert sorted(counts.values()) == [1] * 8 + [2] * 12


def test_no_fixed_distance_helps():
    data = as_numpy(induction(jax.random.key(0), 256))
    here = np.arange(32)[None, :]
    distances = (here - data.attend)[data.mask]
    assert set(distances) == set(range(11, 20))


def test_the_smallest_sizes_still_fix_neither_the_offset_nor_the_last_token():
    sizes = {"length": 9, "repeated": 4, "vocabulary": 6}
    data = as_numpy(induction(jax.random.key(0), 256, **sizes))
    distances = (np.arange(9)[None, :] - data.attend)[data.mask]
    assert set(distances) == {3, 4}
    ordered = [tuple(dict.fromkeys(row)) for row in data.tokens.tolist()]
    last = {}
    for *known, final in ordered:
        assert len(known) == 4
        last.setdefault(frozenset(known), set()).add(final)
    assert max(map(len, last.values())) == 2


def test_all_sums_are_listed_and_split():
    data = as_numpy(modular_addition(KEY, p=7, train_fraction=0.5))
    expected = [[a, b, 7] for a in range(7) for b in range(7)]
    assert data.inputs.tolist() == expected
    assert data.labels.tolist() == [(a + b) % 7 for a, b, _ in expected]
    assert data.is_train.sum() == round(0.5 * 49)
    other = modular_addition(jax.random.key(5), p=7, train_fraction=0.5)
    assert (np.asarray(other.is_train) != data.is_train).any()


def test_the_basis_is_orthonormal_and_diagonalizes_the_shift():
    basis = np.asarray(modular_addition(KEY, p=11).basis, np.float64)
    np.testing.assert_allclose(basis @ basis.T, np.eye(11), atol=1e-6)
    shifted = basis @ np.roll(basis, 1, axis=1).T
    pair = np.repeat(np.arange(6), 2)[1:]
    between = pair[:, None] != pair[None, :]
    np.testing.assert_allclose(shifted[between], 0, atol=1e-6)


def parse(tokens, kinds):
    """Offense, partners and label of a string, by a list as stack."""
    stack, partner = [], [-1] * len(tokens)
    for t, token in enumerate(tokens):
        if token < kinds:
            stack.append(t)
        elif not stack or tokens[stack[-1]] != token - kinds:
            return t, partner, 0
        else:
            opener = stack.pop()
            partner[t], partner[opener] = opener, t
    return -1, partner, int(not stack)


@pytest.mark.parametrize(("length", "kinds"), [(2, 1), (16, 2), (10, 3)])
def test_brackets_are_wrong_where_a_parser_says(length, kinds):
    data = as_numpy(dyck(KEY, COUNT, length=length, kinds=kinds))
    for i, tokens in enumerate(data.tokens):
        offense, partner, label = parse(tokens.tolist(), kinds)
        assert (offense, label) == (data.offense[i], data.labels[i])
        assert partner == data.partner[i].tolist()
    assert 0.3 < data.labels.mean() < 0.7


def test_brackets_exchanged_back_are_balanced_so_counting_tells_nothing():
    data = as_numpy(dyck(KEY, COUNT))
    for tokens, label, pair in zip(
        data.tokens, data.labels, data.exchanged, strict=True
    ):
        counts = np.bincount(tokens, minlength=4)
        np.testing.assert_array_equal(counts[:2], counts[2:])
        if label == 1:
            assert pair.tolist() == [-1, -1]
            continue
        repaired = tokens.copy()
        repaired[pair] = tokens[pair[::-1]]
        assert parse(repaired.tolist(), 2)[2] == 1


@pytest.mark.parametrize("task", [evidence, induction, dyck])
def test_the_first_of_a_larger_set_are_those_of_a_smaller(task):
    first = jax.tree.map(lambda leaf: leaf[:3], task(KEY, 70))
    chex.assert_trees_all_equal(task(KEY, 3), first)


@pytest.mark.parametrize("task", [evidence, induction, dyck])
def test_tasks_may_be_jitted_and_mapped(task):
    mapped = jax.jit(jax.vmap(lambda key: task(key, 2)))(KEY[None])
    chex.assert_trees_all_equal(
        task(KEY, 2), jax.tree.map(lambda leaf: leaf[0], mapped)
    )


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (evidence, {"length": 4}, "needs? 5. Write `length=5` or more"),
        (evidence, {"classes": 1}, "`classes` must be an integer of at least 2"),
        (evidence, {"neutral": 0}, "`neutral` must be an integer of at least 1"),
        (evidence, {"repeats": -1}, "`repeats` must be an integer of at least 0"),
        (induction, {"repeated": 1}, "`repeated` must be an integer of at least 2"),
        (induction, {"length": 24}, "`length` must be an integer of at least 25"),
        (
            induction,
            {"vocabulary": 20},
            "`vocabulary` must be an integer of at least 21",
        ),
        (dyck, {"length": 3}, "`length` must be even, and is 3"),
        (dyck, {"length": 0}, "`length` must be an integer of at least 2"),
        (dyck, {"kinds": 0}, "`kinds` must be an integer of at least 1"),
    ],
)
def test_bad_settings_are_errors(task, settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        task(KEY, 1, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"p": 4}, "`p` must be odd"),
        ({"p": 1}, "`p` must be an integer of at least 3"),
        ({"train_fraction": 2.0}, "`train_fraction` must lie between 0 and 1"),
    ],
)
def test_a_bad_modulus_is_an_error(settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        modular_addition(KEY, **settings)


@pytest.mark.parametrize("task", [evidence, induction, dyck])
def test_without_a_key_is_an_error(task):
    with pytest.raises(TypeError, match="needs one key"):
        task(0, 1)
    with pytest.raises(TypeError, match="needs one key"):
        modular_addition(None)


def test_numbers_of_numpy_are_numbers(unchecked):
    key = jax.random.key(0)
    found = evidence(key, np.int64(3), length=np.int32(12))
    assert jnp.array_equal(found.tokens, evidence(key, 3, length=12).tokens)
    noisy = mislabeled(key, np.arange(4), rate=np.float32(0.5))
    assert noisy.labels.shape == (4,)
