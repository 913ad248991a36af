"""What visitors do with the page, in Chromium."""

import re
import struct

import clips
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.xdist_group("browser")


def choose(page, name):
    page.get_by_role("button", name=re.compile(f"^{re.escape(name)}")).click()
    expect(page.get_by_role("status")).to_contain_text(name)


def ask(page, sentence="the person opens a door"):
    page.get_by_label("What happens?").fill(sentence)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("status")).to_contain_text("the best from")
    return page.get_by_role("button", name=re.compile("^Play moment"))


def until(page, expression):
    """Wait for an expression to hold; Playwright's own way needs `eval`, which the page forbids."""
    for _ in range(600):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(expression)


def seconds(text):
    """Start and end in the words of a moment's button."""
    return [int(minutes) * 60 + float(rest) for minutes, rest in re.findall(r"(\d+):(\d\d\.\d)", text)]


def play_and_wait(page, moment):
    """Where a moment's button began to play and where it stopped."""
    page.evaluate(
        """() => {
            window.begun = [];
            const video = document.querySelector("video");
            video.addEventListener("play", () => window.begun.push(video.currentTime));
        }"""
    )
    moment.click()
    until(page, "window.begun.length > 0 && document.querySelector('video').paused")
    return page.evaluate("[window.begun[0], document.querySelector('video').currentTime]")


def test_choose_ask_and_play_the_moment_found(page):
    choose(page, "kitchen.mp4")
    page.get_by_label("What happens?").fill("the person opens a door")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("progressbar", name="Work")).to_be_visible()  # features of a new video take a while
    expect(page.get_by_role("status")).to_contain_text("the best from")
    expect(page.get_by_role("progressbar", name="Work")).to_be_hidden()
    moments = page.get_by_role("button", name=re.compile("^Play moment"))
    assert moments.count() >= 2
    for number in range(2):
        start, end = seconds(moments.nth(number).get_attribute("aria-label"))
        assert 0 <= start < end <= 2.1
        begun, stopped = play_and_wait(page, moments.nth(number))
        # Buttons show tenths; Chromium ends a video within a frame of its duration.
        assert begun == pytest.approx(start, abs=0.06)
        assert stopped == pytest.approx(end, abs=0.11)
    assert page.locator("#strip path").count() == 3
    # The second question finds the features at hand.
    page.get_by_label("What happens?").fill("a timer runs")
    with page.expect_response("**/api/ask") as answered:
        page.get_by_role("button", name="Find").click()
    assert answered.value.status == 200


def test_curve_and_time_line_have_the_scale_of_the_player(page):
    choose(page, "kitchen.mp4")
    ask(page)
    boxes = [page.locator(name).bounding_box() for name in ("#stage", "#bar", "#strip", "#seek")]
    assert {(box["x"], box["width"]) for box in boxes} == {(boxes[0]["x"], boxes[0]["width"])}
    duration = page.evaluate("document.querySelector('video').duration")
    page.locator("#strip").click(position={"x": boxes[2]["width"] * 0.75, "y": 20}, force=True)
    expect(page.locator("#time")).to_contain_text("0:01.5")
    assert page.evaluate("document.querySelector('video').currentTime") == pytest.approx(0.75 * duration, abs=0.02)
    head = page.locator("#head").bounding_box()
    assert head["x"] + head["width"] / 2 == pytest.approx(boxes[2]["x"] + 0.75 * boxes[2]["width"], abs=8)
    first = page.locator("#lanes i").first.bounding_box()
    start, end = seconds(page.get_by_role("button", name="Play moment 1").get_attribute("aria-label"))
    assert (first["x"] - boxes[2]["x"]) / boxes[2]["width"] == pytest.approx(start / duration, abs=0.06)
    assert first["width"] / boxes[2]["width"] == pytest.approx((end - start) / duration, abs=0.06)


def test_upload_ask_and_remove(page, tmp_path):
    film = clips.render(tmp_path / "my film.mp4", frames=20)
    page.get_by_label("Upload a video").set_input_files(film)
    expect(page.get_by_role("status")).to_contain_text("my film.mp4 is ready")
    begun, stopped = play_and_wait(page, ask(page).first)
    assert 0 <= begun < stopped
    page.get_by_role("button", name="Remove my film.mp4").click()
    expect(page.get_by_role("button", name="Remove my film.mp4")).to_have_count(0)
    expect(page.get_by_text("No video is chosen yet.")).to_be_visible()


