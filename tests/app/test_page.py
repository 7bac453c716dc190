"""The page, in a real Chromium, served by the real command.

`make test-app` runs these, and sees to it that there is a browser.
"""

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import jpeg_bytes, make_photo
from PIL import Image
from playwright.sync_api import Browser, Download, Page, expect, sync_playwright

import hrcnn_jax
from tools import chromium

PATIENCE = 240_000
"""Milliseconds that a busy machine may take to compile programs."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "hrcnn_jax", "app", "--port", "0", "--no-browser"]
    with subprocess.Popen(
        [*command, "--max-megabytes", "1"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        yield running.stdout.readline().split()[2]
        running.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.found())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    yield from opened(browser, address)


def opened(browser: Browser, address: str) -> Iterator[Page]:
    """A user's page; nothing goes wrong in it but requests that are answered with an error."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda said: (
            faults.append(said.text)
            if said.type == "error" and "the server responded with a status of 4" not in said.text
            else None
        ),
    )
    page.on("filechooser", lambda _: None)  # so that they are caught from the start
    page.goto(address)
    expect(page.locator("#model option")).not_to_have_count(0)
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Two colour files and a broken one; the first lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    paths = [tmp_path / name for name in ("turned.jpg", "Füße & more.jpeg", "broken.jpg")]
    whole = jpeg_bytes(make_photo(200, 240), quality=10, exif=exif.tobytes())
    paths[0].write_bytes(whole)
    paths[1].write_bytes(jpeg_bytes(make_photo(120, 160, seed=1), quality=20))
    paths[2].write_bytes(whole[:100])  # its frame is not there
    return paths


def drop(page: Page, paths: list[Path]) -> None:
    """Files from the desktop onto the page."""
    transfer = page.evaluate_handle("new DataTransfer()")
    for path in paths:
        page.evaluate(
            "([transfer, name, bytes]) => transfer.items.add("
            "new File([new Uint8Array(bytes)], name, { type: 'image/jpeg' }))",
            [transfer, path.name, list(path.read_bytes())],
        )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def content_of(download: Download) -> bytes:
    return Path(download.path()).read_bytes()


def downloaded(page: Page, form: str, button: str = "#download") -> tuple[str, bytes]:
    page.select_option("#format", form)
    with page.expect_download() as waited:
        page.click(button)
    return waited.value.suggested_filename, content_of(waited.value)


def restored(path: Path, **options: str) -> np.ndarray:
    return hrcnn_jax.restore(path, **options)  # type: ignore[call-overload, no-any-return]


def test_drop_wait_slide_download(page: Page, photos: list[Path]) -> None:
    drop(page, photos[:1])
    expect(page.locator("#pictures .done")).to_have_count(1, timeout=PATIENCE)
    expect(page.locator("#title")).to_have_text("turned.jpg")
    expect(page.locator("#found")).to_contain_text("Saved at quality 10: very strongly compressed")
    expect(page.locator("#found")).to_contain_text("small gains +1.4 dB")
    expect(page.locator("#found")).to_contain_text("EXIF will go along.")
    page.wait_for_function("document.querySelector('#after img').naturalWidth == 200")

    def edge() -> float:
        inset = page.evaluate("document.querySelector('#after').style.clipPath")
        return float(inset.removeprefix("inset(0px 0px 0px ").removesuffix("px)"))

    middle = edge()
    box = page.locator("#divide").bounding_box()
    assert box is not None
    at = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + middle, at)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, at, steps=4)
    page.mouse.up()
    assert edge() == pytest.approx(200, abs=4)  # half a percent of the stage
    # Left of the thumb the screen shows what was, right of it what was restored.
    screen = Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("RGB")
    page.locator("#divide").press("End")
    assert edge() > middle
    old = Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("RGB")
    left = (20, 60, 170, 300)
    np.testing.assert_array_equal(np.asarray(screen.crop(left)), np.asarray(old.crop(left)))
    page.locator("#divide").press("Home")
    new = Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("RGB")
    right = (230, 60, 420, 300)
    np.testing.assert_array_equal(np.asarray(screen.crop(right)), np.asarray(new.crop(right)))
    assert (np.asarray(old.crop(right)) != np.asarray(new.crop(right))).any()

    upright = np.rot90(restored(photos[0]), -1)
    name, png = downloaded(page, "png")
    assert name == "turned.png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), upright)
    name, tiff = downloaded(page, "tiff16")
    assert name == "turned.tiff"
    deep = np.rot90(restored(photos[0], depth="uint16"), -1)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(tiff)), deep)
    for form, suffix in (("webp", "webp"), ("jpeg", "jpg")):
        name, content = downloaded(page, form)
        assert name == f"turned.{suffix}"
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.format or "").lower() == form
            assert picture.size == (200, 240)


