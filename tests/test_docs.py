"""The pages: the API page runs, commands have the flags they are shown with, links lead on."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import pytest
from conftest import jpeg_bytes, make_photo, random_params, write_network

from hrcnn_jax.cli import main as commands
from hrcnn_jax.networks import cards, registry
from hrcnn_jax.networks.registry import ARCHITECTURES

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

SHOWN = re.compile(
    r"(?:python (?P<script>train|evaluate)\.py|(?:hrcnn-jax|python -m hrcnn_jax) (?P<command>\w+))"
    r"(?P<rest>(?:\\\n|[^\n`#])*)"
)
"""A command in a page, to the end of its line or of its inline code."""

FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
LINK = re.compile(r"\]\(([^)\s:#]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_api_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scans").mkdir()
    for name, side in (("photo.jpg", 64), ("scans/a.jpg", 48)):
        (tmp_path / name).write_bytes(jpeg_bytes(make_photo(side, side), quality=30))
    (tmp_path / "weights").mkdir()  # the page's networks are large for what it shows
    for name, architecture in (("small", "compact"), ("chroma", "chroma"), ("wild", "wild")):
        tiny = {"width": 8, "blocks": 1}
        params = random_params(registry.get(architecture).build(tiny))
        write_network(tmp_path / "weights", name, architecture, params, **tiny)
    monkeypatch.setattr(cards, "WEIGHTS", tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    page = API.read_text(encoding="utf-8")
    names: dict = {}
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    assert len(blocks) >= 10
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            line = page.count("\n", 0, block.start(1))
            exec(compile("\n" * line + block[1], API, "exec"), names)
    assert (
        "WebP, TIFF, BMP (starts with 6e 6f 74 20); give such a file\n" in capsys.readouterr().out
    )
    assert (tmp_path / "photo.tiff").is_file()


@cache
def flags_of(command: str) -> set[str]:
    """The flags that a command's help names; of training with any architecture."""
    told = ""
    for more in ARCHITECTURES if command == "train" else ("",):
        arguments = [command, *(["--architecture", more] if more else []), "--help"]
        ran = subprocess.run(
            [sys.executable, "-m", "hrcnn_jax", *arguments],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        told += ran.stdout
    return set(FLAG.findall(told))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_have_the_flags_they_are_shown_with(page: Path) -> None:
    for shown in SHOWN.finditer(page.read_text(encoding="utf-8")):
        command = shown["script"] or shown["command"]
        assert command in commands.COMMANDS | commands.EXTRAS, shown[0]
        used = {flag.replace("_", "-") for flag in FLAG.findall(shown["rest"])}
        assert used <= flags_of(command), shown[0]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    # contributing.md and changelog.md are made from files at the top (tools/site_hooks.py).
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target
