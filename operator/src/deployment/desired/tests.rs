//! What deployments are made of, as files under `tests/expected`.

use super::*;
use crate::deployment::entry::Entry;
use crate::deployment::validate::validate;
use crate::expected::check_wanted;
use weir_crds::SLMDeployment;

fn deployment(spec: &str) -> SLMDeployment {
    let head = "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\n\
                metadata: { name: triage, namespace: support, uid: u1 }\n";
    serde_saphyr::from_str(&format!("{head}spec:\n{spec}")).unwrap()
}

fn settings() -> Settings {
    Settings {
        worker_image: "registry.test/worker:1".into(),
        ..Settings::default()
    }
}

fn made(spec: &str, given: Given<'_>) -> Desired {
    let deployment = deployment(spec);
    desired(&validate(&deployment, None).unwrap(), &settings(), given)
}

const LEAST: &str = "  model: { source: file:///models/triage }\n";

const ALL: &str =
    "  model: { source: pvc://models/triage/v1, contextTokens: 2048, quantization: Q4 }
  engine: { keyValueType: Fp8, maxSequences: 4, prefixCache: Disabled }
  resources: { cpu: 1500m, memory: 1Gi, ephemeralStorage: 2Gi }
  replicas: 3
  drain: 30s
  price: { replicaHour: '0.75' }
  placement:
    nodeSelector: { pool: models }
    tolerations: [{ key: models, operator: Exists }]
    topologySpread: Node
    runtimeClassName: gvisor
    priorityClassName: high
    serviceAccountName: cloud
    imagePullSecrets: [{ name: registry }]
    podLabels: { team: support, weir.dev/component: mine }
    podAnnotations: { note: kept }
    env: [{ name: TZ, value: UTC }, { name: WEIR_LOG_FORMAT, value: human }]
";

#[test]
fn a_deployment_with_defaults() {
    check_wanted("deployment-least", &made(LEAST, Given::default()).objects());
}

#[test]
fn a_deployment_with_everything_that_is_honoured() {
    let began = Began {
        image: "registry.test/worker:0".into(),
        otlp_endpoint: Some("http://collector:4317".into()),
        log_level: Some("debug".into()),
    };
    let given = Given {
        began: Some(&began),
        pins: Some(&Pins {
            digest: "sha256:abc".into(),
            resolved: Some("5f1c2ab".into()),
        }),
        canary: true,
        replicas: Some(1),
    };
    check_wanted("deployment-all", &made(ALL, given).objects());
}

const FOREIGN: &str = "  model: { source: pvc://models/qwen.gguf, contextTokens: 4096 }
  engine:
    image: registry.test/llama-server:1
    protocol: OpenAI
    args: [--model, $(WEIR_MODEL), --port, $(WEIR_PORT), --ctx-size, $(WEIR_CONTEXT_TOKENS)]
  resources: { accelerator: Nvidia, count: 2 }
  drain: 1500ms
  placement: { env: [{ name: OMP_NUM_THREADS, value: $(WEIR_THREADS) }, { name: WEIR_PORT, value: '1' }] }
";

#[test]
fn a_deployment_of_anothers_server() {
    check_wanted(
        "deployment-foreign",
        &made(FOREIGN, Given::default()).objects(),
    );
}

#[test]
fn another_image_of_anothers_server_is_another_revision_whatever_the_last_one_began_with() {
    let first = made(FOREIGN, Given::default());
    let began = Began::of(container(first.clone()));
    let given = Given {
        began: Some(&began),
        ..Given::default()
    };
    assert_eq!(made(FOREIGN, given).revision, first.revision);
    let next = FOREIGN.replace("llama-server:1", "llama-server:2");
    assert_ne!(made(&next, given).revision, first.revision);
}

#[test]
fn our_worker_on_an_accelerator_is_another_image_with_one_of_them() {
    let spec = format!("{LEAST}  resources: {{ accelerator: Nvidia }}\n");
    let settings = Settings {
        worker_cuda_image: Some("registry.test/worker-cuda:1".into()),
        ..settings()
    };
    let deployment = deployment(&spec);
    let valid = validate(&deployment, None).unwrap();
    let container = container(desired(&valid, &settings, Given::default()));
    assert_eq!(
        container.image.as_deref(),
        Some("registry.test/worker-cuda:1")
    );
    let limits = container.resources.unwrap().limits.unwrap();
    assert_eq!(limits["nvidia.com/gpu"].0, "1");
}

