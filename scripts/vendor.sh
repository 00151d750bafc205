#!/usr/bin/env bash
# For maintainers: brings the files of static/vendor from npm, at these versions, and keeps of Tabler's stylesheet what
# the pages use. Run it after a template has taken a class that wasn't used before (tests/test_look.py names it), and
# commit what it wrote.
set -euo pipefail
cd "$(dirname "$0")/.."
tabler=1.6.1 sans=5.3.0 mono=5.3.0 purgecss=8.0.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
vendor=static/vendor

npm install --prefix "$work" --silent --no-audit --no-fund --ignore-scripts \
  "@tabler/core@$tabler" "@fontsource-variable/ibm-plex-sans@$sans" "@fontsource/ibm-plex-mono@$mono" \
  "purgecss@$purgecss"
modules=$work/node_modules

cp "$modules/@fontsource-variable/ibm-plex-sans/files/ibm-plex-sans-latin-wght-normal.woff2" \
  "$modules/@fontsource/ibm-plex-mono/files/ibm-plex-mono-latin-400-normal.woff2" "$vendor/fonts/"
cp scripts/vendor.mjs "$work/"
node "$work/vendor.mjs" "$PWD" "$modules/@tabler/core/dist/css/tabler.min.css" "$vendor/tabler/tabler.min.css"

cat >"$vendor/VERSIONS" <<END
Files from npm packages, written by scripts/vendor.sh; nothing here is edited by hand.

tabler/tabler.min.css                              @tabler/core $tabler                          MIT
                                                   what the pages use of it, by purgecss $purgecss
fonts/ibm-plex-sans-latin-wght-normal.woff2        @fontsource-variable/ibm-plex-sans $sans    OFL 1.1
fonts/ibm-plex-mono-latin-400-normal.woff2         @fontsource/ibm-plex-mono $mono             OFL 1.1
END
make compress
