"""What the documentation site takes from elsewhere, so that nothing is written twice.

RESULTS.md, CONTRIBUTING.md, CHANGELOG.md and SECURITY.md become pages. In a page of `docs/`

    <!-- include: README.md # Released networks -->
    <!-- help: restore -->

are replaced by a section of a file, without its heading, and by what `hrcnn-jax restore --help`
prints. Links between files of the repository become links between pages.
"""

import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

PAGES = {
    "RESULTS.md": "results/paper.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "hrcnn_jax/weights/README.md": "results/model-card.md",
}
"""Files outside `docs/`, and the pages they become."""

_INCLUDE = re.compile(r"^<!-- include: (\S+) # (.+?) -->$", re.MULTILINE)
_HELP = re.compile(r"^<!-- help: ?(\S*) -->$", re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()([^)\s:#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie outside `docs/`."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=_repository_links(source, page)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fills in what a page takes from elsewhere."""
    source = page.file.src_uri
    if source in PAGES.values():
        return markdown
    markdown = _relinked(markdown, posixpath.join("docs", source), source)
    markdown = _INCLUDE.sub(lambda match: _section(match[1], match[2], source), markdown)
    return _HELP.sub(lambda match: _help(match[1]), markdown)


def _repository_links(source: str, page: str) -> str:
    return _relinked((ROOT / source).read_text(encoding="utf-8"), source, page)


def _section(source: str, heading: str, page: str) -> str:
    """A section of second level, its links as seen from a page."""
    text = (ROOT / source).read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    if not found:
        raise PluginError(f"{page} includes {source}, which has no section {heading!r}")
    return _relinked(found[1].strip(), source, page)


def _help(command: str) -> str:
    """What a command's `--help` prints."""
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "92", "TERM": "dumb"}
    ran = subprocess.run(
        [sys.executable, "-m", "hrcnn_jax", *command.split(), "--help"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise PluginError(f"hrcnn-jax {command} --help failed:\n{ran.stderr}")
    return f"```text\n{ran.stdout.strip()}\n```"


def _relinked(markdown: str, source: str, page: str) -> str:
    """Links of a file of the repository, as its page has to write them."""

    def link(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        target = PAGES.get(path)
        if path.startswith("docs/"):
            target = path.removeprefix("docs/")
        if path == "README.md":
            target = "index.md"
        if target is None:
            raise PluginError(f"{source} links to {path}, which has no page")
        return posixpath.relpath(target, posixpath.dirname(page) or ".") + (match[2] or "")

    return _LINK.sub(link, markdown)
