#!/usr/bin/env bash
# Runs every test, those included that plain `cargo test` leaves out because they need more than cargo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh
start=$SECONDS

need gnome-keyring-daemon=gnome-keyring dbus-daemon=dbus secret-tool=libsecret-tools script=bsdutils node=nodejs npm=npm \
  initdb=postgresql sqlite3=sqlite3 jq=jq curl=curl python3=python3 zsh=zsh fish=fish man=man-db mandoc=mandoc \
  chromium=chromium
node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18 ? 1 : 0)' ||
  fail "the foreign peers need Node.js 18 or newer, this is $(node --version)"

install_peers
# The tests run the server's binary, which cargo does not build for the tests of another package.
step 'build' build_binaries
step 'tests' cargo test --workspace --locked -- --include-ignored

printf '%severy test passed%s, after %d s in all\n' "$green$bold" "$plain" $((SECONDS - start))
