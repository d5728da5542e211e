"""The tour: its page, what it asks of a model of one's own, and the whole of it."""

import re
import shutil
import subprocess
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.tour import Subject
from experiments.tour import __main__ as tour
from experiments.tour.page import Answered, Picture, Section, drawing, page
from experiments.tour.subject import built, checked

IMAGES = np.zeros((64, 4, 4, 1))
SUBJECT = Subject(lambda v, x: x.mean((1, 2)), None, IMAGES, np.zeros(64, int), ["a"])


def test_a_page_has_its_questions_answers_and_limits_and_fetches_nothing() -> None:
    section = Section("Yes < no.", [drawing(Figure(), "A & b.")], "Not that é.")
    text = page("Title", "Lead.", [Answered("Is it so?", section, "x = 1", 2.0)], "End")
    assert text.isascii()
    for part in ("Yes &lt; no.", "A &amp; b.", "Not that &#233;.", "x = 1", "Lead."):
        assert part in text
    assert re.findall(r'href="#([^"]+)"', text) == re.findall(r'id="([^"]+)"', text)
    assert fetched(text) == []
    assert 'name="viewport"' in text


def fetched(text: str) -> list[str]:
    """What a browser would ask others for."""
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    return [s for s in sources if not s.startswith(("data:image/png;base64,", "#"))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": IMAGES[..., 0]}, r"shape \(64, 4, 4\)"),
        ({"images": IMAGES[:3]}, "there are 3 images, and at least 64"),
        ({"images": IMAGES - 1}, r"not within \[0, 1\]"),
        ({"images": IMAGES * np.nan}, r"not within \[0, 1\]"),
        ({"labels": np.zeros(64)}, "`labels` are float64"),
        ({"labels": np.ones(64, int)}, "outside of the 1 class names"),
    ],
)
def test_a_subject_whose_parts_do_not_fit_is_an_error(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        checked(SUBJECT._replace(**change))


def test_a_model_that_cannot_be_built_is_an_error() -> None:
    with pytest.raises(SystemExit, match="No module named 'no_such_module'"):
        built("no_such_module:build")
    with pytest.raises(SystemExit, match=r"returned tuple, not an `experiments\.tour"):
        built("platform:mac_ver")


def test_what_cannot_be_answered_for_a_model_of_ones_own_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(subject: Any, key: Any) -> Section:
        raise ValueError(f"{len(subject.images)} images are not enough")

    broken = types.ModuleType("broken")
    broken.answer = fail  # type: ignore[attr-defined]
    fine = types.ModuleType("fine")
    fine.answer = lambda *_: Section("Fine.", [Picture("", "x")], "y")  # type: ignore
    monkeypatch.setattr(tour.inspect, "getsource", lambda module: module.__name__)
    questions = [
        tour.Question("Broken?", broken),
        tour.Question("Fine?", fine),
        tour.Question("Of another model?", fine, False),
    ]
    monkeypatch.setattr(tour, "QUESTIONS", questions)
    answers = tour.run(SUBJECT, tmp_path, is_own=True)
    assert [one.question for one in answers] == ["Broken?", "Fine?"]
    text = (tmp_path / "index.html").read_text()
    assert "ValueError: 64 images are not enough" in text
    with pytest.raises(ValueError, match="not enough"):
        tour.run(SUBJECT, tmp_path)


@pytest.mark.slow(reason="asks the shipped networks all questions")
def test_the_whole_tour_is_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    tour.main(["--output", str(tmp_path)])
    file = tmp_path / "index.html"
    text = file.read_text()
    assert file.stat().st_size < 8_000_000
    assert text.count("<section") == len(tour.QUESTIONS) == 12
    assert fetched(text) == []
    answers = re.findall(r'class="answer">([^<]*)', text)
    assert not any("nan" in answer for answer in answers)
    assert any("Yes." in answer for answer in answers), "the watermark is caught"
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr")
    run = subprocess.run(
        [browser, *options, "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "CONSOLE" not in run.stderr
    assert run.stdout.count("<section") == 12
