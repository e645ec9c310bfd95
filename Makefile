# Each target is one command of the project; `make demo` and `make test` are all a newcomer needs.
.PHONY: demo test e2e cluster bench generate lint docs

demo: ; .ci/needs cc && cargo run --quiet --package weir -- demo

test: ; .ci/needs cc go python nodes && cargo test --workspace

e2e: ; .ci/needs cc go python nodes && WEIR_E2E_REQUIRE_NODES=1 cargo test --package weir-e2e

cluster: ; .ci/needs cc go python nodes && cargo run --package weir-e2e --bin weir-cluster -- up

bench: ; .ci/needs cc && bench/run

generate: export WEIR_REWRITE = 1
generate:
	cargo run --quiet --package weir-crds --bin weir-crds-yaml && cp crds/yaml/*.yaml charts/weir/files/crds/
	cargo test --quiet --package weir-worker-api --package weir-operator --package weir

lint: ; cargo fmt --all --check && cargo clippy --workspace --all-targets -- -D warnings && RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
