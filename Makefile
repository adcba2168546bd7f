# Each target is a script, so that it also runs where there is no make.

.PHONY: help demo test lint bench soak

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

demo: ## build, start a server, log in, let the token expire, call it ten times at once, clean up
	@scripts/demo.sh

test: ## run every test; as root or with CI set, install what they need
	@scripts/test.sh

lint: ## formatting, clippy and rustdoc without a warning, licences
	@scripts/lint.sh

bench: ## measure the refresh gate, `get` beside curl, `burst` beside oha and `batch`, the server beside Koa, on release builds
	@scripts/bench.sh

soak: ## kills, faults and restarts for ten minutes (SOAK_MINUTES=3 for three); no session may be lost
	@scripts/soak.sh
