"""The audit: planted faults turn their row red, and nothing else does."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import data, models
from jaxinterp.attribution import input_x_gradient
from jaxinterp.trust import audit, performance, reasons
from jaxinterp.trust.report import Row

KEY = jax.random.key(0)
N_IMAGES = 120


def shape_of(v, x):
    """The clean twin of the network that reads a watermark: it names shapes alone."""
    logits = models.pretrained("shapes_cnn").apply_fn(v, x)
    return logits.reshape(len(x), 4, 9).max(axis=-1)


@pytest.fixture(scope="module")
def marked():
    """Images of two classes, with a patch that gives the label away."""
    images = data.watermark(jax.random.key(5), N_IMAGES)
    is_kept = np.asarray(images.labels) < 2
    inputs = images.images[is_kept].astype(jnp.float32)
    return inputs, images.labels[is_kept]


def audited(apply_fn, variables, marked):
    """The report of reasons."""
    check = reasons(input_x_gradient(apply_fn), controls=2)
    inputs, labels = marked
    return audit(apply_fn, variables, inputs, labels, key=KEY, checks=[check])


@pytest.mark.slow(reason="draws images and compiles a network; small ones: reasons")
def test_a_watermark_is_exposed(marked):
    report = audited(*models.pretrained("watermark_cnn")[:2], marked)
    rows = report.rows["reasons"]
    assert report.verdict == "fail"
    for row in rows:
        assert row.verdict == "fail"
        assert row.low > 0.02
    text = str(report)
    assert "class 0 is not decided by a fixed place" in text
    assert "Verdict: fail" in text


@pytest.mark.slow(reason="draws images and compiles a network; small ones: reasons")
def test_its_clean_twin_passes(marked):
    report = audited(shape_of, models.pretrained("shapes_cnn").variables, marked)
    assert [row.verdict for row in report.rows["reasons"]] == ["pass"] * 2
    assert report.verdict == "pass"


INPUTS = np.eye(3)[np.arange(60) % 3]
LABELS = np.arange(60) % 3


def identity(w, x):
    return x


def good(subject):
    return [Row("a good thing", "pass", 0.5, 0.4, 0.6, 60, "above 0.3", "<well>")]


def bad(subject):
    yield Row("a bad thing", "warn")
    raise RuntimeError("broken\nin two lines")


def test_a_check_that_fails_stops_no_other():
    report = audit(identity, None, INPUTS, LABELS, key=KEY, checks=[bad, good])
    assert [row.verdict for row in report.rows["bad"]] == ["warn", "error"]
    assert report.rows["bad"][1].note == "RuntimeError: broken"
    assert report.rows["good"] == tuple(good(None))
    assert report.verdict == "error"
    assert set(report.seconds) == {"bad", "good"}


def test_it_prints_as_text_and_as_html():
    report = audit(identity, None, INPUTS, LABELS, key=KEY, checks=[good])
    line = str(report).splitlines()[2]
    assert re.split(r" {2,}", line) == [
        *("good", "a good thing", "0.500", "[0.400, 0.600]", "60", "above 0.3"),
        *("pass", "<well>"),
    ]
    page = report._repr_html_()
    assert "<td>&lt;well&gt;</td>" in page
    assert page.count("<tr>") == 2
    assert "Verdict: pass" in page
    empty = audit(identity, None, INPUTS, LABELS, key=KEY, checks=[])
    assert empty.verdict == "not applicable"


def test_a_subject_is_computed_in_batches_of_any_size():
    def shares(subject):
        yield Row(str((subject.predictions() == subject.labels).mean()), "pass")

    for batch_size in (7, 60, 100):
        report = audit(
            *(identity, None, INPUTS, LABELS),
            key=KEY,
            checks=[shares],
            batch_size=batch_size,
        )
        assert report.rows["shares"][0].claim == "1.0"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": LABELS[1:]}, ValueError, r"60 examples, and labels of .* \(59,\)"),
        ({"inputs": INPUTS[:0], "labels": LABELS[:0]}, ValueError, "0 examples"),
        ({"labels": LABELS / 2}, TypeError, "labels are integers, and are float64"),
        ({"checks": [good, good]}, ValueError, "one name: good, good"),
        ({"key": 0}, TypeError, "audit"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be"),
    ],
)
def test_wrong_calls(change, error, message):
    arguments = {"inputs": INPUTS, "labels": LABELS, "key": KEY, "checks": [good]}
    arguments |= change
    with pytest.raises(error, match=message):
        audit(
            identity,
            None,
            arguments.pop("inputs"),
            arguments.pop("labels"),
            **arguments,
        )


@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        (lambda w, x: x * np.nan, np.zeros(30, int), "logits of example 0"),
        (lambda w, x: x[:, 0], np.zeros(30, int), "is to return logits"),
        (lambda w, x: (x, x), np.zeros(30, int), "is to return logits"),
        (lambda w, x: x, np.full(30, 7), "labels run from 0 to 2"),
    ],
)
def test_no_accuracy_is_made_of_what_are_no_logits(model, labels, message):
    """The largest of NaN would count as class 0, and that of one row as the class."""
    report = audit(
        *(model, None, np.ones((30, 3)), labels),
        key=jax.random.key(0),
        checks=[performance()],
    )
    assert report.verdict == "error"
    assert message in report.rows["performance"][-1].note


def test_checks_are_functions_that_return_rows():
    arguments = (lambda w, x: x, None, np.ones((3, 3)), np.arange(3))
    for wrong in (performance(), "performance", [3]):
        with pytest.raises(TypeError, match="audit: `checks`"):
            audit(*arguments, key=jax.random.key(0), checks=wrong)
    for rows in ([3], [Row("claim", "good")]):
        report = audit(*arguments, key=jax.random.key(0), checks=[lambda s, r=rows: r])
        assert report.verdict == "error"
        assert "a check returns rows" in str(report)
