# Each target is one command of the project; `make demo` and `make test` are all a newcomer needs.
.PHONY: demo test e2e e2e-faults cluster cluster-down bench generate lint

demo: ; .ci/needs rust cc && cargo run --package weir -- demo

test: ; .ci/needs rust cc go python node nodes && cargo test --workspace --no-fail-fast

e2e: ; .ci/needs rust cc go python nodes && WEIR_E2E_REQUIRE_NODES=1 cargo test --package weir-e2e

e2e-faults: export WEIR_E2E_FAULTS = 1
e2e-faults: export WEIR_E2E_REQUIRE_NODES = 1
e2e-faults: ; .ci/needs rust cc go python nodes && cargo test --package weir-e2e --test nodes && cargo test --package weir-e2e --test operator faults::

cluster: ; .ci/needs rust cc go python nodes && cargo run --package weir-e2e --bin weir-cluster -- up

cluster-down: ; cargo run --package weir-e2e --bin weir-cluster -- down

bench: ; .ci/needs rust cc python && bench/run

generate: export WEIR_REWRITE = 1
generate:
	cargo run --quiet --package weir-crds --bin weir-crds-yaml && cp crds/yaml/*.yaml charts/weir/files/crds/
	cargo test --quiet --package weir-policy --package weir-worker-api --package weir-operator --package weir-router --package weir

lint: ; cargo fmt --all --check && cargo clippy --workspace --all-targets -- -D warnings && RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
