#!/usr/bin/env bash
# Makes sure that there is a Chromium for the tests of the app's page: the distribution's, or the
# one that Playwright fetches.
#
#   tools/get_chromium.sh [PYTHON]    a Python that has `playwright`
set -euo pipefail
python=${1:-python3}

for name in chromium-headless-shell chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
  "${as_root[@]}" apt-get update -qq
  for name in chromium-headless-shell chromium; do
    if "${as_root[@]}" apt-get install -qq -y --no-install-recommends "$name" fonts-dejavu-core \
      >/dev/null 2>&1; then exit 0; fi
  done
fi
"$python" -m playwright install --only-shell chromium
