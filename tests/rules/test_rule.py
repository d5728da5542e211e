"""Rules that make sense at every kind of site."""

import dataclasses
import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.objectives import total
from jaxinterp.rules.rule import times
from jaxinterp.tracing.errors import RuleResultError
from jaxinterp.tracing.layer.layer import Layer, received_by
from tests.oracles import rules as oracle
from tests.proposals import proposals

from .replay import everywhere, relevance_through

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 3, 4))
R = RNG.normal(size=(3, 4))
CANCELLING = -A + 1e-9 * RNG.normal(size=A.shape)
ALL_RULES = [
    obj
    for obj in vars(rules).values()
    if inspect.isclass(obj) and issubclass(obj, rules.Rule) and obj is not rules.Rule
]
NEEDED = {
    rules.ZBox: {"low": 0.0, "high": 1.0},
    rules.Mixture: {"parts": ((0.5, rules.Epsilon()), (0.5, rules.ZPlus()))},
}


def shares(rule, left, right, f=jnp.add):
    return relevance_through(lambda _, x: f(*x), rule, None, (left, right), R)


# --- Rules are values -----------------------------------------------------------------


@pytest.mark.parametrize("rule", ALL_RULES)
def test_rules_print_compare_and_hash(rule):
    make = functools.partial(rule, **NEEDED.get(rule, {}))
    assert make() == make()
    assert len({make(), make()}) == 1
    assert eval(repr(make()), vars(rules)) == make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().epsilon = 2.0


@pytest.mark.parametrize("rule", ALL_RULES)
def test_unknown_parameters_are_errors(rule):
    with pytest.raises(TypeError, match="strength"):
        rule(**NEEDED.get(rule, {}), strength=2.0)


# --- Sums -----------------------------------------------------------------------------


def test_norm_shares_a_sum_in_the_ratio_of_its_branches():
    expected = oracle.ratio_sum(A, B, R)
    for ours, theirs in zip(shares(rules.Norm(), A, B), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_abs_ratio_shares_a_sum_by_magnitude():
    expected = oracle.absolute_ratio_sum(A, B, R)
    for ours, theirs in zip(shares(rules.AbsRatio(), A, B), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_abs_ratio_stays_bounded_where_branches_cancel():
    left, right = shares(rules.AbsRatio(), A, CANCELLING)
    np.testing.assert_allclose(left + right, R, rtol=1e-12)
    np.testing.assert_allclose(np.abs(left) + np.abs(right), np.abs(R), rtol=1e-12)
    left, _ = shares(rules.Norm(0.0), A, CANCELLING)
    assert np.abs(left).max() > 1e6 * np.abs(R).max()


def test_abs_ratio_shares_equally_where_all_summands_are_zero():
    zeros = np.zeros_like(A)
    for share in shares(rules.AbsRatio(), zeros, zeros):
        np.testing.assert_array_equal(share, R / 2)


def test_abs_ratio_sees_through_differences():
    left, right = shares(rules.AbsRatio(), A, B, jnp.subtract)
    expected = shares(rules.AbsRatio(), A, -B)
    np.testing.assert_allclose([left, right], expected, rtol=1e-12)


def averaged(_, x):
    return x.reshape(3, 2, 2).mean(2)


def pooled(_, x):
    total = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2), (1, 2), "VALID")
    return total / 2


@pytest.mark.parametrize("mean", [averaged, pooled])
def test_abs_ratio_shares_a_mean_by_magnitude(mean):
    relevance = R[:, :2]
    received = relevance_through(mean, rules.AbsRatio(), None, A, relevance)
    matrix = np.kron(np.eye(2), [[0.5, 0.5]])
    rows = [
        oracle.absolute_ratio(matrix, np.zeros(2), *row)
        for row in zip(A, relevance, strict=True)
    ]
    np.testing.assert_allclose(received, rows, rtol=1e-12)
    np.testing.assert_allclose(received.sum(1), relevance.sum(1), rtol=1e-12)


def test_abs_ratio_of_a_mean_of_zeros_loses_what_it_gets_and_says_so():
    composite = [(ji.of_role("linear"), rules.AbsRatio()), ("*", rules.Pass())]
    x = jnp.asarray(A).at[1, :2].set(0.0)

    def model(v, x):
        return averaged(v, x) + v

    books = ji.ledger(model, composite, np.ones((1, 2)), x, score=total)
    (entry,) = (e for e in books.entries if e.site.startswith("mean"))
    assert entry.stabilizer == pytest.approx(1.0)
    assert books.error <= 1e-12


