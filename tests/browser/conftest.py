"""A real browser before a real server, which looks at videos with a real extractor (of random weights)."""

import shutil

import clips
import pytest
import served
from playwright.sync_api import expect, sync_playwright

from vmr.locate.locator import Locator
from vmr.serve.app import build_app
from vmr.serve.guard import access_for
from vmr.serve.limits import Limits

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TOKEN = "open-sesame-open-sesame"


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (envs/chromium.sh installs it on Debian, as root)")
    expect.set_options(timeout=120_000)  # machines that do other things too
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder of videos: two that browsers play, one that they do not."""
    folder = tmp_path_factory.mktemp("films")
    clips.render(folder / "kitchen.mp4", frames=48)
    clips.render(folder / "garden.mp4", frames=24)
    clips.render(folder / "old.avi", "-c:v", "mpeg4", frames=24)
    return folder


@pytest.fixture(scope="module")
def served_page(browser, tmp_path_factory, films):
    """What is behind the page."""
    folder = tmp_path_factory.mktemp("server")
    model = served.write_small_model(folder / "model.safetensors", extractor=True)
    locator = Locator.load(model, cache=folder / "cache", device="cpu")
    limits = Limits(max_upload_mb=1)
    with served.closing(locator, folder=films, uploads=folder / "uploads", limits=limits) as page:
        yield page


@pytest.fixture(scope="module")
def address(served_page):
    """Where the page is served."""
    with served.served(build_app(served_page, access_for("127.0.0.1", port=0, token=TOKEN))) as address:
        yield f"{address}/?token={TOKEN}"


@pytest.fixture
def page(browser, address):
    """The page, just opened; it must not ask anybody else for anything, and say nothing on the console."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.complaints = complaints
    page.goto(address)
    own = address.partition("?")[0]
    assert page.url == own  # the token is a cookie now
    expect(page.get_by_role("button", name="kitchen.mp4")).to_be_visible()
    yield page
    context.close()
    assert asked
    assert [url for url in asked if not url.startswith(own)] == []
    assert complaints == []
