#!/usr/bin/env bash
# Checks the Dockerfile as far as that can be done without Docker: lints it, runs what its first stage
# runs in an empty environment and folder, and has the app that it ends with restore the sample.
#
#   tools/check_image.sh [PYTHON [HADOLINT]]
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v "${1:-python3}")
"${2:-hadolint}" Dockerfile

work=$(mktemp -d)
app=
trap '[ -z "$app" ] || kill "$app" 2>/dev/null || true; rm -rf "$work"' EXIT

# What COPY takes of what is tracked: the names that .dockerignore lets in.
mkdir "$work/source" "$work/home" "$work/bin"
sed -n 's/^!//p' .dockerignore | xargs git ls-files -- | tar -cf - -T - | tar -xf - -C "$work/source"
ln -s "$python" "$work/bin/python"

extras=$(sed -n 's/^ARG EXTRAS=//p' Dockerfile)
in_image() { # a line of the Dockerfile as it is here
  sed "s#/venv#$work/venv#g; s#/source#$work/source#g; s#\${EXTRAS}#$extras#g"
}
clean=(env -i "HOME=$work/home" "PATH=$work/bin:/usr/bin:/bin" "TMPDIR=${TMPDIR:-/tmp}")
sed ':join; /\\$/ {N; s/\\\n//; b join}' Dockerfile |
  sed -n '/AS build/,/^FROM/ s/^RUN //p' | in_image >"$work/steps"
while read -r step; do
  echo "+ $step" | sed "s#$work##g"
  "${clean[@]}" sh -euc "$step" >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
  }
done <"$work/steps"
echo "installed: $(du -sm "$work/venv" | cut -f1) MB"

read -ra arguments < <(sed -n 's/^CMD \[\(.*\)\]/\1/p' Dockerfile | tr -d '",')
cd "$work"
"${clean[@]}" "$work/venv/bin/hrcnn-jax" "${arguments[@]}" --port 0 >"$work/said" &
app=$!
for _ in $(seq 60); do
  [ -s "$work/said" ] && break
  sleep 1
done
"${clean[@]}" "$work/venv/bin/python" - "$(cut -d' ' -f3 "$work/said")" <<'END'
import io
import sys
import urllib.request
from pathlib import Path

import hrcnn_jax
from PIL import Image

sample = Path(hrcnn_jax.__file__).parent / "sample" / "parrots.jpg"
request = urllib.request.Request(f"{sys.argv[1]}api/restore", data=sample.read_bytes())
with urllib.request.urlopen(request) as answer:
    picture = Image.open(io.BytesIO(answer.read()))
print(f"restored by the app: {picture.format}, {picture.size[0]}×{picture.size[1]}")
sys.exit(picture.size != (768, 512))
END
