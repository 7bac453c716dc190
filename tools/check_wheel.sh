#!/usr/bin/env bash
# Builds the source distribution and, from it, the wheel; installs the wheel in an empty environment
# and restores the sample picture there; says how much was installed.
#
#   tools/check_wheel.sh [PYTHON]    a Python that has `build`
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
export LC_ALL=C  # one order for sort and comm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is tracked, and nothing else that lies about.
mkdir "$work/source"
git ls-files | sort >"$work/tracked"
tar -cf - -T "$work/tracked" | tar -xf - -C "$work/source"
"$python" -m build --outdir "$work/dist" "$work/source" >"$work/build.log" 2>&1 || {
  cat "$work/build.log"
  exit 1
}
sdist=("$work"/dist/*.tar.gz)
wheel=("$work"/dist/*.whl)

# The source distribution holds all that is tracked, but for what only a repository needs.
tar -tzf "${sdist[0]}" | sed 's#^[^/]*/##' | sort >"$work/packed"
missing=$(grep -v '^\.' "$work/tracked" | sort | comm -23 - "$work/packed")
[ -z "$missing" ] || {
  echo "not in the source distribution: $missing"
  exit 1
}

"$python" -m venv "$work/env"
env=$work/env/bin/python
list() { "$env" -m pip list --disable-pip-version-check --format=freeze | grep -vcE '^(pip|setuptools)=' || true; }
megabytes() { du -sm "$work/env" | cut -f1; }
before=$(megabytes)
"$env" -m pip install -q --disable-pip-version-check "${wheel[0]}"
echo "$(basename "${wheel[0]}"): $(list) packages, $(($(megabytes) - before)) MB installed, of which"
du -sm "$work"/env/lib/python*/site-packages/{jaxlib,tensorstore,hrcnn_jax} | sed 's#\t.*/# MB #'

# Elsewhere, so that nothing is imported from this folder.
cd "$work"
sample=$("$env" -c 'import hrcnn_jax, pathlib; print(pathlib.Path(hrcnn_jax.__file__).parent / "sample")')
"$work/env/bin/hrcnn-jax" restore "$sample/parrots.jpg" -o restored/
"$env" - "$sample" <<'END'
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def psnr(path):
    original = np.asarray(Image.open(Path(sys.argv[1], "parrots.webp")), float)
    error = np.asarray(Image.open(path), float) - original
    return 20 * np.log10(255 / np.sqrt(np.mean(error**2)))


gain = psnr("restored/parrots.png") - psnr(Path(sys.argv[1], "parrots.jpg"))
print(f"restored by the wheel alone: {gain:+.2f} dB over Pillow's decode")
sys.exit(int(gain < 2))
END
