#!/usr/bin/env bash
# Measures release builds, and prints each figure beside its target or its rival: what the refresh gate costs by itself,
# what many processes on one token cost, and curl and oha beside `get` and `burst` (see benches/). No time fails this;
# wrong behaviour does: an allocation on the fast path, a second refresh, a call that was not answered.
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

benches=(gate processes compare)
# Cargo's bench profile is the release profile: what is built here is what `cargo bench` runs.
step 'build' cargo build --workspace --release --locked --bins --test allocations "${benches[@]/#/--bench=}"
step 'allocations' cargo test --workspace --release --locked --test allocations
for bench in "${benches[@]}"; do
  step "$bench" cargo bench --workspace --locked --bench "$bench"
done
