# shellcheck shell=bash
# What the scripts share; sourced by them with the repository's root as the current directory.

# shellcheck disable=SC2034 # Some are for those who source this.
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' plain=''
fi

fail() {
  printf '%serror:%s %s\n' "$red$bold" "$plain" "$*" >&2
  exit 1
}

# step NAME COMMAND…: runs the command and tells how long it took; a failure ends the script.
step() {
  local name=$1 from=$SECONDS
  shift
  printf '%s== %s%s\n' "$bold" "$name" "$plain"
  "$@" || fail "$name failed after $((SECONDS - from)) s"
  printf '%s== %s: %d s%s\n' "$dim" "$name" $((SECONDS - from)) "$plain"
}

# Answers whether a command is there: on the PATH, or where Debian keeps PostgreSQL's own programs.
has() {
  command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# need COMMAND=PACKAGE…: makes sure that the commands are there. As root, or with CI set, it installs the Debian
# packages of those that are missing; else it prints the one command that does, and fails.
need() {
  local pair missing=()
  for pair in "$@"; do
    has "${pair%%=*}" || missing+=("${pair#*=}")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  local install="apt-get install -y --no-install-recommends ${missing[*]}"
  if ! command -v apt-get >/dev/null; then
    fail "please install: ${missing[*]}"
  elif [[ $EUID -eq 0 ]]; then
    as_root=()
  elif [[ -n ${CI:-} ]]; then
    as_root=(sudo -n)
  else
    fail "${missing[*]} missing; run: sudo sh -c 'apt-get update && $install'"
  fi
  printf 'installing %s\n' "${missing[*]}"
  "${as_root[@]}" apt-get update -qq </dev/null
  # shellcheck disable=SC2086 # The words of the command are meant to be split.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive $install -qq </dev/null >/dev/null
  for pair in "$@"; do
    has "${pair%%=*}" || fail "package ${pair#*=} brought no command ${pair%%=*}"
  done
}

# Installs what the foreign peers of tests/peers stand on.
install_peers() {
  # npm writes the first of these last: it is older than the lock file when that has changed since.
  if [[ ! tests/peers/node_modules/.package-lock.json -nt tests/peers/package-lock.json ]]; then
    step 'npm ci' npm ci --prefix tests/peers --no-audit --no-fund --loglevel=error
  fi
}

# Builds both binaries, and the example that a test runs. A test is among the targets because cargo then unifies the features of the tests' own
# dependencies in: this is one build with that of `cargo test --workspace`, and without it tokio and what stands on it
# would be built twice.
build_binaries() {
  cargo build --workspace --locked --bins --example worker --test licences
}

# Prints where cargo builds to, whatever the environment or a configuration file says.
target_directory() {
  cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
