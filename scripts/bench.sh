#!/usr/bin/env bash
# Measures release builds, and prints each figure beside its target or its rival: what the refresh gate costs by itself,
# what many processes on one token cost, curl beside `get` and `token`, oha beside `burst`, `burst` beside `batch` (see benches/), and the server beside a
# Koa server, in a flood of logins and over a million refreshes (see server/benches/). No time fails this; wrong
# behaviour does: an allocation on the fast path, a second refresh, a call that was not answered.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

[[ $# -eq 0 ]] || fail 'usage: scripts/bench.sh'

need curl=curl wrk=wrk node=nodejs npm=npm gnome-keyring-daemon=gnome-keyring dbus-daemon=dbus secret-tool=libsecret-tools
install_peers
OHA=$(command -v oha || true)
if [[ -z $OHA ]]; then
  tools=$(target_directory)/tools
  OHA=$tools/bin/oha
  [[ -x $OHA ]] || step 'install oha' cargo install oha --locked --root "$tools"
fi
export OHA

benches=(gate processes compare load proxy server)
# Cargo's bench profile is the release profile: what is built here is what `cargo bench` runs.
step 'build' cargo build --workspace --release --locked --bins --test allocations "${benches[@]/#/--bench=}"
step 'allocations' cargo test --workspace --release --locked --test allocations
for bench in "${benches[@]}"; do
  step "$bench" cargo bench --workspace --locked --bench "$bench"
done
