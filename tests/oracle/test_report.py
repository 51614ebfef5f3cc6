"""The report: its numbers are the measures', its page is whole, self-contained and well-formed."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from gouache import data, image, measure, random, recipes, report, samples
from gouache.cli.main import main
from gouache.generate import Diffusion
from gouache.report import _chart

N = 60
SECTIONS = ["samples", "trajectory", "nearest", "training", "measures", "data", "reproduce"]
VOID = {"meta", "img", "br", "polyline", "path"}
TINY = {"steps": "6", "widths": "8,8", "batch": "8", "log_every": "1", "sample_steps": "4"}


class Page(HTMLParser):
    """What a test asks of a page; unbalanced tags fail at once."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.headings = [], [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, text):
        self.text += f" {text}"
        if self.open and re.fullmatch(r"h\d", self.open[-1]):
            self.headings.append(int(self.open[-1][1]))

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def make_run(plan, folder, **settings):
    for _ in recipes.run(plan.override(TINY | settings), folder):
        pass
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(recipes.digits_diffusion(), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def gathered(run):
    return report.gather(run, n=N, seed=3)


@pytest.fixture(scope="module")
def page(gathered):
    return Page(report.render(gathered))


@pytest.fixture(scope="module")
def sets(gathered, run):
    """Return held-out images and labels, what the run's folder of samples holds, and training."""
    parts = [data.digits(split) for split in ("validation", "test")]
    real = torch.cat([part.all() for part in parts])
    files = sorted((run / "samples").rglob("*.png"), key=lambda file: file.name)
    fake = torch.stack([image.load(file) for file in files])
    labels = torch.tensor([int(file.parent.name) for file in files])
    return real, torch.cat([part.labels for part in parts]), fake, labels, data.digits("train")


def test_scores_are_the_measures_of_the_files(gathered, sets):
    real, real_labels, fake, fake_labels, train = sets
    assert len(fake) == N
    expected = [
        measure.frechet(real, fake, features="pca-20"),
        measure.precision(real, fake, features="pca-20", k=5),
        measure.memorization(real, fake, train=train.all()),
        measure.classification_accuracy(
            real, fake, real_labels=real_labels, fake_labels=fake_labels
        ),
    ]
    found = {score.name: score for score in gathered.scores}
    assert found.keys() == {
        *("frechet", "kernel", "precision", "recall", "density", "coverage"),
        *("memorization", "classification_accuracy"),
    }
    for score in expected:
        assert found[score.name].value == pytest.approx(score.value, rel=1e-6, abs=1e-9)
        assert found[score.name].n_fake == N


def test_table_shows_every_score_with_its_error_and_floor(gathered, page):
    cells = " ".join(page.text.split())
    for row in measure.table(gathered.scores)[1:]:
        name, value, error, floor = row[:4]
        assert f"{name} {value} ± {error} {floor}" in cells


def test_page_tells_what_a_copier_would_score(gathered, page):
    copiers = [score.extra["train"] for score in gathered.scores if "train" in score.extra]
    text = " ".join(page.text.split())
    assert copiers
    assert all(f"copier of the training set would score {x:.3g}." in text for x in copiers)
    assert "no model can be expected to do better" not in text


def test_pairs_are_the_closest_samples_and_their_quantiles(gathered, sets):
    real, _, fake, fake_labels, train = sets
    distance = (fake.flatten(1)[:, None] - train.all().flatten(1)).norm(dim=2)
    null = (real.flatten(1)[:, None] - train.all().flatten(1)).norm(dim=2).amin(1)
    closest = distance.amin(1).argsort()[: len(gathered.pairs)]
    for pair, i in zip(gathered.pairs, closest.tolist(), strict=True):
        least = float(distance[i].min())
        assert pair.distance == pytest.approx(least, abs=1e-5)
        assert float((pair.sample - pair.train).norm()) == pytest.approx(least, abs=1e-5)
        assert pair.quantile == pytest.approx(float((null < least).double().mean()), abs=2e-3)
    assert gathered.pairs[0].name == str(int(fake_labels[closest[0]]))


def test_rows_are_the_samples_of_their_class(gathered, sets):
    _, _, fake, fake_labels, _ = sets
    for k, row in enumerate(gathered.rows):
        assert row.name == str(k)
        torch.testing.assert_close(row.images, fake[fake_labels == k][:10], rtol=0, atol=1e-6)


def test_trajectory_ends_at_an_image_and_starts_from_noise(gathered):
    x_t, x0 = gathered.trajectory
    assert x_t.shape == x0.shape == (4, 6, 1, 8, 8)
    torch.testing.assert_close(x_t[-1], x0[-1], rtol=0, atol=0.1)
    assert float((x_t[0] - x0[0]).abs().mean()) > float((x_t[-1] - x0[-1]).abs().mean())


def test_same_seed_same_report_another_seed_another(run, gathered):
    again, other = report.gather(run, n=N, seed=3), report.gather(run, n=N, seed=4)
    assert report.render(again) == report.render(gathered)
    assert not torch.equal(other.rows[0].images, gathered.rows[0].images)


def test_page_has_every_section_in_order(page):
    ids = [attrs["id"] for attrs in page.all("section")]
    assert ids == [*SECTIONS, "settings"]
    assert page.headings[0] == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))


