"""`edges` against circuits that are known, and a decoder in NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.mechanistic import edges
from jaxinterp.mechanistic.edges import edge_plan
from jaxinterp.mechanistic.interchange import Interchange
from jaxinterp.objectives import total
from tests.compiled import compiled, compiled_once
from tests.networks import circuits
from tests.oracles.circuits import MaskedDecoder

INDUCTION = {
    "sources": circuits.INDUCTION_SOURCES,
    "destinations": circuits.INDUCTION_DESTINATIONS,
    "score": circuits.induction_score,
}
DECODER = {
    "sources": circuits.DECODER_SOURCES,
    "destinations": circuits.DECODER_DESTINATIONS,
    "score": circuits.last_margin,
}
GATE = {"sources": ["left", "right"], "destinations": "out", "score": total}
LINEAR = {
    "sources": ["embed", "head_*", "mlp_*"],
    "destinations": ["read_*", "mlp_*", "logits"],
    "score": lambda y, target: y[:, 0] - y[:, 2],
}
TRUE = {
    ("embed", "a0/value[0]"): -0.75,
    ("embed", "a1/query[0]"): -0.75,
    ("a0/heads[0]", "a1/key[0]"): -0.75,
    ("embed", "a1/value[0]"): -1.0,
    ("a1/heads[0]", "logits"): -1.0,
}


def on_induction(method, **options):
    measure = edges(circuits.induction_net, method=method, **options, **INDUCTION)
    weights = circuits.induction_weights()
    return compiled(measure)(weights, circuits.CLEAN, circuits.CORRUPTED)


def test_exact_effects_are_those_of_the_wired_head_and_no_others():
    result = on_induction("exact")
    assert len(result.names) == 29
    chex.assert_trees_all_close(result.clean, np.array([0.9375]), atol=1e-12)
    chex.assert_trees_all_close(result.corrupted, np.array([-0.0625]), atol=1e-12)
    for name, effect in result.by_name.items():
        assert float(effect[0]) == pytest.approx(TRUE.get(name, 0.0), abs=1e-12), name
    kept = np.asarray(result.top(10))
    assert {
        name for name, is_kept in zip(result.names, kept, strict=True) if is_kept
    } == (set(TRUE))
    assert "a1/heads[0]  logits" in result.table()


def test_the_gradient_misses_what_a_saturated_softmax_hides():
    effects = on_induction("gradient").by_name
    hidden = [name for name, effect in TRUE.items() if effect == -0.75]
    assert len(hidden) == 3
    assert all(abs(float(effects[name][0])) < 1e-15 for name in hidden)
    for name in set(TRUE).difference(hidden):
        assert float(effects[name][0]) == pytest.approx(-1, abs=1e-12)


def test_integrated_effects_find_all_five_and_add_up():
    result = on_induction("integrated", steps=50, batch_size=25)
    effects = result.by_name
    for name, effect in TRUE.items():
        size = -0.036 if effect == -0.75 else -0.446
        assert float(effects[name][0]) == pytest.approx(size, abs=1e-3)
    others = [float(e[0]) for name, e in effects.items() if name not in TRUE]
    assert np.abs(others).max() < 1e-12
    assert float(result.residual[0]) == pytest.approx(0, abs=1e-4)


@pytest.fixture(scope="module")
def decoder():
    return circuits.decoder()


def oracle(variables, clean, corrupted, target, mask):
    """The score of each example with the same masks on its edges."""
    scores = []
    parameters = jax.tree.map(np.asarray, variables["params"])
    for tokens, others, one in zip(clean, corrupted, target, strict=True):
        source = MaskedDecoder(parameters, 2, 2)
        source(others)
        logits = MaskedDecoder(parameters, 2, 2, mask, source.z)(tokens)[-1]
        scores.append(logits[one] - logits[0])
    return np.array(scores)


def test_a_decoder_with_norms_and_random_masks_is_the_one_in_numpy(decoder):
    model, variables = decoder
    clean, corrupted, target = circuits.texts(0), circuits.texts(1), np.array([3, 5])
    interchange = Interchange.of(
        model.apply,
        circuits.last_margin,
        edge_plan(DECODER["sources"], DECODER["destinations"]),
        None,
    )
    plan, context = interchange.start(variables, clean, corrupted, target)
    names = [tuple(n.removeprefix("Transformer/") for n in pair) for pair in plan.names]
    # Of a block 6 reads and the MLP's; sources before them: 1, then 3, then 4 and 6.
    assert plan.count == len(names) == 6 * 1 + 3 + 6 * 4 + 6 + 7
    scores = compiled(interchange.scores)
    for seed in range(3):
        shares = np.random.default_rng(seed).random(len(names)) * (seed + 1) / 2
        mask = dict(zip(names, shares, strict=True))
        ours = scores(context, np.tile(shares, (2, 1)))
        chex.assert_trees_all_close(
            ours, oracle(variables, clean, corrupted, target, mask), rtol=1e-9
        )
    for share, inputs in ((0.0, clean), (1.0, corrupted)):
        ours = scores(context, np.full((2, len(names)), share))
        expected = oracle(variables, inputs, inputs, target, {})
        chex.assert_trees_all_close(ours, expected, rtol=1e-12)


@pytest.mark.slow(reason="the program of the test before, with its derivative")
def test_exact_effects_and_gradients_of_a_decoder_are_those_in_numpy(decoder):
    model, variables = decoder
    clean, corrupted, target = circuits.texts(2), circuits.texts(3), np.array([1, 2])
    exact, slopes = (
        compiled(edges(model.apply, method=method, **DECODER))(
            variables, clean, corrupted, target
        )
        for method in ("exact", "gradient")
    )
    clean_score = oracle(variables, clean, corrupted, target, {})
    chex.assert_trees_all_close(exact.clean, clean_score, rtol=1e-9)
    for number in range(0, len(exact.names), 5):
        name = tuple(n.removeprefix("Transformer/") for n in exact.names[number])
        of_one = oracle(variables, clean, corrupted, target, {name: 1.0})
        chex.assert_trees_all_close(
            exact.effects[:, number], of_one - clean_score, rtol=1e-7, atol=1e-11
        )
        above, below = (
            oracle(variables, clean, corrupted, target, {name: h})
            for h in (1e-5, -1e-5)
        )
        chex.assert_trees_all_close(
            slopes.effects[:, number], (above - below) / 2e-5, rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize(
    ("method", "of_or", "of_and"),
    [("exact", 0, -1), ("gradient", 0, -1), ("integrated", -0.5, -0.5)],
)
def test_gates(method, of_or, of_and):
    def model(w, x):
        return jnp.stack([circuits.gate(kind, x) for kind in ("or", "and")], axis=1)

    measure = edges(
        model,
        sources=["left*", "right*"],
        destinations="out*",
        method=method,
        steps=10,
        ablation=jnp.zeros_like,
    )
    x = np.full((2, 2), np.pi / 2)  # whose sines are 1
    result = compiled(measure)(None, x, x, np.arange(2))
    effects = jnp.sort(result.effects, axis=1)  # an edge of the other gate has none
    expected = np.array([[of_or, of_or, 0, 0], [of_and, of_and, 0, 0]])
    chex.assert_trees_all_close(effects, expected * 1.0, atol=1e-7)
    chex.assert_trees_all_close(result.corrupted - result.clean, -np.ones(2))
    whole = np.array([2 * of_or, 2 * of_and]) + 1.0
    chex.assert_trees_all_close(result.residual, whole, atol=1e-7)


def test_in_a_linear_network_gradients_are_exact():
    w = circuits.linear_weights()
    clean, corrupted = np.random.default_rng(1).normal(size=(2, 3, 16))
    exact, slopes = (
        compiled(edges(circuits.linear_net, method=method, **LINEAR))(
            w, clean, corrupted
        )
        for method in ("exact", "gradient")
    )
    # Heads of a layer read the same stream: 1 and 4 sources; MLPs 3 and 6; logits 7.
    assert exact.effects.shape == (3, 2 * 1 + 3 + 2 * 4 + 6 + 7)
    assert float(jnp.abs(exact.effects).min()) > 1e-6
    chex.assert_trees_all_close(exact.effects, slopes.effects, rtol=1e-9, atol=1e-12)


def test_of_a_quadratic_function_two_steps_are_complete():
    def model(w, x):
        with jax.named_scope("first"):
            first = 1.0 * jnp.sin(x)
        with jax.named_scope("second"):
            return w * first**2 + first

    measure = edges(
        model,
        sources="first",
        destinations="second",
        method="integrated",
        steps=2,
        score=total,
    )
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    result = measure(0.7, *x)
    chex.assert_trees_all_close(result.residual, np.zeros(4), atol=1e-12)


def calls(wrapped):
    """A network whose sites lie in calls: a source, and a destination beside it."""

    def model(w, x):
        def block(x):
            with jax.named_scope("sent"):
                sent = x @ w["first"]
            with jax.named_scope("left"):
                left = jax.nn.silu(sent) @ w["left"]
            return left, jax.nn.relu(sent)

        left, kept = wrapped(block)(x)
        with jax.named_scope("right"):
            right = wrapped(jax.nn.gelu)(kept) @ w["right"]
        return jnp.tanh(left) * right

    return model


SMALL = {"sources": {"sent": 1}, "destinations": {"left": 1, "right": None}}
SMALL_W = {
    name: np.random.default_rng(i).normal(size=(3, 3))
    for i, name in enumerate(("first", "left", "right"))
}
SMALL_X = np.random.default_rng(5).normal(size=(4, 5, 3))


def small(w, x):
    """A source whose parts two destinations read, in one of them by parts."""
    return calls(lambda block: block)(w, x)


def test_jit_equals_eager_and_the_second_call_does_not_trace():
    for method in ("exact", "integrated"):
        measure = edges(
            small, method=method, steps=2, batch_size=5, score=total, **SMALL
        )
        jitted = compiled_once(measure)
        ours, eager = jitted(SMALL_W, *SMALL_X[:2]), measure(SMALL_W, *SMALL_X[:2])
        chex.assert_trees_all_close(ours, eager, rtol=1e-9, atol=1e-12)
        jitted(SMALL_W, *SMALL_X[2:])


def test_how_many_are_computed_at_once_and_the_batch_change_nothing():
    def run(rows, **options):
        measure = edges(small, score=total, **options, **SMALL)
        return compiled(measure)(SMALL_W, SMALL_X[0, rows], SMALL_X[1, rows])

    whole = run(slice(None))
    assert whole.effects.shape == (5, 3 * 3 + 3)
    chex.assert_trees_all_close(run(slice(None), batch_size=3), whole, rtol=1e-9)
    chex.assert_trees_all_close(
        run(slice(1, 2)).effects, whole.effects[1:2], rtol=1e-9, atol=1e-12
    )
    empty = run(slice(0, 0))
    assert empty.effects.shape == (0, len(whole.names))
    assert empty.residual.shape == (0,)


def test_half_precision_is_summed_in_single_and_batches_map():
    measure = compiled(edges(small, method="gradient", score=total, **SMALL))
    exact = measure(SMALL_W, *SMALL_X[:2]).effects
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), (SMALL_W, SMALL_X[:2]))
    ours = measure(half[0], *half[1]).effects
    assert ours.dtype == jnp.float32
    assert float(jnp.abs(ours - exact).max()) < 0.05 * float(jnp.abs(exact).max())
    of_one = edges(small, method="gradient", score=total, **SMALL)
    mapped = compiled(jax.vmap(of_one, in_axes=(None, 0, 0)))
    rows = mapped(SMALL_W, SMALL_X[0, :, None], SMALL_X[1, :, None]).effects
    chex.assert_trees_all_close(rows[:, 0], exact, rtol=1e-9, atol=1e-12)


def test_relevance_patching_is_the_gradient_under_rules():
    def model(w, x):
        return circuits.gate("and", x)[:, None]

    ruled = ji.with_rules(
        model,
        ji.rules.Composite([("out/relu", ji.rules.Pass()), ("*", ji.rules.Gradient())]),
    )
    x = np.full((1, 2), 0.1)
    plain, other = (
        edges(f, method="gradient", ablation=jnp.zeros_like, **GATE)(None, x, x)
        for f in (model, ruled)
    )
    assert not plain.effects.any()  # the gate is shut
    chex.assert_trees_all_close(other.effects, -np.sin(x), atol=1e-12)


@pytest.mark.parametrize("wrapped", [jax.jit, jax.checkpoint])
def test_sites_may_lie_in_calls(wrapped):
    for method in ("exact", "gradient"):
        plain, ours = (
            compiled(edges(f, method=method, score=total, **SMALL))(
                SMALL_W, *SMALL_X[:2]
            )
            for f in (small, calls(wrapped))
        )
        assert ours.names == plain.names
        chex.assert_trees_all_close(ours.effects, plain.effects, rtol=1e-9, atol=1e-12)
        expected = total(small(SMALL_W, SMALL_X[1]))
        chex.assert_trees_all_close(ours.corrupted, expected, rtol=1e-9)


def test_a_destination_may_be_one_of_several_results():
    def model(w, x):
        with jax.named_scope("sent"):
            sent = x @ w
        with jax.named_scope("best"):
            best, index = jax.lax.top_k(sent, 2)
        return best * (1 + index)

    w, x = np.eye(3), np.array([[[3.0, 2.0, 1.0]], [[1.0, 5.0, 4.0]]])
    measure = edges(model, sources="sent", destinations="best", score=total)
    result = compiled(measure)(w, *x)
    # Of the clean run are the indices 0 and 1, of the corrupted one the values 5 and 4.
    assert result.names == (("sent", "best"),)
    assert float(result.clean[0]) == 3 + 2 * 2
    assert float(result.effects[0, 0]) == 5 + 2 * 4 - 7


def test_an_objective_is_a_score_too():
    w, inputs = (
        circuits.linear_weights(),
        np.random.default_rng(1).normal(size=(2, 3, 16)),
    )
    options = {name: LINEAR[name] for name in ("sources", "destinations")}
    by_objective = edges(circuits.linear_net, score="logits:1", **options)
    by_score = edges(circuits.linear_net, score=lambda y, t: y[:, 1], **options)
    chex.assert_trees_all_close(
        compiled(by_objective)(w, *inputs), compiled(by_score)(w, *inputs), rtol=1e-9
    )


def test_top_counts_no_rounding_and_takes_ties_in_order():
    effects = jnp.array([[0.5, -2.0, 1e-9, 0.5], [-0.5, 2.0, 0.0, 0.5]])
    names = tuple((f"u{i}", "v") for i in range(4))
    result = ji.mechanistic.Edges(effects, jnp.ones(2), jnp.zeros(2), names)
    assert result.top(2).tolist() == [True, True, False, False]
    assert result.top(4).tolist() == [True, True, False, True]
    assert not result.top(0).any()
    with pytest.raises(ValueError, match="`count` is 5, and there are 4 edges"):
        result.top(5)
    with pytest.raises(ValueError, match="top: `count` must be an integer"):
        result.top(-1)
    with pytest.raises(TypeError, match=r"table\(\) shows numbers"):
        jax.eval_shape(lambda r: r.table(), result)


X = np.ones((2, 16))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sources": []}, ValueError, "`sources` names no site"),
        ({"sources": {"embed": 1.5}}, TypeError, "`sources` maps a site to an axis"),
        ({"destinations": 3}, TypeError, "A site is an address, a selector or a list"),
        ({"method": "acdc"}, ValueError, "edges: `method` is 'acdc'"),
        ({"steps": 0}, ValueError, "edges: `steps` must be an integer of at least 1"),
        ({"batch_size": 0}, ValueError, "edges: `batch_size` must be an integer"),
        ({"score": 3}, TypeError, "`score` must be a function"),
        ({"ablation": 0.0}, TypeError, "`ablation` is a function from the corrupted"),
    ],
)
def test_what_is_wrong_with_hyperparameters(options, error, message, unchecked):
    with pytest.raises(error, match=message):
        edges(circuits.linear_net, **{**LINEAR, **options})


@pytest.mark.parametrize(
    ("options", "corrupted", "error", "message"),
    [
        (
            {"sources": "nothing"},
            X,
            ji.tracing.AddressError,
            "No site matches 'nothing'",
        ),
        ({"sources": {"embed": 0}}, X, ValueError, "cannot be divided along"),
        ({"sources": {"embed": 2}}, X, ValueError, "cannot be divided along"),
        ({"sources": {"embed": (1, -1)}}, X, ValueError, "cannot be divided along"),
        ({"sources": "logits"}, X, ValueError, "No destination reads a source"),
        ({}, X[:1], ValueError, "cut or pad texts"),
        ({}, X.astype(np.float32), ValueError, "cut or pad texts"),
        (
            {"ablation": lambda a: a.mean(0)},
            X,
            ValueError,
            "`ablation` returned the shape",
        ),
        (
            {"score": lambda y, t: y},
            X,
            ValueError,
            "must return one number per example",
        ),
    ],
)
def test_what_is_wrong_with_a_call(options, corrupted, error, message):
    measure = edges(circuits.linear_net, **{**LINEAR, **options})
    with pytest.raises(error, match=message):
        jax.eval_shape(measure, circuits.linear_weights(), X, corrupted)


def test_inputs_without_a_batch_and_sites_without_one_are_errors():
    measure = edges(lambda w, x: jnp.sin(x), sources="sin", destinations="sin")
    with pytest.raises(ValueError, match=r"write `inputs\[None\]`"):
        measure(None, jnp.ones(()), jnp.ones(()))

    def merged(w, x):
        with jax.named_scope("flat"):
            flat = jnp.sin(x).reshape(-1)
        return jnp.exp(flat).reshape(x.shape)

    measure = edges(merged, sources="flat", destinations="exp", score=total)
    with pytest.raises(ValueError, match="whose first axis is not that of the 2"):
        measure(None, jnp.ones((2, 3)), jnp.ones((2, 3)))


def test_sites_in_loops_and_of_integers_are_errors():
    def looped(w, x):
        return jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=2)[0]

    measure = edges(looped, sources="*sin", destinations="*sin", score=total)
    with pytest.raises(ValueError, match="is inside a loop or branch"):
        measure(None, jnp.ones((2, 3)), jnp.ones((2, 3)))

    def rounded(w, x):
        with jax.named_scope("number"):
            number = x.astype(jnp.int32)
        return jnp.sin(number * 1.0)

    measure = edges(rounded, sources="number/*", destinations="sin", score=total)
    with pytest.raises(TypeError, match="only real numbers are exchanged"):
        measure(None, jnp.ones((2, 3)), jnp.ones((2, 3)))