const ADAPTED: &str = "  model: { source: file:///models/triage }
  adapters: [{ name: a, source: s3://models/a }, { name: b, source: file:///models/b }]
";

#[test]
fn a_list_of_adapters_is_mounted_and_no_part_of_the_revision() {
    let (with, without) = (
        made(ADAPTED, Given::default()),
        made(LEAST, Given::default()),
    );
    assert_eq!(with.revision, without.revision);
    assert_eq!(with.deployment, without.deployment);
    check_wanted("deployment-adapters", &[Wanted::new(&with.adapters)]);
}

const DOWNLOADED: &str = "  model:
    source: hf://Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf
    revision: main
    sha256: 5ab1c0ffee5ab1c0ffee5ab1c0ffee5ab1c0ffee5ab1c0ffee5ab1c0ffee5ab1
    credentialsSecretRef: { name: hub }
    caBundle: { configMapRef: { name: authorities, key: ours.pem } }
  cache: { persistentVolumeClaim: { name: models } }
  resources: { ephemeralStorage: 20Gi }
";

#[test]
fn a_deployment_whose_model_is_downloaded() {
    check_wanted(
        "deployment-downloaded",
        &made(DOWNLOADED, Given::default()).objects(),
    );
}

/// A deployment with this chat template, and what is pinned.
fn templated(text: &str, pins: Option<&Pins>) -> Desired {
    let template = "chatTemplate: { configMapRef: { name: templates, key: ours } }";
    let spec = format!("  model: {{ source: file:///models/triage, {template} }}\n");
    let deployment = deployment(&spec);
    let entry = Entry::Text(text.into());
    let valid = validate(&deployment, Some(&entry)).unwrap();
    let given = Given {
        pins,
        ..Given::default()
    };
    desired(&valid, &settings(), given)
}

#[test]
fn a_chat_template_is_kept_by_the_revision_that_began_with_it() {
    let made = templated("{{ messages }}\n", None);
    check_wanted("deployment-template", &made.objects());
    let of = |made: &Desired| made.revision.clone();
    assert_eq!(of(&made), of(&templated("{{ messages }}\n", None)));
    assert_ne!(of(&made), of(&templated("{{ messages }}", None)));
}

#[test]
fn what_the_first_replica_found_is_no_part_of_the_revision() {
    let pins = Pins {
        digest: "sha256:abc".into(),
        resolved: None,
    };
    let (before, after) = (templated("x", None), templated("x", Some(&pins)));
    assert_eq!(before.deployment, after.deployment);
    let data = after.config.data.unwrap();
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, [CHAT_TEMPLATE, DIGEST, SOURCE]);
}

#[test]
fn downloads_of_a_deployment_that_names_no_cache_end_with_the_pod() {
    let made = made(
        "  model: { source: s3://models/triage }\n",
        Given::default(),
    );
    let pod = made.deployment.spec.unwrap().template.spec.unwrap();
    let volumes = pod.volumes.unwrap();
    let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["cache", "adapters", "revision"]);
    assert!(volumes[0].empty_dir.is_some());
    assert_eq!(pod.security_context.unwrap().fs_group, None);
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    assert_eq!(
        (mounts[0].mount_path.as_str(), mounts[0].read_only),
        ("/cache", None)
    );
}

#[test]
fn a_revision_is_what_makes_its_pods_and_nothing_else() {
    let revision = |spec: &str| made(spec, Given::default()).revision;
    let first = revision(LEAST);
    for same in ["  price: { replicaHour: '1' }\n", "  replicas: 5\n"] {
        assert_eq!(revision(&format!("{LEAST}{same}")), first, "{same}");
    }
    for other in [
        "  drain: 1m\n",
        "  resources: { cpu: '3' }\n",
        "  placement: { podAnnotations: { a: b } }\n",
    ] {
        assert_ne!(revision(&format!("{LEAST}{other}")), first, "{other}");
    }
    assert_ne!(
        revision("  model: { source: file:///models/other }\n"),
        first
    );
}

