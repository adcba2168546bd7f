#!/usr/bin/env bash
# Formatting, shell scripts, clippy, rustdoc and licences, every warning an error, the quickest first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

step 'rustfmt' cargo fmt --all --check
if [[ -n ${CI:-} ]]; then
  need shellcheck=shellcheck
fi
if command -v shellcheck >/dev/null; then
  step 'shellcheck' shellcheck -x scripts/*.sh .ci/run
fi
step 'clippy' cargo clippy --workspace --all-targets --locked -- -D warnings
# A test that `cargo test` leaves out is left out of all targets, too.
step 'clippy, soak' cargo clippy --workspace --test soak --locked -- -D warnings
# The library is to be had without the command line.
step 'clippy, library alone' cargo clippy --package authcli --lib --no-default-features --locked -- -D warnings
step 'rustdoc' env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked
step 'licences' scripts/licences.sh
