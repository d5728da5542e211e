"""AttnLRP: its propositions, norms however they are spelled, and a known truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxinterp as ji
from jaxinterp import rules
from tests.compiled import compiled
from tests.networks import gated_transformer as network
from tests.oracles import transformer_rules as oracle
from tests.oracles.gated_transformer import Pass
from tests.oracles.stabilizers import signed
from tests.spellings.tables import EPS, KINDS, W, grouped, random

SOFTMAX = rules.Composite([(ji.of_role("softmax"), rules.Norm(0.0))])
EXACT = SOFTMAX + rules.attn_lrp(0.0)
SITE = "Transformer/token_embedding"
# Relevance that a norm sends to its input, by example.
NORMS = {
    "layer norm": lambda x, r: oracle.layer_norm(x, W["gain"], W["shift"], EPS, r),
    "RMS norm": lambda x, r: oracle.identity(r),
    "group norm": lambda x, r: np.concatenate(
        [
            oracle.layer_norm(x[part], W["gain"][part], W["shift"][part], EPS, r[part])
            for part in (slice(0, 3), slice(3, 6))
        ]
    ),
    "unit norm": lambda x, r: oracle.identity(r),
}


def sent_back(fn, relevance, *inputs, composite=EXACT):
    """The relevance that each input of a function of arrays gets."""
    ruled = ji.with_rules(lambda _, xs: fn(*xs), composite)
    return jax.vjp(lambda xs: ruled(None, xs), inputs)[1](relevance)[0]


def test_softmax_and_products_are_those_of_the_paper():
    x, r = random(0, 2, 5), random(1, 2, 5)
    expected = [oracle.softmax(*pair) for pair in zip(x, r, strict=True)]
    (found,) = sent_back(jax.nn.softmax, r, x)
    np.testing.assert_allclose(found, expected, rtol=1e-10)

    a, b, r = random(2, 2, 3, 4), random(3, 2, 4, 5), random(4, 2, 3, 5)
    pairs = [
        oracle.matrix_product(*map(np.asarray, t)) for t in zip(a, b, r, strict=True)
    ]
    found_in_both = sent_back(jnp.matmul, r, a, b)
    for found, expected in zip(found_in_both, zip(*pairs, strict=True), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)

    a, b, r = random(5, 2, 3), random(6, 2, 3), random(7, 2, 3)
    gated = sent_back(lambda a, b: a * jax.nn.sigmoid(b), r, a, b)
    for found, expected in zip(gated, oracle.elementwise([a, b], r), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", NORMS)
def test_norms_are_linear_with_their_statistics_fixed(kind):
    spellings = KINDS[kind].spellings
    x, r = random(31, 2, 6), random(32, 2, 6)

    @compiled
    def run(x, r):
        return {
            name: sent_back(lambda h, f=f: f(W, h), r, x)[0]
            for name, f in spellings.items()
        }

    with jax.numpy_rank_promotion("allow"):
        found = run(x, r)
    rows = zip(np.asarray(x), np.asarray(r), strict=True)
    expected = np.stack([NORMS[kind](*row) for row in rows])
    assert len(found) >= 8
    for name, relevance in found.items():
        np.testing.assert_allclose(relevance, expected, rtol=1e-8, err_msg=name)


@pytest.mark.parametrize("epsilon", [1e-6, 0.05])
def test_a_whole_transformer_is_explained_as_in_the_paper(epsilon):
    """Every denominator of two layers, with its stabilizer, site by site."""
    v, x, target = network.weights(), random(40, 2, 4, network.WIDTH), [0, 2]
    of_layers = [f"layer_{i}/add_1" for i in range(network.DEPTH - 1)]
    # The lines of all presets have a stabilizer of their own.
    roles = ji.of_role("add", "linear", "softmax")
    composite = [(roles, rules.Norm(epsilon)), *rules.attn_lrp(epsilon).lines]
    if epsilon == 1e-6:
        composite = rules.attn_lrp()

    @compiled
    def run(v, x):
        model = network.gated_transformer
        at = [None, *map(ji.at, of_layers)]
        methods = [ji.attribution.lrp(model, composite=composite, at=a) for a in at]
        return [jax.tree.leaves(m(v, x, np.array(target)))[0] for m in methods]

    found = run(v, x)
    for i, (example, label) in enumerate(zip(x, target, strict=True)):
        passed = Pass(v, network.HEADS, network.FLOOR, signed(epsilon))
        logits = passed.forward(np.asarray(example))
        expected = passed.backward(logits, label)
        for ours, textbook in zip(found, expected, strict=True):
            scale = np.abs(textbook).max()
            np.testing.assert_allclose(ours[i], textbook, rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("site", [None, "layer_0/add", "layer_0/add_1", "layer_1/add"])
def test_relevance_of_each_layer_is_conserved_or_accounted_for(site):
    v, x = network.weights(), random(40, 2, 4, network.WIDTH)
    model, target = network.gated_transformer, np.array([0, 2])
    books = ji.ledger(model, rules.attn_lrp(), v, x, target, at=site)
    assert books.error <= 1e-12
    rest = books.score - books.attributed - books.absorbed
    assert abs(rest) <= 1e-12 * abs(books.score)
    assert abs(books.absorbed) > 1e-3  # biases have their share


def test_a_norm_in_a_loop_or_a_checkpoint_or_by_itself_is_the_same():
    def norm(x):
        c = x - x.mean(-1, keepdims=True)
        return c * lax.rsqrt((c * c).mean(-1, keepdims=True) + EPS)

    def in_a_loop(x):
        return lax.scan(lambda h, _: (norm(h), None), x, None, length=1)[0]

    x, r = random(8, 2, 6), random(9, 2, 6)
    rows = zip(np.asarray(x), np.asarray(r), strict=True)
    ones, zeros = np.ones(6), np.zeros(6)
    expected = [oracle.layer_norm(a, ones, zeros, EPS, b) for a, b in rows]
    for fn in (norm, in_a_loop, jax.checkpoint(norm), jax.jit(norm)):
        (found,) = sent_back(fn, r, x)
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_shift_and_stabilizer_are_in_the_books():
    def model(w, x):
        h = grouped(x) - grouped(x).mean(-1, keepdims=True)
        h = h / jnp.sqrt((h * h).mean(-1, keepdims=True) + 0.1)
        return h.reshape(x.shape) * w["gain"][None] + w["shift"][None]

    x = random(10, 4, 6)
    composite = rules.attn_lrp(0.25)
    books = ji.ledger(model, composite, W, x, score=ji.objectives.total)
    (entry,) = (e for e in books.entries if str(e.rule).startswith("FixedStat"))
    assert books.error <= 1e-12
    assert abs(entry.bias) > 0.01
    assert entry.stabilizer > 0.01


def test_of_a_quotient_the_dividend_gets_all():
    def model(_, x):
        return jnp.tanh(x) / jnp.maximum(jnp.abs(x.sum(-1, keepdims=True)), 1.0)

    x = random(11, 4, 6)
    quotient = rules.Composite([(ji.of_role("quotient"), rules.FixedStatistics(0.0))])
    composite = quotient + rules.epsilon_plus(0.0)
    received = ji.attribution.lrp(model, composite=composite, score=ji.objectives.total)
    np.testing.assert_allclose(received(None, x), model(None, x), rtol=1e-9)
    for fn in (lambda a, b: a / b, lambda a, b: a * jnp.square(b) ** -0.5):
        a, b, r = x, 2 + jnp.abs(random(12, 4, 6)), random(13, 4, 6)
        rest = [("*", rules.Gradient())]
        of_a, of_b = sent_back(fn, r, a, b, composite=quotient + rest)
        np.testing.assert_allclose(of_a, r, rtol=1e-9)
        np.testing.assert_array_equal(of_b, 0)


def test_an_error_at_a_quotient_says_which_rule_it_needs():
    with pytest.raises(rules.UnmatchedSiteError, match=r"rules.FixedStatistics\(\)"):
        sent_back(jnp.divide, random(1, 2, 3), random(2, 2, 3), random(3, 2, 3))


def test_only_a_normalization_has_statistics():
    with pytest.raises(rules.RuleSiteError, match="a normalization"):
        sent_back(
            jnp.tanh,
            random(1, 2, 3),
            random(2, 2, 3),
            composite=rules.Composite([("*", rules.FixedStatistics())]),
        )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("count", [0, 2])
def test_the_dtype_is_kept(dtype, count):
    x = random(3, count, 6).astype(dtype)
    (found,) = sent_back(lambda x: jax.nn.standardize(x), jnp.ones_like(x), x)
    assert found.dtype == dtype
    assert jnp.isfinite(found).all()


def test_a_transformer_reads_the_token_that_decides_or_the_marker_before_it():
    apply_fn, variables, draw = ji.models.pretrained("evidence_transformer")
    data = draw(jax.random.key(0), 200)
    attribute = ji.attribution.lrp(apply_fn, composite="attn_lrp", at=SITE)
    relevance = compiled(attribute)(variables, data.tokens, data.labels)
    order = np.asarray(relevance.sum(-1)).argsort(1)
    position = np.asarray(data.position)[:, None]
    is_either = (order[:, -1:] == position) | (order[:, -1:] == position - 1)
    assert is_either.mean() >= 0.85  # 0.865
    assert (order[:, -2:] == position).any(1).mean() >= 0.7  # 0.73


def test_each_role_of_a_transformer_has_its_rule():
    apply_fn, variables, draw = ji.models.pretrained("evidence_transformer")
    tokens = draw(jax.random.key(0), 2).tokens
    rows = ji.plan(apply_fn, rules.attn_lrp(0.1), variables, tokens).rows
    found = {row.role: row.rule for row in rows}
    assert found["normalization"] == rules.FixedStatistics(0.1)
    assert found["matmul"] == rules.Uniform(0.1)
    assert found["dense"] == rules.Epsilon(0.1)
    assert found["softmax"] == found["add"] == rules.Norm()
    assert found["activation"] == rules.Pass()


@pytest.mark.slow(reason="explains a whole transformer, site by site")
def test_the_books_of_a_transformer_close():
    apply_fn, variables, draw = ji.models.pretrained("evidence_transformer")
    data = draw(jax.random.key(0), 4)
    arguments = (variables, data.tokens, data.labels)
    books = ji.ledger(apply_fn, rules.attn_lrp(), *arguments, at=SITE)
    assert books.error <= 1e-5


def test_what_a_scale_of_zero_makes_constant_gets_nothing_and_the_ledger_says_so():
    w = {"dense": jnp.ones((3, 4)), "mask": jnp.array([[1.0], [0.0]]), "bias": 0.5}

    def model(w, x):  # a row of the tokens is masked
        h = jnp.tanh(x @ w["dense"]) * w["mask"][None] + w["bias"]
        return h.sum(1)

    x = jnp.arange(6.0).reshape(1, 2, 3)
    composite, target = ji.rules.epsilon_plus(1e-12), jnp.array([1])
    relevance = ji.attribution.lrp(model, composite=composite)(w, x, target)
    assert jnp.abs(relevance[:, 1]).max() == 0
    assert jnp.abs(relevance[:, 0]).min() >= 0
    assert ji.ledger(model, composite, w, x, target).error < 1e-9