#[test]
fn a_revision_is_known_again_by_the_image_it_began_with() {
    let began = Began {
        image: "registry.test/worker:0".into(),
        ..Began::default()
    };
    let old = Given {
        began: Some(&began),
        ..Given::default()
    };
    let deployment = deployment(LEAST);
    let valid = validate(&deployment, None).unwrap();
    let kept = revision(&valid, &settings(), old.began);
    assert_eq!(kept, made(LEAST, old).revision);
    assert_ne!(kept, made(LEAST, Given::default()).revision);
}

#[test]
fn a_profile_names_the_image_that_a_revision_begins_with() {
    let gpu = r#"{"gpu":{"image":"registry.test/worker:gpu"}}"#;
    let settings = Settings {
        profiles: gpu.parse().unwrap(),
        ..settings()
    };
    let named = deployment(&format!("{LEAST}  resources: {{ profile: gpu }}\n"));
    assert_eq!(
        Began::now(&named.spec, &settings).image,
        "registry.test/worker:gpu"
    );
    let plain = deployment(LEAST);
    assert_eq!(
        Began::now(&plain.spec, &settings).image,
        "registry.test/worker:1"
    );
}

/// The worker's container of a revision.
fn container(desired: Desired) -> k8s_openapi::api::core::v1::Container {
    let template = desired.deployment.spec.unwrap().template;
    template.spec.unwrap().containers.remove(0)
}

#[test]
fn another_collector_rolls_nothing_and_the_next_revision_takes_it_up() {
    let before = made(LEAST, Given::default());
    let changed = Settings {
        pods_otlp_endpoint: Some("http://collector:4317".into()),
        worker_log_level: Some("debug".into()),
        ..settings()
    };
    let deployment = deployment(LEAST);
    let valid = validate(&deployment, None).unwrap();
    let began = Began::of(container(before.clone()));
    assert_eq!(revision(&valid, &changed, Some(&began)), before.revision);

    let next = desired(&valid, &changed, Given::default());
    assert_ne!(next.revision, before.revision);
    let began = Began::of(container(next.clone()));
    assert_eq!(began, Began::now(valid.spec, &changed));
    // And taking the collector away rolls nothing either.
    assert_eq!(revision(&valid, &settings(), Some(&began)), next.revision);
}

#[test]
fn a_collector_in_the_users_own_environment_is_theirs() {
    let changed = Settings {
        pods_otlp_endpoint: Some("http://collector:4317".into()),
        worker_log_level: Some("debug".into()),
        ..settings()
    };
    let env = "{ name: WEIR_OTLP_ENDPOINT, value: 'http://mine:4317' }";
    let deployment = deployment(&format!("{LEAST}  placement: {{ env: [{env}] }}\n"));
    let valid = validate(&deployment, None).unwrap();
    let began = Began::of(container(desired(&valid, &changed, Given::default())));
    assert_eq!(
        (began.otlp_endpoint, began.log_level.as_deref()),
        (None, Some("debug"))
    );
}

#[test]
fn a_worker_reads_the_drain_that_its_arguments_name() {
    for drain in ["1500ms", "90500ms", "1m1ms", "250ms", "2m"] {
        let desired = made(&format!("{LEAST}  drain: {drain}\n"), Given::default());
        let written = container(desired).args.unwrap().into_iter();
        let written = written
            .filter_map(|argument| argument.strip_prefix("--drain=").map(str::to_owned))
            .next()
            .unwrap();
        let read = weir_process::parse_duration(&written);
        assert_eq!(read, Ok(weir_crds::value::duration(drain).unwrap()));
    }
}

#[test]
fn a_folder_of_the_node_keeps_downloads_and_packed_weights() {
    let made = made(
        "  model: { source: s3://models/triage }\n  cache: { hostPath: { path: /var/cache/weir } }\n",
        Given::default(),
    );
    let pod = made.deployment.spec.unwrap().template.spec.unwrap();
    let volume = &pod.volumes.as_ref().unwrap()[0];
    let folder = volume.host_path.as_ref().unwrap();
    assert_eq!(folder.path, "/var/cache/weir");
    assert_eq!(folder.type_.as_deref(), Some("DirectoryOrCreate"));
    assert!(volume.empty_dir.is_none() && volume.persistent_volume_claim.is_none());
    let arguments = pod.containers[0].args.clone().unwrap();
    assert!(arguments.contains(&"--packed-cache=/cache/packed".to_owned()));
}
