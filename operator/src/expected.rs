//! Expected objects as files: `WEIR_REWRITE=1 cargo test -p weir-operator` writes them anew, so that
//! a review sees what changed as YAML.

use std::path::Path;

use serde::Serialize;

use crate::object::Wanted;

/// Compares `objects`, as YAML documents, with the file `tests/expected/<name>.yaml`.
#[allow(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of a program"
)]
pub fn check<T: Serialize>(name: &str, objects: &[T]) {
    let found: String = objects
        .iter()
        .map(|object| format!("---\n{}", serde_saphyr::to_string(object).unwrap()))
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/expected")
        .join(format!("{name}.yaml"));
    if std::env::var_os("WEIR_REWRITE").is_some() {
        std::fs::write(&file, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what is made now; WEIR_REWRITE=1 rewrites it. Made now:\n{found}",
        file.display()
    );
}

/// [`check`], of the objects of a pass.
pub fn check_wanted(name: &str, wanted: &[Wanted]) {
    let bodies: Vec<_> = wanted.iter().map(|wanted| &wanted.body).collect();
    check(name, &bodies);
}

/// [`check`], of objects without their specs.
pub fn check_statuses<T: Serialize>(name: &str, objects: &[T]) {
    let without_spec = |object| {
        let mut object = serde_json::to_value(object).unwrap();
        object.as_object_mut().unwrap().remove("spec");
        object
    };
    let objects: Vec<_> = objects.iter().map(without_spec).collect();
    check(name, &objects);
}
