"""Asks whether what `requirements.lock` pins has known holes: `make audit`.

The status is 1 if there are any. Where nobody can be asked, for want of a network or of a registry
that knows, that is told in a line and is no failure.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"


def asked() -> str:
    """What pip-audit finds, as JSON; empty if it cannot ask."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--disable-pip"]
    command += ["--require-hashes", "--format", "json", "--progress-spinner", "off"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    if not ran.stdout:
        print(f"audit: nobody could be asked: {ran.stderr.strip().splitlines()[-1]}")
    return ran.stdout


def holes(packages: list[dict[str, Any]]) -> list[str]:
    """A line for each known hole."""
    return [
        f"{package['name']} {package['version']}: {hole['id']}, mended in "
        f"{' or '.join(hole['fix_versions']) or 'no version yet'}"
        for package in packages
        for hole in package.get("vulns", [])
    ]


def main() -> int:
    try:
        found = asked()
    except subprocess.TimeoutExpired:
        print("audit: nobody could be asked: no answer for four minutes")
        return 0
    if not found:
        return 0
    packages = json.loads(found)["dependencies"]
    unknown = [package["skip_reason"] for package in packages if "skip_reason" in package]
    lines = holes(packages)
    if unknown:
        print(f"audit: of {len(unknown)} packages nobody could be asked: {unknown[0]}")
    print("\n".join(lines) or f"audit: {len(packages) - len(unknown)} packages have no known holes")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
