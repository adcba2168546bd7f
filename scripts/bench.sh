#!/usr/bin/env bash
# Compares release builds with curl and oha, in turns, and prints the ratios (see benches/compare.rs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

[[ $# -eq 0 ]] || fail "usage: scripts/bench.sh"

need curl=curl
OHA=$(command -v oha || true)
if [[ -z $OHA ]]; then
  tools=$(target_directory)/tools
  OHA=$tools/bin/oha
  [[ -x $OHA ]] || step 'install oha' cargo install oha --locked --root "$tools"
fi
export OHA

# Cargo's bench profile is the release profile: what is built here is what `cargo bench` runs.
step 'build' cargo build --workspace --release --locked --bins --bench compare
step 'compare' cargo bench --workspace --locked --bench compare
