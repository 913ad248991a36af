"""Make the pictures of these documents again: `make pictures`, which runs the demo first.

    python docs/pictures/renew.py --model FILE --videos FOLDER REPORT...

The page is asked about a test video of the demo; of a report `demo_report.html` its case studies are shown, of
`charades_sim_small_report.html` its charts. Chromium takes the pictures (envs/chromium.sh installs it).
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

FOLDER = Path(__file__).parent
VIDEOS, ASKED = [f"test{number:03d}.mp4" for number in range(5)], "test001.mp4"  # annotated at 1.40 to 5.73 s
SENTENCE = "the game of life lives and dies"
PAGES = {"serve": (1280, "light"), "serve_phone": (400, "dark")}  # width in pixels, colours
SECTIONS = {"demo_report": ("#cases", "report_cases"), "charades_sim_small_report": ("#kinds", "report_charts")}
MOST_HEIGHT = 1130


def keep(picture: bytes, name: str) -> None:
    """Write a picture that Chromium took."""
    Image.open(io.BytesIO(picture)).convert("RGB").save(FOLDER / f"{name}.webp", quality=80, method=6)
    print(FOLDER / f"{name}.webp")


def show_answer(browser: Browser, address: str, name: str) -> None:
    """Ask for a moment, play it, and take the page as it is 2.2 s into the video."""
    width, colours = PAGES[name]
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)
    page.set_default_timeout(120_000)
    page.goto(address)
    page.get_by_role("button", name=ASKED).click()
    page.get_by_label("What happens?").fill(SENTENCE)
    page.get_by_role("button", name="Find").click()
    page.get_by_role("button", name=re.compile("^Play moment 1")).click()
    video = page.locator("video")
    video.evaluate("video => { video.pause(); video.currentTime = 2.2; }")
    expect(page.locator("#time")).to_contain_text("0:02.2")
    keep(page.screenshot(full_page=True), name)
    page.close()


def show_section(browser: Browser, report: Path) -> None:
    """Take a section of a report, as much of it as a document has room for."""
    section, name = SECTIONS[report.stem]
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(report.resolve().as_uri())
    part = page.locator(section)
    # Frames of film strips are loaded when they come into sight.
    for frame in part.locator("img").all():
        frame.evaluate("frame => { frame.loading = 'eager'; return frame.decode(); }")
    box = part.bounding_box()
    shown = {"x": 0, "y": box["y"], "width": 1200, "height": min(box["height"], MOST_HEIGHT)}
    keep(page.screenshot(full_page=True, clip=shown), name)
    page.close()


def main() -> None:
    """Read the options, serve the page, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("reports", type=Path, nargs="*")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for name in VIDEOS:
            shutil.copy(options.videos / name, folder)
        command = [sys.executable, "-m", "vmr", "-q", "serve", "--port", "0", "--cache", f"{folder}/.cache"]
        command += ["--model", str(options.model), "--videos", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        try:
            address = server.stdout.readline().split()[1]
            for name in PAGES:
                show_answer(browser, address, name)
            for report in options.reports:
                show_section(browser, report)
        finally:
            browser.close()
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