def test_page_fetches_nothing(gathered, page):
    for tag, attrs in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "base"}
        for key in ("src", "href", "srcset", "data", "poster"):
            assert attrs.get(key, "data:").startswith("data:")
    assert "url(" not in report.render(gathered)
    assert "@import" not in report.render(gathered)


def test_pictures_decode_to_their_size_and_have_words(page):
    pictures = page.all("img")
    assert len(pictures) == 10 + 2 + 2 * 12
    for attrs in pictures:
        head, code = attrs["src"].split(",", 1)
        assert head == "data:image/png;base64"
        decoded = Image.open(io.BytesIO(base64.b64decode(code)))
        assert decoded.size == (int(attrs["width"]), int(attrs["height"]))
        assert len(attrs["alt"]) > 3
    assert all(attrs["aria-label"] for attrs in page.all("svg"))


def test_page_suits_phones_and_the_dark(gathered):
    text = report.render(gathered)
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text


def test_page_tells_how_to_make_it_again(page):
    text = " ".join(page.text.split())
    threads = torch.get_num_threads()
    line = f"gouache train digits_diffusion --data digits --threads {threads} steps=6 widths=8,8"
    assert line in text
    assert f"gouache report RUN -n {N} --seed 3" in text
    assert torch.__version__ in text


def test_names_are_escaped(gathered):
    import dataclasses

    row = report.Row("<script>alert(1)</script>", gathered.rows[0].images)
    text = report.render(dataclasses.replace(gathered, rows=(row,), title="a & <b>"))
    assert "<script>" not in text
    assert "a &amp; &lt;b&gt;" in text


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    monkeypatch.setenv("GOUACHE_CACHE", str(tmp_path / "cache"))
    pixels = torch.rand(150, 3, 8, 8, generator=random.generator(0))
    for k, picture in enumerate(pixels):
        image.save(picture, tmp_path / f"mine/{k:03d}.png")
    return tmp_path


def test_run_in_colour_without_labels(photographs):
    plan = recipes.diffusion(str(photographs / "mine"))
    folder = make_run(plan, photographs / "run")
    made = report.write(folder, photographs / "page.html", n=30)
    page = Page((photographs / "page.html").read_text("utf-8"))
    assert [attrs["id"] for attrs in page.all("section")] == [*SECTIONS, "settings"]
    assert made.rows[0].images.shape == (10, 3, 8, 8)
    assert "classification_accuracy" not in {score.name for score in made.scores}
    assert any("no labels" in reason for reason in made.absent)
    assert "Left out" in page.text


def test_run_without_held_out_images_says_so(photographs):
    place = photographs / "sorted/train"
    place.parent.mkdir()
    (photographs / "mine").rename(place)
    plan = recipes.diffusion(str(place.parent))
    made = report.gather(make_run(plan, photographs / "run", batch="2"), n=8)
    assert made.scores == ()
    assert any("no held-out images" in reason for reason in made.absent)
    assert len(made.pairs) == 8
    Page(report.render(made))


def test_run_that_draws_no_images_says_so(tmp_path):
    folder = tmp_path / "run"
    for _ in recipes.run(recipes.digits_features().override({"steps": "2"}), folder):
        pass
    made = report.gather(folder)
    page = Page(report.render(made))
    assert [attrs["id"] for attrs in page.all("section")] == ["samples", *SECTIONS[3:], "settings"]
    assert "draws no images" in page.text


