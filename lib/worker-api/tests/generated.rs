//! The committed code is what the proto gives: generated anew in memory of the file system and
//! compared. `WEIR_REWRITE=1 cargo test -p weir-worker-api --test generated` writes it.

use std::fs;
use std::path::Path;

const FILE: &str = "weir.worker.v1.rs";

#[allow(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of a program"
)]
#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/generated").join(FILE);
    let proto = root.join("proto");
    let descriptors =
        protox::compile([proto.join("weir/worker/v1/worker.proto")], [&proto]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .codec_path("crate::bounded::BoundedCodec")
        .compile_fds(descriptors)
        .unwrap();
    let fresh = fs::read_to_string(out.path().join(FILE)).unwrap();
    let fresh = format!("{HEADER}{fresh}");
    if std::env::var_os("WEIR_REWRITE").is_some() {
        fs::write(&committed, &fresh).unwrap();
    }
    let held = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        held == fresh,
        "src/generated/{FILE} is stale: run WEIR_REWRITE=1 cargo test -p weir-worker-api --test generated"
    );
}

const HEADER: &str =
    "// Generated from proto/weir/worker/v1/worker.proto; do not edit. See tests/generated.rs.\n";
