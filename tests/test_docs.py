"""The blocks of the API page, run in order as one program."""

import re
from pathlib import Path

import jax
import pytest
from conftest import jpeg_bytes, make_photo

PAGE = Path(__file__).parents[1] / "docs" / "api.md"


def test_the_api_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scans").mkdir()
    for name, side in (("photo.jpg", 64), ("scans/a.jpg", 48)):
        (tmp_path / name).write_bytes(jpeg_bytes(make_photo(side, side), quality=30))
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    names: dict = {}
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    assert len(blocks) >= 10
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            line = page.count("\n", 0, block.start(1))
            exec(compile("\n" * line + block[1], PAGE, "exec"), names)
    assert (
        "<bytes>: is not a JPEG (starts with 6e 6f 74 20); give a JPEG file\n"
        in capsys.readouterr().out
    )
    assert (tmp_path / "photo.tiff").is_file()