def test_many_with_a_broken_one_among_them(page: Page, photos: list[Path]) -> None:
    large = photos[0].with_name("large.jpg")
    large.write_bytes(photos[0].read_bytes() + bytes(1_000_000))
    page.set_input_files("#files", [*photos, photos[1], large])
    expect(page.locator("#pictures .done")).to_have_count(3, timeout=PATIENCE)
    expect(page.locator("#pictures .wrong")).to_have_count(2)
    page.click("#pictures .wrong >> nth=0 >> .one")
    expect(page.locator("#problem")).to_contain_text("broken.jpg: ")
    expect(page.locator("#download")).to_be_disabled()
    page.click("#pictures .wrong >> nth=1 >> .one")
    expect(page.locator("#problem")).to_have_text(
        "large.jpg: has more than 1 million bytes, the most that is taken here"
    )
    name, content = downloaded(page, "png", "#download-all")
    assert name == "restored.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["turned.png", "Füße & more.png", "Füße & more-2.png"]
        for kept in archive.namelist()[1:]:
            with archive.open(kept) as file:
                np.testing.assert_array_equal(np.asarray(Image.open(file)), restored(photos[1]))
    for _ in range(5):
        page.click("#pictures .away >> nth=0")
    expect(page.locator("#shown")).to_be_hidden()
    expect(page.locator("#drop p")).to_be_visible()


def test_a_file_that_is_cut_off_is_restored_as_far_as_it_goes(
    page: Page, photos: list[Path]
) -> None:
    cut = photos[1].with_name("cut.jpg")
    cut.write_bytes(photos[1].read_bytes()[:-200])
    page.set_input_files("#files", [cut])
    expect(page.locator("#pictures .done")).to_have_count(1, timeout=PATIENCE)
    expect(page.locator("#found")).to_contain_text("The file is damaged: ")
    expect(page.locator("#download")).to_be_enabled()


def test_two_users_at_once(browser: Browser, address: str, photos: list[Path]) -> None:
    users = [opened(browser, address) for _ in range(2)]
    pages = [next(user) for user in users]
    for page, path in zip(pages, photos[1::-1], strict=True):
        page.set_input_files("#files", path)
    for page, path in zip(pages, photos[1::-1], strict=True):
        expect(page.locator("#pictures .done")).to_have_count(1, timeout=PATIENCE)
        expect(page.locator("#pictures b")).to_have_text(path.name)
        _, png = downloaded(page, "png")
        expected = restored(path) if path is photos[1] else np.rot90(restored(path), -1)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), expected)
    for user in users:
        assert next(user, None) is None  # closes it, and asks for its faults


def test_by_keyboard_alone(page: Page, photos: list[Path]) -> None:
    page.keyboard.press("Tab")  # the link in the header
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    with page.expect_file_chooser() as waited:
        page.keyboard.press("Enter")
    waited.value.set_files(photos[1])
    expect(page.locator("#pictures .done")).to_have_count(1, timeout=PATIENCE)
    reached = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.id")
        reached.add(focused)
        if focused == "stage":
            before = page.evaluate("document.querySelector('#before img').style.transform")
            page.keyboard.press("+")
            after = page.evaluate("document.querySelector('#before img').style.transform")
            assert before != after
        if focused == "divide":
            page.keyboard.press("ArrowLeft")
            assert page.input_value("#divide") == "49.5"
        if focused == "strength":
            page.keyboard.press("Home")
            expect(page.locator("#strength-shown")).to_have_text("0 %")
            expect(page.locator("#pictures .done")).to_have_count(1, timeout=PATIENCE)
        if focused == "download":
            with page.expect_download() as download:
                page.keyboard.press("Enter")
            png = Image.open(io.BytesIO(content_of(download.value)))
            np.testing.assert_array_equal(np.asarray(png), hrcnn_jax.decode(photos[1]))
    assert {"stage", "divide", "strength", "model", "history", "format", "download"} <= reached


def test_an_earlier_compression_is_told_by_hand(page: Page, tmp_path: Path) -> None:
    first = jpeg_bytes(make_photo(120, 160)[..., 1], quality=15)
    path = tmp_path / "twice.jpg"
    path.write_bytes(jpeg_bytes(np.asarray(Image.open(io.BytesIO(first)))[3:, 5:], quality=90))
    page.set_input_files("#files", path)
    expect(page.locator("#pictures .done")).to_have_count(1, timeout=PATIENCE)
    page.select_option("#history", "said")
    page.fill("#said-quality", "15")
    page.fill("#said-grid", "9:9")
    page.locator("#said-grid").blur()
    assert page.evaluate("document.querySelector('#said-grid').validity.patternMismatch")
    page.fill("#said-grid", "5:3")
    page.locator("#said-grid").blur()
    page.fill("#said-size", "as it is")
    page.locator("#said-size").blur()
    assert page.evaluate("document.querySelector('#said-size').validity.patternMismatch")
    page.fill("#said-size", "")
    page.locator("#said-size").blur()
    expect(page.locator("#pictures .done")).to_have_count(1, timeout=PATIENCE)
    _, png = downloaded(page, "png")
    expected = hrcnn_jax.Restorer(history="quality=15,grid=5:3").restore(path)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), expected)
    assert (expected != hrcnn_jax.Restorer(history="off").restore(path)).any()


def test_a_phone_has_no_need_to_scroll_sideways(browser: Browser, address: str) -> None:
    context = browser.new_context(
        viewport={"width": 320, "height": 640}, color_scheme="dark", has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(address)
    sample = Path(hrcnn_jax.__file__).parent / "sample" / "parrots.jpg"
    page.set_input_files("#files", sample)
    expect(page.locator("#found li")).to_have_count(3, timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    shade = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert shade == "rgb(22, 27, 27)"
    context.close()


def test_the_page_for_programs(page: Page, address: str) -> None:
    page.click("nav a")
    expect(page.locator("section")).to_have_count(4)
    expect(page.locator("main")).to_contain_text("POST /api/restore")
    expect(page.locator("pre")).to_contain_text(address)