@pytest.mark.parametrize("rule", [rules.Norm(0.0), rules.AbsRatio()], ids=str)
def test_broadcast_summands_receive_for_all_their_copies(rule):
    per_row = RNG.normal(size=(3, 1))
    left, right = shares(rule, A, per_row)
    whole, spread = shares(rule, A, np.broadcast_to(per_row, A.shape))
    assert right.shape == per_row.shape
    np.testing.assert_allclose(left, whole, rtol=1e-12)
    np.testing.assert_allclose(right, spread.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(left.sum() + right.sum(), R.sum(), rtol=1e-10)


@pytest.mark.parametrize("rule", [rules.Norm(0.0), rules.AbsRatio()], ids=str)
def test_shares_do_not_depend_on_the_order_of_summands(rule):
    left, right = shares(rule, A, B)
    swapped = shares(rule, B, A)
    np.testing.assert_allclose((right, left), swapped, rtol=1e-12)


# --- Products -------------------------------------------------------------------------


def test_uniform_shares_a_product_equally():
    for share in shares(rules.Uniform(), A, B, jnp.multiply):
        np.testing.assert_array_equal(share, R / 2)


def test_uniform_shares_a_matrix_product_by_contribution():
    left, right = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 4, 5))
    relevance = RNG.normal(size=(2, 3, 5))
    received = relevance_through(
        lambda _, x: jnp.matmul(*x), rules.Uniform(0.0), None, (left, right), relevance
    )
    to_left, to_right = np.zeros_like(left), np.zeros_like(right)
    for b, i, k, j in itertools.product(*map(range, (2, 3, 4, 5))):
        z = left[b, i] @ right[b, :, j]
        share = left[b, i, k] * right[b, k, j] * relevance[b, i, j] / z / 2
        to_left[b, i, k] += share
        to_right[b, k, j] += share
    np.testing.assert_allclose(received[0], to_left, rtol=1e-10)
    np.testing.assert_allclose(received[1], to_right, rtol=1e-10)


def test_uniform_counts_a_matrix_times_itself_twice():
    x = RNG.normal(size=(2, 3, 4))
    relevance = RNG.normal(size=(2, 3, 3))
    received = relevance_through(
        lambda _, x: jnp.einsum("bik,bjk->bij", x, x),
        rules.Uniform(0.0),
        None,
        x,
        relevance,
    )
    np.testing.assert_allclose(received.sum(), relevance.sum(), rtol=1e-10)


def test_uniform_sums_what_a_broadcast_factor_receives():
    per_row = RNG.normal(size=(3, 1))
    left, right = shares(rules.Uniform(), A, per_row, jnp.multiply)
    np.testing.assert_allclose(left, R / 2)
    np.testing.assert_allclose(right, R.sum(1, keepdims=True) / 2, rtol=1e-12)


# --- The rest -------------------------------------------------------------------------


def test_stop_lets_nothing_through():
    model = {"w": RNG.normal(size=(4, 2))}
    for f in (lambda w, x: x @ w["w"], lambda w, x: jnp.tanh(x)):
        relevance = np.ones(np.shape(f(model, A)))
        received = relevance_through(f, rules.Stop(), model, A, relevance)
        np.testing.assert_array_equal(received, np.zeros_like(A))


def test_a_stopped_branch_receives_nothing_and_the_ledger_shows_it():
    def branches(w, x):
        return jnp.tanh(x @ w) + jnp.sin(x)

    composite = rules.Composite(
        [
            ("tanh", rules.Stop()),
            (ji.of_role("activation"), rules.Pass()),
            ("*", rules.Norm(0.0)),
        ]
    )
    w = RNG.normal(size=(4, 4))
    books = ji.ledger(branches, composite, w, jnp.asarray(A), score=total)
    (stopped,) = (entry for entry in books.entries if entry.site == "tanh")
    assert stopped.handed_on == 0
    assert stopped.unexplained == pytest.approx(stopped.received)
    assert books.score - books.attributed == pytest.approx(stopped.received)


def test_pass_and_gradient():
    slope = np.asarray(jax.vjp(jnp.tanh, A)[1](R)[0])
    for rule, expected in ((rules.Pass(), R), (rules.Gradient(), slope)):
        value = relevance_through(lambda _, x: jnp.tanh(x), rule, None, A, R)
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "rule", "needs"),
    [
        (lambda w, x: x @ w, rules.Pass(), "one input in the shape of the output"),
        (lambda w, x: jnp.tanh(x @ w) + x[:, :2], rules.Pass(), "one input in"),
        (lambda w, x: jnp.tanh(x), rules.ZPlus(), "an affine site"),
        (lambda w, x: jnp.tanh(x), rules.AlphaBeta(), "an affine site"),
        (lambda w, x: jnp.tanh(x), rules.Gamma(), "an affine site"),
        (lambda w, x: jnp.tanh(x), rules.ZBox(-1.0, 1.0), "an affine site"),
        (lambda w, x: jnp.tanh(x), rules.WSquare(), "an affine site"),
        (lambda w, x: jnp.tanh(x), rules.Flat(), "an affine site"),
        (lambda w, x: jnp.tanh(x), rules.Sign(), "an affine site"),
        (lambda w, x: jnp.fft.ifft(x).real, rules.AbsRatio(), "affine site or a mean"),
    ],
)
def test_a_rule_at_a_site_without_meaning_says_where(f, rule, needs):
    w = RNG.normal(size=(4, 2))
    composite = rules.Composite([(ji.of_role("add"), rule), ("*", rule)])
    with pytest.raises(rules.RuleSiteError, match=needs) as error:
        relevance_through(f, composite, w, A, np.ones(np.shape(f(w, A))))
    message = str(error.value)
    assert str(rule) in message
    assert "test_rule.py:" in message
    site, role = message.split("needs ")[1].split("and '")[1].split("' is of role ")
    # What it recommends, written in front, helps.
    helped = rules.Composite([(ji.at(site), rules.Norm())]) + everywhere(
        rules.Gradient()
    )
    assert role
    relevance_through(f, helped, w, A, np.ones(np.shape(f(w, A))))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize(
    "rule", [rules.Norm(), rules.AbsRatio(), rules.Uniform(), rules.Stop()], ids=str
)
def test_the_dtype_is_kept(rule, dtype):
    left, right, relevance = (jnp.asarray(v, dtype) for v in (A, B, R))
    f = jnp.multiply if isinstance(rule, rules.Uniform) else jnp.add
    received = relevance_through(
        lambda _, x: f(*x), rule, None, (left, right), relevance
    )
    assert [share.dtype for share in received] == [dtype, dtype]
    assert all(np.isfinite(np.asarray(s, np.float64)).all() for s in received)


