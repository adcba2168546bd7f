#!/usr/bin/env bash
# Checks the licences and sources of the dependencies against deny.toml: with cargo-deny where it is installed, else
# with the test that reads the same lists.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if command -v cargo-deny >/dev/null; then
  cargo deny --locked --log-level error check licenses bans sources
else
  # The whole workspace, so that it is one build with that of the other tests.
  cargo test --workspace --locked --test licences
fi
