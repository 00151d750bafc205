#!/usr/bin/env bash
# Make .venv and install a lock file's packages, when the file has changed since the last time:  install.sh LOCK [LOCK…]
# The first lock contains the others. uv installs if it is on the PATH, otherwise pip; INSTALL_WITH=pip takes pip anyway.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() { echo "$1" >&2; exit 1; }

has_uv() { [ "${INSTALL_WITH:-uv}" = uv ] && command -v uv >/dev/null; }

find_python() {
  for name in python3.11 python3 python3.12 python3.13; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  stop "Missing system package: python3 (3.11 or newer). Install it: apt-get install python3 python3-venv"
}

make_venv() {
  local python
  python=$(find_python)
  if has_uv; then
    uv venv --quiet --allow-existing --python "$python" .venv
  else
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
      stop "Missing system package: python3-venv. Install it: apt-get install python3-venv"
    "$python" -m venv .venv
  fi
}

# macOS before 15 has no sha256sum
stamp() { { sha256sum "$1" 2>/dev/null || shasum -a 256 "$1"; } | cut -d' ' -f1; }

# what is set for another Python, or says where pip is to put things, is not meant for .venv
unset PYTHONPATH PYTHONHOME
for name in USER TARGET PREFIX ROOT REQUIREMENT CONSTRAINT NO_BINARY ONLY_BINARY NO_DEPS DRY_RUN EDITABLE PYTHON; do
  unset "PIP_$name"
done

.venv/bin/python -c '' 2>/dev/null || make_venv
kept=.venv/.installed-$1
if [ "$(cat "$kept" 2>/dev/null)" != "$(stamp "$1")" ]; then
  echo "Installing the packages of $1 into .venv; this takes half a minute."
  if has_uv; then
    uv pip install --quiet --only-binary :all: --python .venv/bin/python --require-hashes -r "$1"
  else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: --require-hashes -r "$1"
  fi
  for lock in "$@"; do stamp "$lock" >".venv/.installed-$lock"; done
fi
