"""Takes the pictures of the app's page that the documentation shows: `docs/app.webp`.

    python tools/screenshots.py [FOLDER]

With a FOLDER, also the page in the dark, on a phone, empty, and before a broken file.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import chromium
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "hrcnn_jax" / "sample" / "parrots.jpg"
TARGET = ROOT / "docs" / "app.webp"
PATIENCE = 120_000  # milliseconds

SCREEN = {"width": 1120, "height": 900}
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": SCREEN, "color_scheme": "light"},
    "dark": {"viewport": SCREEN, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "light",
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}


def main() -> None:
    """Starts the app and a browser, and looks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    given = parser.parse_args()
    command = [sys.executable, "-m", "hrcnn_jax", "app", "--port", "0", "--no-browser"]
    with (
        tempfile.TemporaryDirectory() as scratch,
        sync_playwright() as playwright,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as app,
    ):
        assert app.stdout is not None
        address = app.stdout.readline().split()[2]
        browser = playwright.chromium.launch(executable_path=chromium.found())
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in VIEWS if given.folder else ["light"]:
            look(browser, address, name, folder)
        browser.close()
        app.terminate()
        shrink(folder / "light.png", TARGET)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size:,} bytes")


def look(browser: Browser, address: str, name: str, folder: Path) -> None:
    """The page empty, with the sample picture, and with a broken file."""
    context = browser.new_context(**VIEWS[name])
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    page.screenshot(path=folder / f"{name}-empty.png")
    page.set_input_files("#files", SAMPLE)
    page.wait_for_selector("#pictures .done")
    page.wait_for_function("document.querySelector('#after img').naturalWidth > 0")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / f"{name}.png", full_page=name == "phone")
    page.set_input_files("#files", ROOT / "README.md")
    page.click("#pictures .wrong .one")
    page.screenshot(path=folder / f"{name}-broken.png", full_page=name == "phone")
    context.close()


def shrink(source: Path, target: Path) -> None:
    """As WebP: a tenth of the bytes."""
    with Image.open(source) as picture:
        picture.convert("RGB").save(target, quality=88, method=6)


if __name__ == "__main__":
    main()
