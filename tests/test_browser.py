"""Reports and the index of runs in a real browser, from file:// and without a network."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_ecg.files import read_json, write_json
from keras_ecg.runs import find_or_create, publish

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
RUNS = Path(__file__).resolve().parents[1] / "Research_Runs"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that fails the test where the console shows an error or anything but a file is requested."""
    wrong: list[str] = []
    page = browser.new_page(viewport=PHONE)
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
    )
    yield page
    page.close()
    assert wrong == []


def of_each_kind() -> list:
    """A published report of each kind of run, and the rhythm report with robustness and occlusion maps."""
    found = {}
    for path in sorted(RUNS.glob("*/report.html")):
        kind = read_json(path.parent / "environment.json")["kind"]
        found.setdefault(kind, path)
        if (path.parent / "occlusion.npz").is_file():
            found[f"{kind} with maps"] = path
    return [pytest.param(path, id=kind) for kind, path in found.items()]


def overflow(page) -> int:
    """How many pixels the page is wider than the screen."""
    return page.evaluate("document.scrollingElement.scrollWidth - innerWidth")


def picture_sizes(page) -> list[tuple[float, float]]:
    boxes = (
        "[...document.querySelectorAll('figure svg')].map(x => x.getBoundingClientRect()).map(b => [b.width, b.height])"
    )
    return page.evaluate(boxes)


@pytest.mark.parametrize("path", of_each_kind())
def test_report_fits_a_phone_and_has_its_pictures(page, path):
    page.goto(path.as_uri())
    assert page.locator("h1").count() == 1 and overflow(page) <= 0
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert overflow(page) <= 0
    pictures = picture_sizes(page)
    assert pictures and all(width > 100 and height > 20 for width, height in pictures)
    assert page.locator("figure svg:not([aria-label])").count() == page.locator("table:not([aria-label])").count() == 0
    assert page.locator("#definitions tbody tr").count() > 5
    assert page.evaluate("document.querySelectorAll('th:not([scope])').length") == 0


def test_report_prints_with_details_unfolded_and_without_menu(page):
    page.goto(of_each_kind()[0].values[0].as_uri())
    assert page.locator("#definitions table").first.is_hidden() and page.locator("nav").is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#definitions table").first.is_visible() and page.locator("nav").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_follows_the_colour_scheme(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(of_each_kind()[0].values[0].as_uri())
    ink, paper = (
        sum(map(int, page.evaluate(f"getComputedStyle(document.body).{what}")[4:-1].split(",")))
        for what in ("color", "backgroundColor")
    )
    assert (ink < paper) == (scheme == "light")


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """An index of three runs whose accuracy and settings differ."""
    root, rng = tmp_path_factory.mktemp("published"), np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    for k, lean in enumerate((0.3, 0.02, 0.1)):
        config = {"title": "A test", "evaluation": {"bootstrap": 20}, "training": {"epochs": k + 1}}
        run = find_or_create(root / "Research_Runs", "final_records", "cnn", f"f{k}", config, "x", {"kind": "beats"})
        p = rng.dirichlet(np.ones(5), (2, 90)) + 4 * lean * np.eye(5)[y]
        p /= p.sum(-1, keepdims=True)
        records = np.repeat(["a", "b", "c"], 30)
        run.write_predictions(
            record=records, subject=records, sample=np.arange(90), y_true=y, probabilities=p, seeds=[0, 1]
        )
        metrics = run.finish()
        publish(root, f"claim-{k}", run.path.name, f"{('Alpha', 'Beta', 'Gamma')[k]} <&>")
        write_json(root / f"{k}.json", metrics)
    return root / "Research_Runs" / "index.html"


def shown(page, column: int) -> list[str]:
    cells = page.locator("#table tbody tr:visible")
    return [row.locator("td, th").nth(column).inner_text() for row in cells.all()]


def test_index_sorts_by_click_and_by_keyboard(page, index):
    page.set_viewport_size(DESK)
    page.goto(index.as_uri())
    value = page.get_by_role("button", name="Value", exact=True)
    value.click()
    numbers = [float(text) for text in shown(page, 6)]
    assert numbers == sorted(numbers) and len(set(numbers)) == 3
    head = page.locator("th", has=value)
    assert head.get_attribute("aria-sort") == "ascending"
    value.focus()
    page.keyboard.press("Enter")
    assert [float(text) for text in shown(page, 6)] == numbers[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Run", exact=True).click()
    assert [text.split()[0] for text in shown(page, 2)] == ["Alpha", "Beta", "Gamma"]
    assert head.get_attribute("aria-sort") == "none"


def test_index_filters_by_text_and_task(page, index):
    page.goto(index.as_uri())
    page.get_by_label("Search").fill("BETA cnn")
    assert len(shown(page, 2)) == 1 and page.get_by_role("status").inner_text() == "1 run"
    page.get_by_label("Search").fill("")
    page.get_by_label("Task").select_option("Heartbeats")
    assert len(shown(page, 2)) == 3 and page.get_by_role("status").inner_text() == "3 runs"


def test_index_compares_two_runs(page, index):
    page.set_viewport_size(DESK)
    page.goto(index.as_uri())
    boxes = page.locator("#table input[type=checkbox]")
    for k in (0, 1, 2):  # the third replaces the first
        boxes.nth(k).check()
    assert [boxes.nth(k).is_checked() for k in range(3)] == [False, True, True]
    result = page.locator("#result")
    assert "Beta <&>" in result.inner_text() and "Gamma <&>" in result.inner_text()
    b, c = (read_json(index.parents[1] / f"{k}.json")["model"]["accuracy"] for k in (1, 2))
    row = result.get_by_role("row").filter(has_text="accuracy").first.inner_text()
    assert f"{b['mean']:.3f}" in row and f"{c['low']:.3f}–{c['high']:.3f}" in row
    assert f"{'+' if c['mean'] > b['mean'] else '−'}{abs(c['mean'] - b['mean']):.3f}" in row
    differing = result.locator("table").nth(1).locator("tbody tr")
    assert [text.split() for text in differing.all_inner_texts()] == [["training.epochs", "2", "3"]]
    assert result.get_by_role("link").count() == 2
    result.get_by_role("link").first.click()
    assert page.locator("h1").inner_text().startswith("Heartbeat classification")


def test_published_index_fits_a_phone_and_links_reports_that_exist(page):
    page.goto((RUNS / "index.html").as_uri())
    assert overflow(page) <= 0
    links = page.evaluate("[...document.querySelectorAll('#table a')].map(a => a.getAttribute('href'))")
    assert len(links) == page.locator("#table tbody tr").count() > 20
    assert all((RUNS / link).is_file() for link in links)
    page.get_by_label("Task").select_option("Pretraining")
    assert 0 < len(shown(page, 1)) < len(links) and set(shown(page, 1)) == {"Pretraining"}
    assert overflow(page) <= 0