def test_a_question_may_come_before_the_features(page, tmp_path):
    film = clips.render(tmp_path / "early.mp4", frames=22)
    page.get_by_label("What happens?").fill("a timer runs")
    page.get_by_label("Upload a video").set_input_files(film)
    expect(page.get_by_role("button", name=re.compile("^early.mp4"))).to_be_visible()
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("status")).to_contain_text("the best from")


def test_a_slow_upload_holds_up_nothing_and_can_be_cancelled(page, tmp_path):
    film = clips.render(tmp_path / "long way.mp4", frames=18)
    size = 900_000
    film.write_bytes(film.read_bytes() + struct.pack(">I4s", size, b"free") + bytes(size - 8))
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 50_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.get_by_label("Upload a video").set_input_files(film)
    expect(page.get_by_role("progressbar", name="Upload")).to_be_visible()
    choose(page, "kitchen.mp4")
    ask(page)
    expect(page.get_by_role("progressbar", name="Upload")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("progressbar", name="Upload")).to_be_hidden()
    expect(page.get_by_role("status")).to_have_text("long way.mp4 is not uploaded.")
    assert page.get_by_role("button", name=re.compile("^long way")).count() == 0
    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})


def test_files_that_are_no_videos_get_a_sentence_and_change_nothing(page, tmp_path):
    choose(page, "garden.mp4")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no film" * 50)
    page.get_by_label("Upload a video").set_input_files(broken)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("broken.mp4 cannot be used: ffprobe cannot read it")
    (tmp_path / "large.mp4").write_bytes(b"0" * 1_000_001)
    page.get_by_label("Upload a video").set_input_files(tmp_path / "large.mp4")
    expect(alert).to_contain_text("files of up to 1.0 MB are taken")
    (tmp_path / "letter.txt").write_text("Dear Sir,")
    page.get_by_label("Upload a video").set_input_files(tmp_path / "letter.txt")
    expect(alert).to_contain_text("only video files are taken")
    page.complaints.clear()  # Chromium notes the refused request itself
    ask(page)
    expect(alert).to_be_hidden()


def test_names_and_sentences_are_text_whatever_they_say(page, tmp_path):
    name = "<img src=x onerror=alert(1)>&amp;.mp4"
    film = clips.render(tmp_path / "film.mp4", frames=26)
    film = film.rename(tmp_path / name)
    page.get_by_label("Upload a video").set_input_files(film)
    expect(page.get_by_role("status")).to_contain_text(f"{name} is ready")
    expect(page.locator("#videos .name").first).to_have_text(name)
    assert ask(page, "<script>alert(2)</script> a <b>door</b>").count() >= 1
    expect(page.locator("#notes")).to_contain_text("alert(2)</script")
    assert page.locator("#videos img, #notes script, #notes b").count() == 0
    page.get_by_role("button", name=f"Remove {name}").click()
    expect(page.get_by_role("status")).to_contain_text(f"{name} is removed")


def test_a_clock_that_begins_late_is_told_since_players_count_by_it(page, tmp_path):
    film = clips.render(tmp_path / "late.mp4", "-output_ts_offset", 5, frames=28)
    page.get_by_label("Upload a video").set_input_files(film)
    expect(page.get_by_role("note")).to_contain_text("The clock of this file begins at 0:05.0")
    expect(page.get_by_role("status")).to_contain_text("late.mp4 is ready")
    page.get_by_role("button", name="Remove late.mp4").click()
    expect(page.get_by_role("note")).to_be_hidden()
    with page.expect_response("**/api/videos/*"):  # begins at 1.4 s, but there is no player that shows it
        page.get_by_label("Upload a video").set_input_files(clips.render(tmp_path / "late.ts", frames=30))
    expect(page.get_by_text("This browser cannot play files of this kind")).to_be_visible()
    expect(page.get_by_role("note")).to_be_hidden()


def test_a_video_that_the_browser_cannot_play_still_has_moments(page):
    choose(page, "old.avi")
    expect(page.get_by_text("This browser cannot play files of this kind (mpeg4)")).to_be_visible()
    assert ask(page).count() >= 1
    assert page.locator("#strip path").count() == 3


