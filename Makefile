# What one does with metaferry's sources. `make` alone lists it.

FILES ?= 1000000
RUNS ?= 3
CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test bench memory lint

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## Make a volume of FILES names, dump it, load the dump, verify, and tell how long it took
	$(CARGO) build --release --locked
	$(CARGO) run --release --locked --quiet --package metaferry -- demo --files $(FILES)

test: ## Install what the tests need where that is allowed, and run all of them
	scripts/need redis-server 'postgresql:/usr/lib/postgresql/*/bin/postgres' pgbouncer:/usr/sbin/pgbouncer \
		mariadb-server:/usr/sbin/mariadbd zstd gzip python3 openssl systemd:systemd-analyze
	$(CARGO) test --workspace --locked

bench: ## Time every command on FILES names, RUNS times, beside juicefs and the databases' own programs
	scripts/need redis-server 'postgresql:/usr/lib/postgresql/*/bin/postgres' mariadb-server:/usr/sbin/mariadbd
	$(CARGO) build --release --locked --package metaferry --package metaferry-perf
	$(CARGO) run --release --locked --quiet --package metaferry-perf -- speed --files $(FILES) --runs $(RUNS) $(ARGS)

memory: ## Peak memory of every command on FILES names, and on ten times as many
	scripts/need redis-server 'postgresql:/usr/lib/postgresql/*/bin/postgres' mariadb-server:/usr/sbin/mariadbd
	$(CARGO) build --release --locked --package metaferry --package metaferry-perf
	$(CARGO) run --release --locked --quiet --package metaferry-perf -- memory --files $(FILES) $(ARGS)

lint: ## Format, lints and documents, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked
