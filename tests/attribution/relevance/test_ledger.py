"""The books of a relevance pass: they close, and they show who loses relevance."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.attribution import lrp
from jaxinterp.attribution.relevance.ledger import Entry, Ledger
from jaxinterp.objectives import contrastive, total
from tests.few import few
from tests.networks import functions as models
from tests.networks.architectures import SMALL, TABLE, as_dtype
from tests.rules.replay import NETWORKS, below, golden
from tests.tracing.arrays import normal

CNN, IMAGES, TARGET = models.cnn_weights(), models.images(), models.targets()
LAYERS, X = models.mlp_weights(), models.vectors()
CONSERVING = {
    "epsilon_plus": rules.epsilon_plus(),
    "epsilon_plus_flat": rules.epsilon_plus_flat(),
    "epsilon_alpha2_beta1": rules.epsilon_alpha2_beta1(),
    "epsilon_alpha2_beta1_flat": rules.epsilon_alpha2_beta1_flat(),
    "epsilon_gamma_box": rules.epsilon_gamma_box(-9.0, 9.0),
    "excitation_backprop": rules.excitation_backprop(),
    "deep_taylor": rules.deep_taylor(),
    "deep_taylor bounded": rules.deep_taylor(-9.0, 9.0),
}


@dataclasses.dataclass(frozen=True)
class Leaky(rules.Rule):
    """A rule that loses a tenth of what it should hand on, and says nothing."""

    rest: rules.Rule

    def __call__(self, layer, relevance):
        received = self.rest(layer, relevance)
        return jax.tree.map(lambda r: 0.9 * r, received)


@pytest.mark.parametrize(
    ("name", "file"),
    few(
        zip(CONSERVING, 4 * list(NETWORKS), strict=True),
        2,
        reason="explains a network of some layers with another preset",
    ),
)
def test_every_rule_of_a_preset_conserves_relevance(file, name):
    """What is missing at a site is what its bias and stabilizer keep, by formula."""
    data = golden(file)
    books = ji.ledger(
        NETWORKS[file],
        CONSERVING[name],
        below(data, "params"),
        data["input"],
        data["target"],
    )
    assert books.error <= 1e-10
    moved = max(abs(entry.received) for entry in books.entries)
    # Of alpha-beta the rounding of a difference is divided by the stabilizer.
    limit = 1e-8 if "alpha" in name else 1e-10
    for entry in books.entries:
        assert abs(entry.unexplained) <= limit * moved, entry.site


def test_the_books_add_up():
    books = ji.ledger(models.cnn, rules.epsilon_plus(), CNN, IMAGES, TARGET)
    logits = models.cnn(CNN, IMAGES)[np.arange(3), TARGET]
    assert books.score == pytest.approx(float(logits.sum()), rel=1e-12)
    received = lrp(models.cnn, composite=rules.epsilon_plus())(CNN, IMAGES, TARGET)
    assert books.attributed == pytest.approx(float(received.sum()), rel=1e-10)
    rest = books.score - books.attributed - books.absorbed - books.unexplained
    assert rest == pytest.approx(0, abs=1e-12)
    assert books.absorbed == pytest.approx(
        sum(e.bias + e.stabilizer for e in books.entries)
    )
    head = books.entries[-1]
    assert head.site == "head"
    assert head.received == pytest.approx(books.score)
    assert head.bias != 0


def test_without_biases_nothing_is_kept_but_by_stabilizers():
    books = ji.ledger(models.unbiased_mlp, rules.epsilon_plus(1e-12), LAYERS, X, TARGET)
    assert books.attributed == pytest.approx(books.score, rel=1e-9)
    assert all(entry.bias == pytest.approx(0, abs=1e-14) for entry in books.entries)
    heavy = ji.ledger(models.unbiased_mlp, rules.epsilon_plus(0.5), LAYERS, X, TARGET)
    assert heavy.attributed != pytest.approx(heavy.score, rel=0.01)
    assert heavy.unexplained == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("site", "rest"),
    [("relu", rules.Pass()), ("conv", rules.ZPlus()), ("add", rules.Norm())],
)
def test_a_rule_that_loses_relevance_is_found(site, rest):
    composite = rules.Composite([(site, Leaky(rest))]) + rules.epsilon_plus()
    books = ji.ledger(models.cnn, composite, CNN, IMAGES, TARGET)
    by_site = {entry.site: entry for entry in books.entries}
    lost = by_site.pop(site)
    assert books.error == pytest.approx(abs(lost.unexplained / books.score), rel=1e-9)
    assert books.leak == site
    assert f"most at {site!r}" in str(books)
    assert books.error > 0.01
    assert abs(lost.unexplained) > 0.05 * abs(lost.handed_on)
    assert "Leaky" in lost.rule
    assert books.unexplained == pytest.approx(lost.unexplained, rel=1e-9)
    for entry in by_site.values():
        assert abs(entry.unexplained) <= 1e-10


def test_the_plain_derivative_does_not_conserve():
    composite = rules.Composite([("tanh", rules.Gradient())]) + rules.epsilon_plus()
    books = ji.ledger(models.smooth_mlp, composite, LAYERS, X, TARGET)
    by_site = {entry.site: entry for entry in books.entries}
    assert abs(by_site["tanh"].unexplained) > 1e-3
    assert by_site["tanh"].rule == "Gradient()"
    assert abs(by_site["tanh_1"].unexplained) <= 1e-12


def test_a_ledger_prints_as_a_table_and_as_html():
    books = ji.ledger(models.mlp, rules.epsilon_plus(), LAYERS, X, TARGET)
    head, _, *rows, last = str(books).splitlines()
    assert head.split() == [
        *("site", "rule", "received", "handed", "on", "bias", "stabilizer"),
        "unexplained",
    ]
    assert [row.split()[0] for row in rows] == [entry.site for entry in books.entries]
    assert "; error " in last
    assert f"score {books.score:.6g} = inputs {books.attributed:.6g}" in last
    assert repr(books) == str(books)
    assert books._repr_html_().count("<tr>") == len(books.entries) + 1


def test_the_numbers_of_a_printed_ledger_end_where_their_heads_do():
    entry = Entry("dense", "Pass()", 4.0, 1.0, 2.0, 0.5)
    head, _, row, _ = str(Ledger((entry,), 4.0, 1.0)).splitlines()
    cells = re.compile(r"\S+( \S+)*")  # between two spaces or more
    of_head, of_row = ([c.end() for c in cells.finditer(t)] for t in (head, row))
    assert of_row[2:] == of_head[2:]


def test_other_scores_and_pytrees():
    variables, x = models.two_weights(), models.pair()
    for score in (total, contrastive):
        books = ji.ledger(
            models.two_inputs, rules.epsilon_plus(), variables, x, TARGET, score=score
        )
        value = score(models.two_inputs(variables, x), TARGET)
        assert books.score == pytest.approx(float(value.sum()), rel=1e-10)
        assert books.error <= 1e-10


@pytest.mark.parametrize(
    "dtype",
    few([jnp.bfloat16, jnp.float16, jnp.float32], 1, reason="rounds less"),
)
def test_low_precision(dtype):
    variables, x = as_dtype(
        (jax.tree.map(jnp.asarray, CNN), jnp.asarray(IMAGES)), dtype
    )
    books = ji.ledger(models.cnn, rules.epsilon_plus(), variables, x, TARGET)
    # Every hand-over is rounded to the dtype of the activation.
    assert books.error <= 20 * float(jnp.finfo(dtype).eps)


def test_errors_are_those_of_attribution():
    with pytest.raises(ValueError, match="needs a target"):
        ji.ledger(models.mlp, rules.epsilon_plus(), LAYERS, X)
    with pytest.raises(TypeError, match="only real numbers have a gradient"):
        ji.ledger(
            models.one_hot_tagger,
            rules.epsilon_plus(),
            models.token_weights(),
            models.tokens(),
            TARGET,
        )
    with pytest.raises(rules.UnmatchedSiteError):
        ji.ledger(models.mlp, rules.Composite([]), LAYERS, X, TARGET)


@pytest.mark.parametrize(
    "entry",
    few(
        # Those of tokens are in `test_models.py`, from their embedding; two have the
        # layers of a smaller one, only more of them.
        [
            entry
            for entry in TABLE
            if "tokens" not in entry.tags and entry.name not in ("resnet50", "vgg11_bn")
        ],
        SMALL,
        reason="many layers of kinds that smaller networks have too",
    ),
    ids=str,
)
def test_the_books_close_on_every_architecture(entry):
    apply_fn, variables = entry.build()
    variables, inputs = as_dtype((variables, entry.inputs()), jnp.float64)
    books = ji.ledger(apply_fn, rules.epsilon_plus(), variables, inputs, entry.target)
    # The softmax of NNX's attention is computed in float32.
    assert books.error <= (1e-6 if entry.name == "nnx_transformer" else 1e-10)
    assert np.isfinite(books.attributed)


def test_the_books_of_the_way_to_a_site():
    tokens, variables = models.tokens(), models.token_weights()
    composite = rules.epsilon_plus()
    books = ji.ledger(models.tagger, composite, variables, tokens, TARGET, at="*embed*")
    received = lrp(models.tagger, composite=composite, at="embed")
    attributed = received(variables, tokens, TARGET).sum()
    assert books.attributed == pytest.approx(float(attributed), rel=1e-10)
    assert books.error <= 1e-10
    assert abs(books.unexplained) <= 1e-10 * abs(books.score)
    # What lies before the site has no books.
    later = ji.ledger(models.cnn, composite, CNN, IMAGES, TARGET, at="relu_1")
    assert [entry.site for entry in later.entries] == ["mean", "head"]
    assert later.error <= 1e-10


def test_the_books_are_of_one_site():
    with pytest.raises(ValueError, match=r"ledger explains one site.* matches 2"):
        ji.ledger(models.cnn, rules.epsilon_plus(), CNN, IMAGES, TARGET, at="relu*")
    with pytest.raises(TypeError, match="only real numbers have a gradient"):
        ji.ledger(
            *(models.one_hot_tagger, rules.epsilon_plus()),
            *(models.token_weights(), models.tokens()),
        )


def test_constants_that_are_joined_to_inputs_keep_their_share():
    token = {"token": jnp.full((1, 1, 2), 3.0)}

    def model(w, x):
        tokens = jnp.broadcast_to(w["token"], (len(x), 1, 2))
        padded = jnp.pad(jnp.concatenate([tokens, x], axis=1), ((0, 0), (0, 1), (0, 0)))
        return padded.sum(1)

    x = normal(2, 4, 2)
    books = ji.ledger(model, rules.epsilon_plus(0.0), token, x, np.array([0, 1]))
    by_site = {entry.site: entry for entry in books.entries}
    # But for what the stabilizer of the sum keeps.
    assert by_site["concatenate"].bias == pytest.approx(6.0, rel=1e-5)
    expected = float(x[0, :, 0].sum() + x[1, :, 1].sum())
    assert books.attributed == pytest.approx(expected, rel=1e-5)
    assert books.error <= 1e-10


def test_books_are_kept_outside_of_jit():
    with pytest.raises(TypeError, match=r"(?s)tracing.*Call it outside"):
        jax.jit(lambda x: ji.ledger(models.cnn, rules.epsilon_plus(), CNN, x, TARGET))(
            IMAGES
        )


def test_constants_that_are_infinite_keep_nothing():
    """The decay of a state-space layer: minus infinity before an exponential."""

    def model(w, x):
        h = x @ w["in"]
        sums = jnp.cumsum(-jax.nn.softplus(h), axis=1).swapaxes(1, 2)
        differences = sums[..., :, None] - sums[..., None, :]
        mask = jnp.tril(jnp.ones(differences.shape[2:], bool))[None, None]
        decay = jnp.exp(jnp.where(mask, differences, -jnp.inf))
        mixed = jnp.einsum("bln,bsn,bhls,bsh->blh", h, x, decay, h)
        return mixed.mean(1) @ w["out"]

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 4))
    w = {"in": rng.normal(size=(4, 4)), "out": rng.normal(size=(4, 3))}
    books = ji.ledger(model, rules.epsilon_plus(), w, x, np.array([0, 0]))
    # It is booked only if what came and what went on differ in the last digit.
    booked = [entry for entry in books.entries if entry.site == "where"]
    assert all((entry.bias, entry.stabilizer) == (0, 0) for entry in booked)
    assert books.error < 1e-12
