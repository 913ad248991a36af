"""The page: well-formed, self-contained, small, safe from what it shows, and whole with pieces missing."""

import json
import re
import shutil
from contextlib import contextmanager
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import sync_playwright

from vmr.errors import EvaluationError
from vmr.evaluation.evaluate import evaluate_predictions
from vmr.methods.catalogue import ZERO_SHOT
from vmr.report import page
from vmr.report.coverage import read_coverage
from vmr.report.page import drop_pictures, make_report
from vmr.report.table_view import text_of_table

HOSTILE = "<script>alert('x')</script> \"quoted\" & <b>bold</b> appears"
_VOID = {"meta", "img", "input", "br", "link"}
_PICTURE = "data:image/webp;base64,UklGRh4AAABXRUJQVlA4TBEAAAAvAAAAAAfQ//73v/+BiOh/AAA="


class _Page(HTMLParser):
    """Checks that every element is closed in its turn, and gathers what tests ask for."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def _case_file(path, *, pictures=True):
    """A case study written by hand, whose query is hostile."""
    curves = {"start_sec": [0.0, 1.0], "end_sec": [1.0, 2.0], "start": [0.9, 0.1], "end": [0.2, 0.8], "inside": [1, 0]}
    methods = {
        "ci_mha": {"spans": [[0.0, 2.0]], "iou": 0.5, "curves": curves},
        "lgi": {"spans": [], "iou": None, "curves": None},
    }
    video = "<img src=x onerror=alert(1)>"
    case = {
        "query_id": "test:1", "video_id": video, "sentence": HOSTILE, "kinds": ["worst", "random"],
        "truth": [0.0, 1.0], "duration_sec": 2.0, "methods": methods,
    }  # fmt: skip
    strips = {video: {"duration_sec": 2.0, "times": [0.5, 1.5], "pictures": [_PICTURE] * 2}} if pictures else {}
    study = {
        "dataset": "toy", "split": "test", "features": "synthetic", "decides": "ci_mha",
        "seeds": {"ci_mha": 0, "lgi": 0}, "queries": 30, "answered": 24, "draw_seed": 0, "strips": strips,
        "no_strips": "" if pictures else "No pictures: the features are simulated, no video was seen.", "cases": [case],
    }  # fmt: skip
    path.write_text(json.dumps(study))
    return path


def _make(made, folder, **more):
    output = folder / "toy_report.html"
    make_report(**made.sources() | {"output": output} | more)
    return output.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    project = tmp_path_factory.mktemp("project")
    folder = project / "work/d/benchmarks"
    (folder / "train").mkdir(parents=True)
    (project / "logs/d/train").mkdir(parents=True)
    (project / "logs/d/train/a.log").write_text("31.2 % of what this machine can do, over 10.0 s\n")
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for name, line in (("a", "10.5\t0:00:10\t700.0"), ("b", "20.0\t0:00:20\t900.5")):
        (folder / "train" / f"{name}.tsv").write_text(f"{header}{line}\t1\t1\t1\t0\t0\t50\t5.5\n")
    (folder / "parse.tsv").write_text(f"{header}0.2\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t-\n")
    return folder


@pytest.fixture(scope="module")
def text(made, benchmarks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return _make(made, folder, cases=[_case_file(folder / "cases.json")], benchmarks=[benchmarks])


def test_the_page_is_well_formed_and_every_reference_stays_inside(text):
    found = _Page(text)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in found.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), value
        assert not [name for name in attributes if name.startswith("on")]
    assert {link["href"][1:] for link in found.all("a")} <= set(ids)
    assert not found.all("link") and "@import" not in text and "url(" not in text
    assert not re.search(r"https?://", text)
    assert len(text.encode()) < page.MAX_BYTES


def test_hostile_text_stays_text(text):
    assert "<script>alert" not in text and "<img src=x" not in text and "<b>bold" not in text and "<video>" not in text
    found = _Page(text)
    assert len(found.all("script")) == 1
    assert HOSTILE in " ".join(found.words)
    (case,) = [own for own in found.all("article") if own["class"] == "case"]
    assert case["data-text"] == f"{HOSTILE} <img src=x onerror=alert(1)>".lower()
    assert "Toy <i>data</i>" in found.text


def test_charts_and_pictures_have_words_for_those_who_do_not_see_them(text):
    found = _Page(text)
    named = [own for own in found.all("svg") if own.get("aria-hidden") != "true"]
    assert len(named) >= 20
    assert all(own["role"] == "img" and len(own["aria-label"]) > 10 for own in named)
    assert [own["alt"] for own in found.all("img")][1] == "Frame of <img src=x onerror=alert(1)> at 1.5 s"
    assert "P_start highest (0.90) at 0.0 s; P_end highest (0.80) at 2.0 s" in " ".join(
        own.get("aria-label", "") for own in named
    )


def test_scores_of_the_page_are_those_of_the_table(made, text):
    table = pd.read_csv(made.folder / "table.csv")
    shown = _Page(text).text
    assert _Page(text).all("pre") and "\\toprule" in text
    for value in table[["R1@0.7", "R1@0.5", "R1@0.3", "mIoU"]].to_numpy().ravel():
        assert f"{value:.2f}" in shown
    record = json.loads(made.metrics[0].read_text())
    low, high = record["confidence"]["raw"]["mIoU"]
    assert low < high  # of one seed; the page prints those of the mean over seeds
    assert re.search(r"± \d+\.\d\d \d+\.\d–\d+\.\d", shown)


def test_the_best_method_is_that_of_the_recall_that_is_named():
    ious = {"mha": [0.4, 0.4, 0.9, 0.9], "ci_mha": [0.6, 0.6, 0.6, 0.0]}  # means 0.65 and 0.45, recalls 50 and 75 %
    group = SimpleNamespace(
        runs={method: [None] for method in ious},
        ious=lambda method: np.array([ious[method]]),
        hits=lambda method, threshold: np.array([value >= threshold for value in ious[method]]),
        answered_mask=np.ones(4, dtype=bool),
        queries=pd.DataFrame({"video_id": ["a", "a", "b", "b"]}),
        split="test",
        features="i3d",
    )
    rows = [SimpleNamespace(method=name, is_result=True, split="test", features="i3d") for name in ("MHA", "CI-MHA")]
    summary = page._summary(group, rows)
    assert page._summary(group, [SimpleNamespace(**vars(row) | {"is_result": False}) for row in rows]) is None
    assert (summary["best"], summary["recall"]) == ("CI-MHA", 75.0)


def test_six_methods_are_chosen_the_paper_s_own_and_the_best_of_each_block_first():
    recall = {
        "drn_query_blind": 0.3, "ci_mha_query_blind": 0.2, "tga": 0.1, "scn": 0.4, "ctrl": 0.5, "tan_2d": 0.6,
        "lgi": 0.7, "drn": 0.9, "ci_mha": 0.8,
    }  # fmt: skip
    group = SimpleNamespace(
        runs=recall, hits=lambda name, threshold: np.full(3, recall[name] if threshold == 0.5 else 0)
    )
    # Best of the blocks: DRN, 2D-TAN, SCN, query-blind DRN; the best of the others: CTRL (LGI is third in its block).
    chosen = page.chosen_methods([group])
    assert chosen == ["ci_mha", "drn", "tan_2d", "scn", "drn_query_blind", "ctrl"]


@contextmanager
def _in_a_browser(made, folder):
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed")
    _make(made, folder, cases=[_case_file(folder / "cases.json")])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page()
        shown.goto(f"file://{folder}/toy_report.html")
        yield shown
        browser.close()


@pytest.mark.xdist_group("browser")
def test_readers_choose_which_curves_are_strong(made, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_CHOSEN", 2)
    with _in_a_browser(made, tmp_path) as shown:

        def state(name):
            line = shown.locator(f"#overlap .chart g.m-{name}").evaluate("own => getComputedStyle(own).opacity")
            return line, shown.locator(f"#overlap figure[data-method={name}]").is_visible()

        def box(name, section="overlap"):
            return shown.locator(f"#{section} input[value={name}]")

        # The last method, and the better one of two that are the best of their blocks or come after them.
        on, off = ("lgi", "ci_mha_query_blind") if box("lgi").is_checked() else ("ci_mha_query_blind", "lgi")
        assert [state(name) for name in ("ci_mha", on, off)] == [("1", True)] * 2 + [("0.14", False)]
        assert not shown.locator(f"#cases .lanes [data-method={off}]").first.is_visible()
        assert box(off).is_disabled() and "2 of 3 methods chosen" in shown.locator("#overlap .note.many").inner_text()
        box(on, "kinds").uncheck()  # in another section: the choice is one for all
        assert state(on) == ("0.14", False) and not box(off).is_disabled()
        box(off).check()
        assert state(off) == ("1", True)
        assert box(on).is_disabled()


@pytest.mark.xdist_group("browser")
def test_readers_sort_and_copy_the_table_enlarge_frames_and_print(made, tmp_path):
    with _in_a_browser(made, tmp_path) as shown:

        def column(number):
            return shown.locator("table.scores tbody tr:not(.head)").evaluate_all(
                "(rows, number) => rows.map((row) => parseFloat(row.cells[number].textContent))", number
            )

        first = column(3)
        button = shown.locator("table.scores thead th").nth(3).locator("button")
        button.click()
        assert column(3) == sorted(first, reverse=True) and not shown.locator("table.scores .head").count()
        button.click()
        assert column(3) == sorted(first)
        button.click()
        assert column(3) == first and shown.locator("table.scores .head").count()
        shown.evaluate("document.execCommand = () => (window.copied = document.activeElement.value)")
        shown.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        shown.get_by_role("button", name="LaTeX").click()
        shown.wait_for_function("window.copied")
        assert shown.evaluate("window.copied").startswith("% \\usepackage{booktabs}")
        shown.locator(".frame").first.click()
        shown.keyboard.press("ArrowRight")
        assert "at 1.5 s" in shown.locator("#large p").inner_text()
        shown.keyboard.press("Escape")
        assert not shown.locator("#large").is_visible()
        shown.emulate_media(media="print")
        sizes = shown.evaluate(
            "[document.querySelector('#table > p'), ...document.querySelectorAll('.scores td, .scores td span')]"
            ".map((own) => parseFloat(getComputedStyle(own).fontSize))"
        )
        assert min(sizes) >= sizes[0]


def test_every_answer_is_in_a_file_and_few_on_the_page_too(made, tmp_path, monkeypatch):
    text = _make(made, tmp_path, answers=tmp_path / "toy_answers.csv")
    table = pd.read_csv(tmp_path / "toy_answers.csv")
    queries = len(table["query_id"].unique())
    assert len(table) == 4 * queries and set(table["method"]) == {"CI-MHA", "Query-blind CI-MHA", "LGI (ours)"}
    own = table[(table["method"] == "CI-MHA") & (table["seed"] == 0)]
    record = json.loads(made.metrics[0].read_text())
    assert 100 * own["iou"].mean() == pytest.approx(record["scores"]["raw"]["mIoU"], abs=0.05)
    assert 'href="toy_answers.csv"' in text and text.count("data-sort=") == 3 * queries
    monkeypatch.setattr("vmr.report.answers_view.MOST_CELLS", 2)
    assert "data-sort=" not in _make(made, tmp_path, answers=tmp_path / "toy_answers.csv")


def test_failed_videos_are_counted_by_reason(text):
    shown = _Page(text).text
    assert "4 of 26 videos of all splits have features" in shown
    assert "bad ….mp4: no <video> stream 1 test009" in shown
    assert "missing no file of this name 21" in shown and "lost19" in shown


def test_on_paper_every_failed_video_is_named_and_on_a_telephone_scores_come_first(text):
    assert '<details class="print-open"><summary>gone1, lost00' in text
    # One split and one kind of features: these columns give way where there is little room.
    assert '<table class="scores sortable one">' in text and text.count('class="which"') == 2 + 2 * 6


def test_costs_are_summed_by_stage(text):
    # 10.5 + 20 seconds, the longer of them, twice 5.5 of the processor, what a log told, the larger memory.
    assert re.search(r"train 2 30\.5 20\.0 11\.0 31 9(00|01)", _Page(text).text)
    assert re.search(r"parse 1 0\.2 0\.2 – – –", _Page(text).text)


def test_settings_and_provenance_are_told(text):
    shown = _Page(text).text
    assert "query_hidden 8" in shown and "exchanged" in shown
    assert "Query-blind CI-MHA: query" in shown
    assert re.search(r"vectors_sha256 [0-9a-f]{64}", shown)


def test_missing_pieces_are_said_to_be_missing(made, tmp_path):
    shown = _Page(_make(made, tmp_path, coverage={})).text
    assert "No case studies" in shown and "No list of videos" in shown and "No benchmark files" in shown
    study = _case_file(tmp_path / "cases.json", pictures=False)
    assert "no video was seen" in _Page(_make(made, tmp_path, cases=[study])).text


def test_one_seed_untrained_and_simulated_are_said(made, tmp_path):
    run = made.runs["lgi", 0]
    for name in ("predictions_test.jsonl", "video_scores_test.csv"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / "history.csv").write_text("epoch\n")
    (tmp_path / "run.json").write_text(json.dumps({"trained": False, "settings": {}}))
    record = json.loads((run / "metrics_test.json").read_text()) | {"trained": False, "features": "simulated"}
    (tmp_path / "metrics_test.json").write_text(json.dumps(record))
    shown = _Page(_make(made, tmp_path, metrics=[tmp_path / "metrics_test.json"])).text
    assert "Simulated features. No video was seen" in shown
    record |= {"features": "my_i3d", "simulated": True}
    (tmp_path / "metrics_test.json").write_text(json.dumps(record))
    named = _Page(_make(made, tmp_path, metrics=[tmp_path / "metrics_test.json"])).text
    assert "Simulated features. No video was seen" in named and "my_i3d (simulated)" in named
    assert "No result. the networks learned nothing (no training video has features)" in shown
    assert "One seed." in shown and "No history" in shown and "queries could be answered" not in shown


def test_the_same_again_gives_the_same_bytes(made, tmp_path):
    assert _make(made, tmp_path) == _make(made, tmp_path)


def test_too_many_pictures_are_left_out_and_said(made, tmp_path, monkeypatch):
    study = json.loads(_case_file(tmp_path / "cases.json").read_text())
    drop_pictures([study], limit=2 * len(_PICTURE))
    assert study["strips"]
    drop_pictures([study], limit=2 * len(_PICTURE) - 1)
    assert study["strips"] == {} and "too large" in study["no_strips"]
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    with pytest.raises(EvaluationError, match=r"report would have .* MB.*report\.cases"):
        _make(made, tmp_path)
    assert not (tmp_path / "toy_report.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made, folder: {"moments": {"other": made.data.moments}}, "belong to the dataset toy"),
        (lambda made, folder: {"cases": [folder / "absent.json"]}, "absent.json: .* Study the cases again"),
        (lambda made, folder: {"coverage": {"i3d": folder / "absent.csv"}}, "absent.csv: .* Merge the features again"),
        (lambda made, folder: {"table_text": folder / "absent.md"}, "absent.md: the readable table cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(made, tmp_path, change, message):
    with pytest.raises(EvaluationError, match=message):
        _make(made, tmp_path, **change(made, tmp_path))


def test_predictions_that_were_not_scored_are_refused(made, tmp_path):
    run = made.runs["ci_mha", 0]
    for name in ("metrics_test.json", "video_scores_test.csv", "run.json", "history.csv"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / "predictions_test.jsonl").write_text("")
    with pytest.raises(EvaluationError, match=r"the predictions beside it score 0\.00 mIoU, the record says"):
        _make(made, tmp_path, metrics=[tmp_path / "metrics_test.json"])


def test_reasons_are_one_but_for_the_ids_in_them(tmp_path):
    rows = [("e", "no file of this name: e"), ("5", "no file of this name: 5"), ("b", "no file of this name: b")]
    path = tmp_path / "coverage.csv"
    path.write_text("video_id,status,reason\n" + "".join(f"{id},missing,{reason}\n" for id, reason in rows))
    (failure,) = read_coverage({"i3d": path})[0]["failures"]
    assert (failure["reason"], failure["video_ids"]) == ("no file of this name: …", ("5", "b", "e"))


def test_the_readable_table_stays_text(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("# T\n\nabove\n\n## Notes\n\n- <img src=x onerror=alert(1)> of [a](http://b) & more\n")
    shown = text_of_table(path)
    assert "<img" not in shown and "<a" not in shown and "above" not in shown
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown and shown.startswith("<h4>Notes</h4>")


def test_answers_without_training_are_in_the_table_and_have_no_history(made, tmp_path):
    shutil.copy(made.runs["ci_mha", 0] / "predictions_test.jsonl", tmp_path)
    labels = {"dataset": "toy", "features": "synthetic", "method": ZERO_SHOT.name, "seed": 0}
    evaluate_predictions(
        predictions=tmp_path / "predictions_test.jsonl",
        moments=made.data.moments,
        manifests=[],
        splits=["test"],
        split_name="test",
        output=tmp_path / "metrics_test.json",
        video_scores=tmp_path / "video_scores_test.csv",
        labels=labels,
    )
    html = _make(made, tmp_path, metrics=[*made.metrics, tmp_path / "metrics_test.json"])
    row = re.search(r"<tr[^>]*><th scope=\"row\">.{0,80}Kinetics zero-shot</th>.*?</tr>", html)
    assert row and "no training" in row[0]
    assert "Kinetics zero-shot, seed" not in html
