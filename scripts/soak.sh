#!/usr/bin/env bash
# Runs both programs in bad weather and looks for lost sessions (see tests/soak/main.rs).
#
# usage: scripts/soak.sh [MINUTES]
#
# On dev builds: they check for overflows and for their own assertions, and are there already where the tests were run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

[[ $# -le 1 ]] || fail "usage: scripts/soak.sh [MINUTES]"
export SOAK_MINUTES=${1:-${SOAK_MINUTES:-10}}

step 'build' build_binaries
step 'soak' cargo test --workspace --locked --test soak