# --- Rules of a user ------------------------------------------------------------------


class Doubled(rules.Rule):
    def __call__(self, layer, relevance):
        return [2 * relevance for _ in layer.inputs]


def test_a_rule_that_is_no_dataclass_prints():
    assert str(Doubled()) == "Doubled()"
    assert str(everywhere(Doubled())) == "1  at('*')  Doubled()"


@pytest.mark.parametrize(
    "result",
    [None, lambda x: x[:1], lambda x: (x, x), lambda x: (), lambda x: (None,)],
)
def test_what_a_rule_returns_is_checked(result):
    graph = ji.trace(lambda _, x: jnp.tanh(x), None, A)
    layer = Layer(graph.nodes[0], (A,), {}, np.tanh(A))
    returned = result(R) if result else None
    with pytest.raises(RuleResultError, match=r"Doubled\(\) at 'tanh'.*\n.*\(3, 4\)"):
        received_by(Doubled(), layer, returned)
    for right in (R, (R,), [R]):
        (received,) = received_by(Doubled(), layer, right)
        np.testing.assert_array_equal(received, R)


def test_a_rule_gives_one_array_to_each_input_or_says_so(unchecked):
    @dataclasses.dataclass(frozen=True)
    class Wrong(rules.Rule):
        result: object

        def __call__(self, layer, relevance):
            return self.result

    def run(result):
        composite = rules.Composite([("*", Wrong(result))])
        ruled = ji.with_rules(lambda w, x: jnp.tanh(x), composite)
        return jax.grad(lambda x: ruled(None, x).sum())(jnp.ones((2, 3)))

    for result in (None, jnp.ones(3), (jnp.ones((2, 3)),) * 2):
        with pytest.raises(TypeError, match=r"(?s)Wrong.*'tanh'.*\(2, 3\)"):
            run(result)
    np.testing.assert_array_equal(run([jnp.ones((2, 3))]), np.ones((2, 3)))


@pytest.mark.parametrize("wrong", [None, "epsilon_plus", rules.epsilon_plus])
def test_what_is_no_composite_is_an_error(wrong, unchecked):
    with pytest.raises(TypeError, match="must be a Composite"):
        ji.with_rules(jnp.tanh, wrong)


def test_a_name_that_is_no_preset_is_told_what_to_write():
    with pytest.raises(ValueError, match="needs the range of the inputs") as error:
        ji.attribution.lrp(jnp.tanh, composite="epsilon_gamma_box")
    assert proposals(error) == [rules.epsilon_gamma_box(0.0, 1.0)]
    with pytest.raises(ValueError, match=r"'epsilon_plsu'.*Perhaps 'epsilon_plus'\?"):
        ji.attribution.lrp(jnp.tanh, composite="epsilon_plsu")


def test_a_ledger_takes_a_composite_or_what_means_one(unchecked):
    with pytest.raises(TypeError, match="must be a Composite"):
        ji.ledger(lambda v, x: x, rules.epsilon_plus, None, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"`composite` is 'lrp'\. There are: 'attn"):
        ji.ledger(lambda v, x: x, "lrp", None, jnp.ones((2, 3)))


def test_a_product_with_zero_is_zero_even_of_infinity_and_has_a_derivative():
    x = jnp.array([2.0, -jnp.inf, 2.0])
    product, pull = jax.vjp(times, x, jnp.array([0.0, 0.0, 3.0]))
    assert product.tolist() == [0, 0, 6]
    to_x, to_share = pull(jnp.ones(3))
    assert to_x.tolist() == [0, 0, 3]
    assert to_share.tolist() == [2, 0, 2]
