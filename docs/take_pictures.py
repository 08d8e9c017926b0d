"""Takes the pictures of this folder from Dagster's UI, as it runs.

Needs Chromium with its driver (Debian: ``apt install chromium chromium-driver``) and ``pip install selenium pillow``,
in an environment of their own. With some nights and a retraining in the state folder, as ``make demo`` leaves them:

    make dev &
    python docs/take_pictures.py http://localhost:3000 docs/pictures

Asset pages show the paths of reports: let PERENNIAL_HOME be a folder that anyone may see, /tmp/perennial.
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

WIDTH = 1600
LOAD_SECONDS, SETTLE_SECONDS = 30, 15
COLOURS = 128
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
)
PIPELINE = "flight_delays"
SEEN = "/tmp/perennial"

Step = Callable[[Chrome], None]


@dataclass(frozen=True)
class Picture:
    """One page: its address, in the UI if it does not say more, and what is done there before the picture is taken."""

    name: str
    path: str
    steps: tuple[Step, ...] = ()
    height: int = 1000


def click(text: str, position: int = 0) -> Step:
    """Clicks what bears a text, the ``position``-th of them; a negative one counts from the end."""

    def step(browser: Chrome) -> None:
        found = (By.XPATH, f"//*[normalize-space(text())='{text}']")
        WebDriverWait(browser, LOAD_SECONDS).until(expected_conditions.presence_of_element_located(found))
        browser.execute_script("arguments[0].click()", browser.find_elements(*found)[position])

    return step


def open_plot(browser: Chrome) -> None:
    """Opens the first plot in the page's metadata; again when the page drew itself anew meanwhile."""
    link = (By.XPATH, "//*[normalize-space(text())='[Show Markdown]']")
    plot = (By.CSS_SELECTOR, "img[src^='data:image']")
    for _ in range(5):
        WebDriverWait(browser, LOAD_SECONDS).until(expected_conditions.presence_of_element_located(link))
        time.sleep(1)
        browser.execute_script("arguments[0].click()", browser.find_element(*link))
        try:
            WebDriverWait(browser, 5).until(expected_conditions.visibility_of_element_located(plot))
        except TimeoutException:
            continue
        return


def write(placeholder: str, text: str) -> Step:
    """Writes into the field whose hint begins like this, and leaves the field."""

    def step(browser: Chrome) -> None:
        found = (By.XPATH, f"//input[starts-with(@placeholder, '{placeholder}')]")
        WebDriverWait(browser, LOAD_SECONDS).until(expected_conditions.element_to_be_clickable(found)).send_keys(
            text, Keys.TAB
        )

    return step


def press_icon(label: str) -> Step:
    """Clicks the button that bears an icon and no text."""

    def step(browser: Chrome) -> None:
        found = (By.XPATH, f"//*[@aria-label='{label}']/ancestor::button[1]")
        WebDriverWait(browser, LOAD_SECONDS).until(expected_conditions.element_to_be_clickable(found)).click()

    return step


PICTURES = (
    Picture(
        "lineage",
        "/asset-groups",
        (click("Hide navigation"), press_icon("panel_show_right")),
        height=560,
    ),
    Picture("asset", f"/assets/{PIPELINE}/performance_report", (open_plot,)),
    Picture("diagnosis", f"file://{SEEN}/reports/{PIPELINE}/diagnosis/2013-04-18.html", height=1340),
    Picture("checks", f"/assets/{PIPELINE}/performance_report?view=checks", (click("Execution history"),)),
    Picture("gate", f"/assets/{PIPELINE}/deployment", (click("[Show Markdown]"),)),
    Picture(
        "backfill",
        f"/locations/pipelines.definitions/jobs/{PIPELINE}__history",
        (click("Materialize all…"), write("ex:", "[2013-03-01...2013-03-05]")),
    ),
    Picture(
        "proofs", f"/assets/{PIPELINE}/batch_predictions?view=checks", (click("parity"), click("Execution history"))
    ),
    Picture("automation", "/automation", height=700),
)


def settled(browser: Chrome) -> Image.Image:
    """The page as an image, once two in a row are the same; the last one when it never comes to rest."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before = _look(browser)
    while time.monotonic() < deadline:
        after = _look(browser)
        if ImageChops.difference(before, after).getbbox() is None:
            return after
        before = after
    return before


def _look(browser: Chrome) -> Image.Image:
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")


def take(browser: Chrome, base: str, picture: Picture, folder: Path) -> Path:
    """Opens a page, does what is to be done there, and saves the picture with few colours."""
    # The size of the page: the window's own frame is no part of it.
    size = {"width": WIDTH, "height": picture.height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(picture.path if "://" in picture.path else base.rstrip("/") + picture.path)
    for step in (*picture.steps, settled):
        settled(browser)
        step(browser)
    path = folder / f"{picture.name}.png"
    settled(browser).quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes the pictures of the documentation.")
    parser.add_argument("base", help="address of Dagster's UI")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("names", nargs="*", help="only these")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    options = ChromeOptions()
    for option in OPTIONS:
        options.add_argument(option)
    # Both named, so that Selenium looks for neither on the network.
    options.binary_location = shutil.which("chromium") or "chromium"
    browser = Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))
    try:
        for picture in PICTURES:
            if not arguments.names or picture.name in arguments.names:
                path = take(browser, arguments.base, picture, arguments.folder)
                print(f"{path}: {path.stat().st_size // 1024} KiB")
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
