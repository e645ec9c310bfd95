//! What may be said of an engine, and what is refused by its field.

use serde_json::{Value, json};
use weir_crds::SLMDeployment;

use super::super::validate;
use super::*;

/// A deployment with another's server, with `spec` over it.
fn foreign_with(spec: Value) -> SLMDeployment {
    let mut all = json!({
        "model": { "source": "pvc://models/qwen.gguf" },
        "engine": { "image": "registry.test/llama-server:1", "protocol": "OpenAI" },
    });
    for (field, value) in spec.as_object().unwrap() {
        match (&mut all[field], value) {
            (Value::Object(known), Value::Object(more)) => known.extend(more.clone()),
            (known, value) => *known = value.clone(),
        }
    }
    deployment(all)
}

fn deployment(spec: Value) -> SLMDeployment {
    serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "chat", "namespace": "support", "uid": "u1" }, "spec": spec,
    }))
    .unwrap()
}

/// The fields that are refused, each for being invalid.
fn refused(deployment: &SLMDeployment) -> Vec<String> {
    let problems = validate(deployment, None).err().unwrap_or_default();
    let fields = problems.into_iter().map(|problem| {
        assert_eq!(problem.reason, "Invalid", "{}", problem.message);
        assert!(
            problem.message.starts_with(&problem.field),
            "{}",
            problem.message
        );
        problem.field
    });
    fields.collect()
}

#[test]
fn a_server_is_told_what_its_arguments_may_need() {
    let deployment = foreign_with(json!({
        "model": { "contextTokens": 4096 },
        "engine": { "maxSequences": 8, "args": [
            "--ctx-size=$(WEIR_CONTEXT_TOKENS)", "--parallel", "$(WEIR_MAX_SEQUENCES)", "$(THEIRS)", "$$(WEIR_NOT)",
        ] },
        "resources": { "accelerator": "Nvidia", "count": 4, "cpu": "3500m" },
    }));
    let valid = validate(&deployment, None).unwrap();
    let foreign = valid.foreign.unwrap();
    assert_eq!(foreign.image, "registry.test/llama-server:1");
    let variables = foreign.variables.iter();
    let variables: Vec<String> = variables
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        variables,
        [
            "WEIR_MODEL=/volumes/models/qwen.gguf",
            "WEIR_MODEL_NAME=chat",
            "WEIR_PORT=8000",
            "WEIR_THREADS=3",
            "WEIR_ACCELERATORS=4",
            "WEIR_CONTEXT_TOKENS=4096",
            "WEIR_MAX_SEQUENCES=8",
        ]
    );
    let ours = deployment_of_ours(json!({}));
    assert_eq!(validate(&ours, None).unwrap().foreign, None);
}

fn deployment_of_ours(resources: Value) -> SLMDeployment {
    deployment(json!({ "model": { "source": "file:///m" }, "resources": resources }))
}

#[test]
fn what_only_our_worker_does_is_refused_beside_another_server() {
    for (field, spec) in [
        (
            "spec.adapters",
            json!({ "adapters": [{ "name": "a", "source": "pvc://models/a" }] }),
        ),
        (
            "spec.model.quantization",
            json!({ "model": { "quantization": "Q8" } }),
        ),
        (
            "spec.engine.keyValueType",
            json!({ "engine": { "keyValueType": "Fp8" } }),
        ),
        (
            "spec.engine.prefixCache",
            json!({ "engine": { "prefixCache": "Disabled" } }),
        ),
        (
            "spec.model.revision",
            json!({ "model": { "revision": "main" } }),
        ),
        ("spec.model.sha256", json!({ "model": { "sha256": "ab" } })),
        (
            "spec.model.credentialsSecretRef",
            json!({ "model": { "credentialsSecretRef": { "name": "hub" } } }),
        ),
        (
            "spec.model.caBundle",
            json!({ "model": { "caBundle": { "configMapRef": { "name": "a", "key": "b" } } } }),
        ),
        (
            "spec.model.source",
            json!({ "model": { "source": "hf://a/b" } }),
        ),
    ] {
        assert_eq!(refused(&foreign_with(spec)), [field]);
    }
}

#[test]
fn a_field_that_no_argument_refers_to_has_no_effect_and_is_refused() {
    for (field, variable, spec) in [
        (
            "spec.model.contextTokens",
            CONTEXT_TOKENS,
            json!({ "model": { "contextTokens": 4096 } }),
        ),
        (
            "spec.engine.maxSequences",
            MAX_SEQUENCES,
            json!({ "engine": { "maxSequences": 8 } }),
        ),
    ] {
        assert_eq!(refused(&foreign_with(spec.clone())), [field]);
        let mut by_variable = spec;
        by_variable["placement"] =
            json!({ "env": [{ "name": "N", "value": format!("$({variable})") }] });
        assert_eq!(refused(&foreign_with(by_variable)), Vec::<String>::new());
    }
}

#[test]
fn an_argument_that_refers_to_what_is_not_there_is_named() {
    let args = json!({ "engine": { "args": ["--a=$(WEIR_PORT)", "--b=$(WEIR_CONTEXT_TOKENS)", "$(OTHER)"] } });
    assert_eq!(
        refused(&foreign_with(args.clone())),
        ["spec.engine.args[1]"]
    );
    let mut defined = args;
    defined["placement"] = json!({ "env": [{ "name": "WEIR_CONTEXT_TOKENS", "value": "9" }] });
    assert_eq!(refused(&foreign_with(defined)), Vec::<String>::new());
}

#[test]
fn image_protocol_and_arguments_go_together_also_where_nobody_admits() {
    let of = |engine: Value| {
        refused(&deployment(
            json!({ "model": { "source": "file:///m" }, "engine": engine }),
        ))
    };
    assert_eq!(of(json!({ "image": "a" })), ["spec.engine.image"]);
    assert_eq!(
        of(json!({ "protocol": "OpenAI" })),
        ["spec.engine.protocol"]
    );
    assert_eq!(of(json!({ "args": ["-x"] })), ["spec.engine.args"]);
}

#[test]
fn accelerators_are_counted_where_there_are_any_and_ours_is_one() {
    let of = |resources: Value| refused(&deployment_of_ours(resources));
    assert_eq!(of(json!({ "count": 1 })), ["spec.resources.count"]);
    let two = json!({ "accelerator": "Nvidia", "count": 2 });
    assert_eq!(of(two.clone()), ["spec.resources.count"]);
    assert_eq!(
        of(json!({ "accelerator": "Nvidia", "count": 1 })),
        Vec::<String>::new()
    );
    assert_eq!(
        refused(&foreign_with(json!({ "resources": two }))),
        Vec::<String>::new()
    );
}

#[test]
fn our_worker_needs_an_image_that_computes_on_the_accelerator() {
    let accelerated = deployment_of_ours(json!({ "accelerator": "Nvidia" }));
    let valid = || validate(&accelerated, None).unwrap();
    let problems = with_image(valid(), &Settings::default()).unwrap_err();
    assert_eq!(problems[0].field, "spec.resources.accelerator");
    assert!(
        problems[0].message.contains("worker.cudaImage"),
        "{}",
        problems[0].message
    );
    let settings = Settings {
        worker_cuda_image: Some("registry.test/worker-cuda:1".into()),
        ..Settings::default()
    };
    assert!(with_image(valid(), &settings).is_ok());
    let theirs = foreign_with(json!({ "resources": { "accelerator": "Nvidia" } }));
    let theirs = validate(&theirs, None).unwrap();
    assert!(with_image(theirs, &Settings::default()).is_ok());
}