def test_a_question_that_cannot_be_answered_gets_a_sentence(page):
    page.get_by_label("What happens?").fill("a door")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose a video first")
    choose(page, "garden.mp4")
    ask(page)
    page.get_by_label("What happens?").fill("zyx qwv")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_contain_text("no word of the query")
    page.complaints.clear()  # Chromium notes the refused request itself
    assert page.get_by_label("What happens?").get_attribute("maxlength") == "300"


def test_with_the_keyboard_alone(page):
    def focused():
        return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.id")

    def tab_to(wanted, most=30):
        for _ in range(most):
            page.keyboard.press("Tab")
            outline = page.evaluate(
                """() => {
                    const at = document.activeElement;
                    const shown = ["file", "seek"].includes(at.id) ? at.nextElementSibling : at;
                    return getComputedStyle(shown).outlineStyle;
                }"""
            )
            assert outline == "solid", focused()
            if page.evaluate(wanted):
                return
        raise AssertionError(focused())

    tab_to("document.activeElement.textContent.startsWith('kitchen.mp4')")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("kitchen.mp4 is chosen")
    tab_to("document.activeElement.id === 'sentence'")
    page.keyboard.type("a person opens the door")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("the best from")
    expect(page.get_by_role("slider")).to_be_enabled()
    tab_to("document.activeElement.id === 'seek'")
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('video').currentTime") == pytest.approx(2.0, abs=0.1)
    tab_to("document.activeElement.closest('#moments') !== null")
    page.evaluate("document.querySelector('video').addEventListener('play', () => (window.played = true))")
    page.keyboard.press("Enter")
    until(page, "window.played && document.querySelector('video').paused")
    _, end = seconds(page.get_by_role("button", name="Play moment 1").get_attribute("aria-label"))
    assert page.evaluate("document.querySelector('video').currentTime") == pytest.approx(end, abs=0.11)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_a_small_screen(browser, address, scheme):
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    choose(page, "kitchen.mp4")
    ask(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper))) > 380
    assert light == (scheme == "light")
    context.close()


def test_a_shared_address_asks_again(page):
    choose(page, "kitchen.mp4")
    moments = ask(page)
    page.get_by_label("What happens?").fill("typed, but not asked")
    moments.nth(1).click()
    shared, (start, end) = page.url, seconds(moments.nth(1).get_attribute("aria-label"))
    assert f"t={start:.1f}-{end:.1f}" in shared
    page.reload()
    for _ in range(2):
        expect(page.get_by_role("status")).to_contain_text("the best from")
        assert page.get_by_label("What happens?").input_value() == "the person opens a door"
        until(page, f"Math.abs(document.querySelector('video').currentTime - {start}) < 0.1")
        expect(page.locator("#taken")).to_have_text("Moment 2:")
        choose(page, "garden.mp4")
        assert "query" not in page.url
        page.evaluate("address => { location.hash = new URL(address).hash; }", shared)  # pasted into the same tab


