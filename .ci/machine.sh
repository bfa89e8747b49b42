# shellcheck shell=bash
# What quickstart and check both need of a machine: a Python, a virtual environment, packages.
# Sourced, not run. Functions print nothing but problems and what they install.

fail() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 3
}

say() { printf '== %s\n' "$1" >&2; }

# Run a command quietly; when it fails, show what it wrote.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
  else
    tail -n 30 "$log" >&2
    rm -f "$log"
    return 1
  fi
}

is_debian() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

# Install Debian packages that are missing; only root can.
install_packages() {
  local name missing=()
  for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get install -y -qq --no-install-recommends "${missing[@]}")
  # The lists are fetched only when they are missing or too old for what is wanted.
  quietly "${install[@]}" 2>/dev/null && return 0
  quietly apt-get update -qq || fail "apt-get update failed"
  quietly "${install[@]}" || fail "apt-get cannot install ${missing[*]}"
}

# Print the first Python from 3.11 on: $PYTHON, then those of PATH, then the system's.
find_python() {
  local name
  for name in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if [ -n "$name" ] && is_good_python "$name"; then
      command -v "$name"
      return 0
    fi
  done
  fail "no Python from 3.11 on was found; install one, or name it: PYTHON=/path/to/python3 $0"
}

is_good_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# make_venv PYTHON FOLDER: make a virtual environment where there is none that works.
make_venv() {
  [ -x "$2/bin/python" ] && "$2/bin/python" -m pip --version >/dev/null 2>&1 && return 0
  if ! "$1" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && is_debian; then
      install_packages python3-venv
    else
      fail "Python's module venv is missing; as root: apt-get install python3-venv"
    fi
  fi
  quietly "$1" -m venv --clear "$2" || fail "no virtual environment could be made in $2"
}