@pytest.fixture
def copied(run, tmp_path):
    """Return a copy of the run, to be changed."""
    return shutil.copytree(run, tmp_path / "copied")


def test_run_without_checkpoints_is_reported_all_the_same(copied, gathered):
    shutil.rmtree(copied / "checkpoints")
    made = report.gather(copied, n=N, seed=3)
    assert [score.value for score in made.scores] == [score.value for score in gathered.scores]
    assert made.machine == {}
    assert "machine unknown: no checkpoint is left" in " ".join(
        Page(report.render(made)).text.split()
    )
    assert gathered.machine.keys() == {"device", "machine", "threads", "precision"}


def test_run_with_nothing_trained_is_refused(copied):
    shutil.rmtree(copied / "checkpoints")
    (copied / "model/config.json").unlink()
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        report.gather(copied)


@pytest.mark.parametrize("trained", [True, False], ids=["trained", "unfinished"])
def test_parameters_are_those_of_the_run_whatever_the_recipe_is_now(copied, trained):
    """As if the recipe had other widths when the run was made: they are not among the changes."""
    if not trained:
        shutil.rmtree(copied / "model")
    file = copied / "run.json"
    content = json.loads(file.read_text())
    del content["changed"]["widths"]
    file.write_text(json.dumps(content))
    wanted = sum(p.numel() for p in samples.open_model(copied)[0].parameters())
    assert report.gather(copied, n=N).parameters == wanted
    assert wanted < sum(p.numel() for p in recipes.load_plan(copied).build().parameters())


def test_device_is_where_the_samples_are_drawn(copied, monkeypatch):
    """Under the name of a GPU that is not there: the move is seen, and not made."""
    seen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Diffusion, "to", lambda model, device: seen.append(device) or model)
    for words in ([], ["--device", "cuda"], ["--device", "auto"]):
        assert main(["report", str(copied), "-n", "20", *words]) == 0
    assert seen == ["cpu", "cuda", "cuda"]


def test_page_replaces_the_old_one_whole_or_not_at_all(run, tmp_path, monkeypatch):
    from gouache.report import _write

    def fail(*_):
        raise OSError("the disk is full")

    page = tmp_path / "page.html"
    page.write_text("old")
    monkeypatch.setattr(_write, "render", fail)
    with pytest.raises(OSError, match="full"):
        report.write(run, page, n=20)
    assert page.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("log", [False, True])
def test_chart_maps_values_to_places(log):
    series = _chart.Series("s", [0, 5, 10], [1.0, 10.0, 100.0], "c0")
    text = _chart.line_chart([series], title="t", x_label="x", y_label="y", log=log)
    points = re.search(r'points="([^"]*)"', text).group(1)
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, p.split(","))) for p in points.split()]
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    share = (y0 - y1) / (y0 - y2)
    assert share == pytest.approx(0.5 if log else 9 / 99, abs=0.01)


def test_chart_leaves_out_what_cannot_be_drawn():
    series = _chart.Series("", [0, 1, 2], [float("nan"), 0.0, 2.0], "c0")
    text = _chart.line_chart([series], title="t", x_label="x", y_label="y", log=True)
    assert len(re.search(r'points="([^"]*)"', text).group(1).split()) == 1
    assert _chart.line_chart([], title="t", x_label="x", y_label="y") == ""


def test_histogram_sums_to_one():
    xs, ys = _chart.histogram([0.0, 0.1, 0.9, 1.0], 0, 1, 4)
    assert sum(ys[1:-1:2]) == pytest.approx(1)
    assert xs[0] == 0
    assert xs[-1] == 1


def test_grid_has_no_more_columns_than_pictures():
    page = image.grid(torch.zeros(3, 1, 2, 2), columns=10**9, pad=1)
    assert page.shape == (1, 4, 10)


def test_smooth_is_a_running_mean():
    assert _chart.smooth([1, 2, 3, 4], 2) == [1, 1.5, 2.5, 3.5]


def test_draw_is_keyed_by_seed_and_index(run):
    model, names = samples.open_model(run)
    few, many = (samples.draw(model, n, seed=1, names=names) for n in (4, 9))
    torch.testing.assert_close(few.images, many.images[:4], rtol=0, atol=1.01 / 255)
    assert many.labels.tolist() == list(range(9))


def test_run_json_is_checked(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"recipe": "x"}))
    with pytest.raises(ValueError, match="not what a run wrote"):
        recipes.read_run(tmp_path)
