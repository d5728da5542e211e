"""What is asked of every attack, in one table.

An attack that `jaxinterp.adversarial` exports and that is missing here fails the suite.
Examples are independent, jit agrees with eager and does not trace twice, what is
returned is allowed and is what the model says it is, and what cannot be attacked is
left alone and makes no NaN.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import datasets

from jaxinterp import adversarial
from jaxinterp.adversarial import (
    apgd,
    carlini_wagner,
    deep_fool,
    fgsm,
    l1,
    l2,
    linf,
    pgd,
)
from jaxinterp.objectives import log_probability, margin
from tests.compiled import compiled, compiled_once
from tests.networks import functions as models
from tests.networks.architectures import as_dtype

KEY = jax.random.key(5)
BOUNDS = (-4.0, 4.0)
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
V, X = models.mlp_weights(), models.vectors()
TARGET = np.asarray(models.mlp(V, X)).argmax(axis=1)


@dataclasses.dataclass(frozen=True)
class Row:
    """An attack with hyperparameters.

    Attributes:
        of: the exported function.
        threat: what the attacker may do.
        options: hyperparameters, those that make it short.
        is_random: whether it needs a key.
    """

    of: Callable[..., Any]
    threat: Any
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    is_random: bool = False

    def make(self, apply_fn, **own):
        return self.of(apply_fn, **{"threat": self.threat, **self.options, **own})


_CW = {"steps": 12, "searches": 3, "learning_rate": 0.05, "first_constant": 1.0}
ATTACKS = {
    "fgsm": Row(fgsm, linf(0.9, bounds=BOUNDS)),
    "fgsm l2": Row(fgsm, l2(1.8, bounds=BOUNDS)),
    "pgd": Row(pgd, linf(0.9, bounds=BOUNDS), {"steps": 4}, True),
    "pgd from the inputs": Row(
        pgd, l2(1.8, bounds=BOUNDS), {"steps": 4, "restarts": None}
    ),
    "pgd l1": Row(pgd, l1(3.0, bounds=BOUNDS), {"steps": 4, "restarts": 2}, True),
    "apgd": Row(apgd, linf(0.9, bounds=BOUNDS), {"steps": 6}, True),
    # Of three classes the difference of logits ratio is flat once the target is last.
    "apgd l1": Row(
        apgd,
        l1(3.0, bounds=BOUNDS),
        {"steps": 6, "restarts": 2, "score": margin},
        True,
    ),
    "deep_fool": Row(deep_fool, l2(bounds=BOUNDS), {"steps": 4}),
    "deep_fool l1": Row(deep_fool, l1(1.5, bounds=BOUNDS), {"steps": 4}),
    "carlini_wagner": Row(carlini_wagner, l2(bounds=BOUNDS), _CW),
}
SETTINGS = {"fgsm l2", "pgd from the inputs", "pgd l1", "apgd l1", "deep_fool l1"}
setting = pytest.mark.slow(reason="another setting of an attack of the table")
alike = pytest.mark.slow(reason="runs as pgd does, and is asked the main questions")


def rows(left_out):
    """The table; some of its rows are asked with the slow tests."""
    marks = {**dict.fromkeys(left_out, alike), **dict.fromkeys(SETTINGS, setting)}
    params = [pytest.param(n, marks=[marks[n]] if n in marks else []) for n in ATTACKS]
    return pytest.mark.parametrize("name", params)


every_attack = rows(())
every_kind = rows(("fgsm", "apgd"))


def is_attack(value):
    """Whether a function makes an attack of a model."""
    if not inspect.isfunction(value):
        return False
    signature = inspect.signature(value)
    first = next(iter(signature.parameters), "")
    return first == "apply_fn" and signature.return_annotation == "Attack"


def test_every_exported_attack_is_in_the_table():
    exported = {value for value in vars(adversarial).values() if is_attack(value)}
    assert exported == {row.of for row in ATTACKS.values()}


@every_attack
def test_it_has_the_signature_of_an_attack(name):
    _, *rest = inspect.signature(ATTACKS[name].of).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    assert "threat" in {p.name for p in rest}
    perturb = ATTACKS[name].make(models.mlp)
    assert isinstance(perturb, adversarial.Attack)
    parameters = list(inspect.signature(perturb).parameters)
    assert parameters == ["variables", "inputs", "target", "key"]


@every_attack
def test_one_program_and_what_it_returns(name):
    """One compilation, called with several batches and targets."""
    row = ATTACKS[name]
    perturb = compiled_once(row.make(models.mlp))
    x = np.stack([X[0], X[1], X[2]])
    # The last is misclassified from the start.
    target = np.array([TARGET[0], TARGET[1], (TARGET[2] + 1) % models.CLASSES])
    result = perturb(V, x, target, KEY)
    chex.assert_trees_all_equal(result, perturb(V, x, target, KEY))
    check_allowed(row, x, result)
    check_told(x, target, result)
    n_points, n_steps = result.losses.shape[1], result.is_flat.shape[1]
    assert n_points - n_steps in (1, 2)
    chex.assert_trees_all_close(
        result.losses[:, 0], clean_losses(row, x, target), rtol=1e-9
    )
    assert not np.asarray(result.is_flat).any()
    # Examples change places, and others come beside them.
    turned = perturb(V, x[::-1].copy(), target[::-1].copy(), KEY)
    assert_alike(jax.tree.map(lambda a: a[::-1], examples_of(turned)), result)
    other = perturb(V, np.stack([x[0], x[0] + 0.5, x[2] - 0.5]), target, KEY)
    assert_alike(first_of(other), jax.tree.map(np.asarray, first_of(result)))


def examples_of(result):
    """A result without the number of calls, which no example has."""
    return result._replace(n_queries=np.zeros(len(result.size)))


def first_of(result):
    return jax.tree.map(lambda a: a[:1], examples_of(result))


def assert_alike(actual, expected):
    expected = examples_of(expected)
    actual = actual._replace(n_queries=expected.n_queries)
    chex.assert_trees_all_close(actual, expected, rtol=1e-7, atol=1e-9)


def clean_losses(row, x, target):
    """Minus the score that each attack lowers unless told otherwise, of the inputs."""
    outputs = models.mlp(V, x)
    parameters = inspect.signature(row.of).parameters
    usual = parameters["score"].default if "score" in parameters else margin
    return -row.options.get("score", usual)(outputs, target)


def check_allowed(row, x, result):
    """What is returned is in the ball and the range, and as far away as is said."""
    change = np.asarray(result.inputs) - x
    sizes = np.linalg.norm(change, ORDERS[row.threat.norm], axis=1)
    assert (sizes <= row.threat.radius * (1 + 1e-9)).all()
    assert np.abs(result.inputs).max() <= 4
    is_told = np.isfinite(np.asarray(result.size))
    np.testing.assert_allclose(
        sizes[is_told], np.asarray(result.size)[is_told], atol=1e-12
    )
    assert (sizes[~is_told] == 0).all()


def check_told(x, target, result):
    """Success is what a fresh look at the returned inputs says."""
    outputs = models.mlp(V, np.asarray(result.inputs))
    lead = -np.asarray(margin(outputs, target))
    is_adversarial = np.asarray(result.is_adversarial)
    np.testing.assert_array_equal(is_adversarial, lead > 0)
    assert is_adversarial[2]
    assert is_adversarial.sum() >= 2


@every_attack
def test_eager_equals_jit_and_traces_once_for_any_number_of_examples(name):
    row = ATTACKS[name]
    n_traces = []

    def model(v, x):
        n_traces.append(1)
        return models.mlp(v, x)

    perturb = row.make(model)
    eager = perturb(V, X, TARGET, KEY)
    before = len(n_traces)
    again = perturb(V, X + 0.01, (TARGET + 1) % models.CLASSES, jax.random.key(6))
    assert len(n_traces) == before
    chex.assert_tree_all_finite(again.losses)
    jitted = compiled(perturb)(V, X, TARGET, KEY)
    assert_alike(examples_of(eager), jitted)
    # Without a target an example is to leave the class that it has.
    if not row.is_random:
        assert_alike(examples_of(perturb(V, X)), eager)
    alone = perturb(V, X[:1], TARGET[:1], KEY)
    assert_alike(examples_of(alone), first_of(eager))
    empty = jax.eval_shape(perturb, V, X[:0], TARGET[:0], KEY)
    assert empty.inputs.shape == (0, 5)
    assert empty.is_adversarial.shape == empty.size.shape == (0,)


@every_attack
def test_a_model_that_cannot_be_fooled_is_left_alone(name):
    """A constant one, and one without a slope: nothing is NaN, and it is told."""
    row = ATTACKS[name]

    def constant(v, x):
        return jnp.zeros((len(x), 3)) + v

    perturb = compiled(row.make(constant))
    for logits in (np.zeros((1, 3)), np.array([[2.0, 1.0, 0.0]])):
        result = perturb(logits, X, np.zeros(3, int), KEY)
        assert not np.asarray(result.is_adversarial).any()
        assert np.isfinite(np.asarray(result.inputs)).all()
        assert np.isfinite(np.asarray(result.losses)).all()
        assert np.asarray(result.is_flat).all()
        check_allowed(row, X, result)


@every_kind
def test_a_model_that_is_not_finite_makes_no_input_that_is_not(name):
    perturb = compiled(ATTACKS[name].make(lambda v, x: jnp.log(x @ v[0]["w"] - 1e9)))
    result = perturb(V, X, TARGET, KEY)
    assert np.isfinite(np.asarray(result.inputs)).all()
    assert not np.asarray(result.is_adversarial).any()


@every_kind
def test_the_dtype_is_kept(name):
    row = ATTACKS[name]
    single = as_dtype(jax.tree.map(jnp.asarray, (V, X)), jnp.float32)
    result = jax.eval_shape(row.make(models.mlp), *single, TARGET, KEY)
    chex.assert_type([result.inputs, result.size, result.losses], jnp.float32)
    dtype = jnp.bfloat16  # it rounds earlier
    v, x = as_dtype(jax.tree.map(jnp.asarray, (V, X)), dtype)
    result = compiled(row.make(models.mlp))(v, x, TARGET, KEY)
    chex.assert_type(result.inputs, dtype)
    chex.assert_type([result.size, result.losses], [jnp.float32, dtype])
    chex.assert_tree_all_finite(result.inputs)
    rounding = 4 * float(jnp.finfo(dtype).eps)
    change = np.asarray(result.inputs, float) - np.asarray(x, float)
    sizes = np.linalg.norm(change, ORDERS[row.threat.norm], axis=1)
    assert (sizes <= row.threat.radius + 5 * rounding).all()


@every_kind
def test_inputs_may_be_a_tree_and_its_rest_stays(name):
    row = ATTACKS[name]
    v, x = models.two_weights(), models.pair()
    perturb = row.make(models.two_inputs)
    result = jax.eval_shape(perturb, v, x, TARGET, KEY)
    chex.assert_trees_all_equal_shapes_and_dtypes(result.inputs, x)


@every_kind
def test_it_maps_over_an_axis_of_inputs(name):
    perturb = ATTACKS[name].make(models.mlp)
    several = np.stack([X, X[::-1]])
    mapped = compiled(jax.vmap(perturb, in_axes=(None, 0, None, None)))
    received = mapped(V, several, TARGET, KEY)
    for i, x in enumerate(several):
        one = perturb(V, x, TARGET, KEY)
        row = jax.tree.map(lambda a, i=i: a[i], received)
        assert_alike(row._replace(n_queries=one.n_queries), one)


@every_attack
def test_only_random_attacks_need_a_key(name):
    perturb = ATTACKS[name].make(models.mlp)
    if ATTACKS[name].is_random:
        with pytest.raises(TypeError, match=r"\(\) is random and needs one key"):
            perturb(V, X, TARGET)
    else:
        without = examples_of(perturb(V, X, TARGET))
        assert_alike(without, perturb(V, X, TARGET, KEY))


# --- Mistakes -------------------------------------------------------------------------


MISTAKES = {
    "integers": (X.astype(int), TARGET, TypeError, "`inputs` has dtype int64"),
    "no arrays": ([1.0], TARGET, TypeError, r"`inputs\[0\]` must be an array"),
    "a scalar": (np.float64(1.0), TARGET, ValueError, "is a scalar; its first axis"),
    "two sizes": ((X, X[:2]), TARGET, ValueError, "same batch size, and have"),
    "outside": (9 * X, TARGET, ValueError, r"outside of the bounds.* \(-4\.0, 4\.0\)"),
    "float targets": (X, 1.0 * TARGET, TypeError, "takes integer class indices"),
    "no class": (X, TARGET + 9, ValueError, "out of range for 4 classes"),
    "two targets": (X, TARGET[:2], ValueError, r"target of shape \(3,\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", ["fgsm", "deep_fool"])
def test_what_cannot_be_attacked_is_an_error(name, mistake):
    x, target, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        ATTACKS[name].make(models.mlp)(V, x, target, KEY)


@every_attack
def test_a_wrong_model_or_threat_is_an_error(name, unchecked):
    row = ATTACKS[name]
    with pytest.raises(TypeError, match="`threat` says what the attacker may do"):
        row.make(models.mlp, threat=0.1)
    single = row.make(lambda v, x: x[:, :1])
    with pytest.raises(ValueError, match=r"outputs \(3, 1\).\nOf a single logit make"):
        single(V, X, TARGET, KEY)
    flat = row.make(lambda v, x: x[:, 0])
    with pytest.raises(ValueError, match=r"outputs of shape \(batch, classes\)"):
        flat(V, X, None, KEY)


def test_a_score_of_the_whole_batch_is_an_error():
    row = functools.partial(fgsm, threat=linf(0.1, bounds=BOUNDS))
    perturb = row(models.mlp, score=lambda outputs, target: outputs.sum())
    with pytest.raises(ValueError, match="must return one number per example"):
        perturb(V, X, TARGET)


# --- Digits ---------------------------------------------------------------------------


@pytest.mark.slow(reason="trains a network on digits, and attacks 200 of them")
def test_digits_are_fooled_in_the_order_of_the_attacks_at_any_scale(optimized):
    """Large logits look like robustness to a score that has a scale alone."""
    v, x, y = trained_on_digits()

    def accuracy(scale, attack, **options):
        def model(v, x):
            return scale * models.mlp(v, x)

        result = attack(model, threat=linf(0.15), **options)(v, x, y, KEY)
        return 1 - float(np.mean(np.asarray(result.is_adversarial)))

    clean = float((np.asarray(models.mlp(v, x)).argmax(axis=1) == y).mean())
    assert clean > 0.9
    one, many, own = (accuracy(1.0, attack) for attack in (fgsm, pgd, apgd))
    assert many <= one
    assert own <= one
    assert many < clean - 0.5
    for attack, weaker in ((pgd, many), (apgd, own)):
        assert accuracy(1000.0, attack) == pytest.approx(weaker, abs=0.01)
    assert accuracy(1000.0, fgsm) > clean - 0.1
    for norm in (linf, l2, l1):
        result = deep_fool(models.mlp, threat=norm())(v, x, y)
        assert float(np.mean(np.asarray(result.is_adversarial))) > 0.98


def trained_on_digits():
    """Dense layers, and images and classes that they have not seen."""
    digits = datasets.load_digits()
    x = (digits.data / 16).astype(np.float32)
    v = jax.tree.map(
        lambda a: jnp.asarray(a, jnp.float32), models.mlp_weights((64, 64, 10))
    )
    optimizer = optax.adam(3e-3)
    random = np.random.default_rng(0)
    order = random.permutation(len(x))
    train, test = order[:1500], order[1500:1700]

    def loss(v, x, y):
        return -log_probability(models.mlp(v, x), y).mean()

    @jax.jit
    def step(v, state, x, y):
        updates, state = optimizer.update(jax.grad(loss)(v, x, y), state)
        return optax.apply_updates(v, updates), state

    state = optimizer.init(v)
    for _ in range(400):
        rows = random.choice(train, 100)
        v, state = step(v, state, x[rows], digits.target[rows])
    return v, x[test], digits.target[test]