def test_a_moment_can_be_taken_along(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, "kitchen.mp4")
    moments = ask(page)
    moments.nth(1).click()
    start, end = seconds(moments.nth(1).get_attribute("aria-label"))
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download").click()
    assert taken.value.suggested_filename == f"kitchen_{start:.1f}-{end:.1f}.mp4"
    assert taken.value.path().read_bytes()[4:8] == b"ftyp"
    expect(page.get_by_role("status")).to_have_text(f"kitchen_{start:.1f}-{end:.1f}.mp4 is downloaded.")
    page.get_by_role("button", name="Copy times").click()
    expect(page.get_by_role("status")).to_have_text("Times copied.")
    assert seconds(page.evaluate("navigator.clipboard.readText()")) == [start, end]
    page.get_by_role("button", name="Copy address").click()
    expect(page.get_by_role("status")).to_have_text("Address copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_space_and_arrow_keys(page):
    choose(page, "kitchen.mp4")
    moments = ask(page)
    expect(page.get_by_role("slider")).to_be_enabled()
    moments.first.click()
    until(page, "!document.querySelector('video').paused")
    page.keyboard.press("Space")
    until(page, "document.querySelector('video').paused")
    page.locator("#seek").evaluate("seek => { seek.value = 0; seek.dispatchEvent(new Event('input')); }")
    for key, at in (("ArrowRight", 1.0), ("ArrowRight", 2.0), ("ArrowLeft", 1.0)):
        page.keyboard.press(key)
        assert page.evaluate("document.querySelector('video').currentTime") == pytest.approx(at, abs=0.01)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#taken")).to_have_text("Moment 2:")
    expect(moments.nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#taken")).to_have_text("Moment 1:")
    page.get_by_label("What happens?").focus()
    page.keyboard.press("ArrowDown")  # belongs to the text
    expect(page.locator("#taken")).to_have_text("Moment 1:")


def test_all_videos_are_searched_at_once(page):
    page.get_by_label("Search the names of the videos").fill(".mp4")
    page.get_by_label("What happens?").fill("the person opens a door")
    everywhere = page.get_by_role("button", name=re.compile(r"^Search these \d+ videos"))
    page.get_by_label("Most moments").select_option("20")
    everywhere.click()
    expect(page.get_by_role("progressbar", name="Work")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text(re.compile(r"^\d+ moments in \d+ videos; the best in \w+\.mp4"))
    searched = page.url
    assert "all=.mp4&query=the+person" in searched
    hits = page.get_by_role("button", name=re.compile("^Play moment"))
    names = [re.search(r"of (\w+\.mp4)", hit.get_attribute("aria-label"))[1] for hit in hits.all()]
    assert {"kitchen.mp4", "garden.mp4"} <= set(names)
    scores = [float(hit.inner_text().split()[-2].replace("<", "0")) for hit in hits.all()]
    assert scores == sorted(scores, reverse=True)
    curve, curves = page.locator("#strip path.inside"), {}
    expect(curve).to_have_count(1)
    for name in ("kitchen.mp4", "garden.mp4"):
        hit = hits.nth(names.index(name))
        begun, stopped = play_and_wait(page, hit)
        start, end = seconds(hit.get_attribute("aria-label"))
        assert begun == pytest.approx(start, abs=0.06) and stopped == pytest.approx(end, abs=0.11)
        expect(page.locator("#videos button[aria-current]")).to_contain_text(name)
        assert page.evaluate("document.querySelector('video').getAttribute('aria-label')") == name
        expect(curve).to_have_count(1)
        assert page.locator("#lanes div:visible").count() == names.count(name)
        curves[name] = curve.get_attribute("d")
    assert "video=" in page.url and "all=" not in page.url
    ask(page)  # garden.mp4 alone
    assert curve.get_attribute("d") == curves["garden.mp4"] != curves["kitchen.mp4"]
    page.goto(searched)
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("; the best in")
    assert page.get_by_label("Search the names of the videos").input_value() == ".mp4"


def test_a_method_that_cannot_search_says_so(page, served_page):
    served_page.alone = "X cannot search several videos at once: its scores are shares within one video."
    page.reload()
    expect(page.locator("#alone")).to_have_text(served_page.alone)
    expect(page.get_by_role("button", name=re.compile("^Search (all|these)"))).to_have_count(0)
    served_page.alone = ""


@pytest.mark.parametrize("width", [1280, 360])
def test_no_button_wraps_and_no_line_overlaps(browser, address, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(address)
    choose(page, "kitchen.mp4")
    ask(page)
    page.evaluate(  # the longest that there are
        """() => {
            for (const each of document.querySelectorAll("#moments .span")) each.textContent = "1:02:05.0 - 1:12:05.0";
            for (const each of document.querySelectorAll("#moments .score")) each.textContent = "< 0.01";
        }"""
    )
    heights = page.evaluate(
        """[...document.querySelectorAll("#moments button, #take button, #controls button, #ask button")]
            .filter((each) => each.offsetParent).map((each) => each.getBoundingClientRect().height)"""
    )
    assert len(heights) > 8 and max(heights) < 56  # of one line
    assert page.evaluate(
        "[...document.querySelectorAll('#moments button')].every((each) => each.scrollWidth <= each.clientWidth)"
    )
    boxes = page.evaluate(
        """[...document.querySelectorAll(
            "#ask .row > *, #status, #stage, #controls > *, #moments li, #take > *, #notes",
        )]
            .filter((each) => each.offsetParent).map((each) => {
                const box = each.getBoundingClientRect();
                return [each.id || each.tagName, box.left, box.top, box.right, box.bottom];
            })"""
    )
    for number, (one, left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and right <= width, one
        for other, *box in boxes[number + 1 :]:
            apart = box[0] >= right - 1 or box[2] <= left + 1 or box[1] >= bottom - 1 or box[3] <= top + 1
            assert apart, f"{one} and {other} overlap"
    context.close()
