"""Where this machine's Chromium is: `tools/get_chromium.sh` sees to it that there is one."""

import shutil

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    """Its path; None for the one that Playwright has fetched."""
    return next(filter(None, map(shutil.which, NAMES)), None)
