//! Adapters of the example's model: a list that changes while the worker runs, each adapter under its
//! own name, and what is wrong with one told of that one.

use std::{os::unix::fs::symlink, path::Path};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use weir_worker_api::{self as api, ErrorCode, detail_of};

use crate::{
    grpc::{endless, read},
    harness::{PATIENCE, Worker, about, copy, error_of},
};

/// Sizes of the example's model.
const HIDDEN: usize = 192;
const LAYERS: usize = 6;

const TICKET: &str = "Hello, I was charged twice for my subscription this month. Please help!";

/// A model with adapters beside it, and a list as Kubernetes mounts one.
struct Stage {
    model: TempDir,
    list: TempDir,
    lists: usize,
}

impl Stage {
    fn new() -> Self {
        let stage = Self {
            model: copy(),
            list: tempfile::tempdir().unwrap(),
            lists: 0,
        };
        for (name, seed) in [("one", 1.0), ("two", 2.0)] {
            write(&stage.model.path().join(name), HIDDEN, seed);
        }
        write(&stage.model.path().join("wide"), HIDDEN + 8, 3.0);
        stage
    }

    /// Exchanges a link, as is done with a ConfigMap.
    fn list(&mut self, text: &str) {
        self.lists += 1;
        let folder = self.list.path().join(format!("..{}", self.lists));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("adapters.json"), text).unwrap();
        let new = self.list.path().join("..data_tmp");
        symlink(&folder, &new).unwrap();
        std::fs::rename(new, self.list.path().join("..data")).unwrap();
        let file = self.list.path().join("adapters.json");
        if !file.is_symlink() {
            symlink("..data/adapters.json", file).unwrap();
        }
    }

    /// Adapters by their name and folder.
    fn name(&mut self, entries: &[(&str, &str)]) {
        let entry = |(name, folder): &(&str, &str)| json!({ "name": name, "source": format!("file:///model/{folder}") });
        let entries: Vec<Value> = entries.iter().map(entry).collect();
        self.list(&Value::Array(entries).to_string());
    }

    async fn worker(&self) -> Worker {
        let list = self.list.path().to_str().unwrap();
        Worker::serving(self.model.path(), &["--adapters", list]).await
    }
}

/// An adapter of rank 4 that adds to the queries and to what attention gives back, by a lot.
pub fn write(folder: &Path, inputs: usize, seed: f32) {
    let (mut header, mut data) = (Map::new(), Vec::<u8>::new());
    let mut tensor = |name: String, shape: [usize; 2]| {
        let start = data.len();
        for at in 0..shape[0] * shape[1] {
            let number = ((at as f32 + 1.0) * (seed * 1.7 + header.len() as f32)).sin() / 2.0;
            data.extend(number.to_le_bytes());
        }
        let place = [start, data.len()];
        let info = json!({ "dtype": "F32", "shape": shape, "data_offsets": place });
        header.insert(name, info);
    };
    for layer in 0..LAYERS {
        for module in ["q_proj", "o_proj"] {
            let name = format!("base_model.model.model.layers.{layer}.self_attn.{module}");
            tensor(format!("{name}.lora_A.weight"), [4, inputs]);
            tensor(format!("{name}.lora_B.weight"), [HIDDEN, 4]);
        }
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::create_dir(folder).unwrap();
    let bytes = [&length[..], header.as_bytes(), &data].concat();
    std::fs::write(folder.join("adapter_model.safetensors"), bytes).unwrap();
    let config = json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "o_proj"],
    });
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
}

/// What is written after a ticket by a model of that name.
async fn written(worker: &Worker, model: &str) -> String {
    let more = json!({ "model": model, "max_tokens": 12, "ignore_eos": true });
    let answer = worker.chat(&about(TICKET, more)).await;
    assert_eq!(answer["model"], model);
    answer["choices"][0]["message"]["content"].to_string()
}

/// The vector that a model of that name makes of a ticket.
async fn vector(worker: &Worker, model: &str) -> Value {
    let url = format!("http://{}/v1/embeddings", worker.address);
    let body = json!({ "model": model, "input": TICKET });
    let response = worker.client.post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    answer["data"][0]["embedding"].clone()
}

async fn models(worker: &Worker) -> Vec<String> {
    let response = worker.get("/v1/models").send().await.unwrap();
    let list: Value = response.json().await.unwrap();
    let models = list["data"].as_array().unwrap().iter();
    models
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until the report says that of an adapter.
async fn until(worker: &Worker, wanted: impl Fn(&[Value]) -> bool) {
    let adapters = |load: &Value| load["adapters"].as_array().cloned().unwrap_or_default();
    worker.until(|load| wanted(&adapters(load))).await;
}

#[tokio::test]
async fn each_adapter_answers_by_its_own_name_and_those_beside_it_change_nothing() {
    let mut stage = Stage::new();
    stage.name(&[("one", "one"), ("two", "two")]);
    let worker = stage.worker().await;
    assert_eq!(
        models(&worker).await,
        ["triage", "triage:one", "triage:two"]
    );
    let model = worker.get("/v1/models/triage:one").send().await.unwrap();
    let model: Value = model.json().await.unwrap();
    assert_eq!(
        (&model["parent"], &model["root"]),
        (&json!("triage"), &json!("triage:one"))
    );
    let names = ["triage", "triage:one", "triage:two"];
    let mut alone = Vec::new();
    for name in names {
        alone.push(written(&worker, name).await);
    }
    assert!(
        alone[0] != alone[1] && alone[1] != alone[2] && alone[0] != alone[2],
        "{alone:?}"
    );
    let many = (0..12).map(|at| written(&worker, names[at % 3]));
    let together = futures::future::join_all(many).await;
    for (at, text) in together.iter().enumerate() {
        assert_eq!(*text, alone[at % 3]);
    }
    let (status, error) = worker
        .refused(&about(TICKET, json!({ "model": "triage:three" })))
        .await;
    assert_eq!((status, &error["code"]), (404, &json!("model_not_found")));
    let said = error["message"].as_str().unwrap();
    assert!(
        said.ends_with("there is: triage, triage:one, triage:two"),
        "{said}"
    );
    let other = worker.get("/v1/models/triage:three").send().await.unwrap();
    assert_eq!(error_of(other).await.0, 404);
    let (_, metrics) = worker.admin("/metrics").await;
    for line in [
        "weir_worker_adapters{state=\"ready\"} 2",
        "weir_worker_adapters{state=\"failed\"} 0",
        "weir_worker_adapter_requests_info{max_lora=\"32\",running_lora_adapters=\"\",waiting_lora_adapters=\"\"} ",
        "weir_worker_adapter_bytes ",
        "weir_worker_adapter_limit_bytes ",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn the_list_may_change_while_answers_are_written() {
    let mut stage = Stage::new();
    stage.name(&[]);
    let worker = stage.worker().await;
    assert_eq!(models(&worker).await, ["triage"]);
    stage.name(&[("a", "one")]);
    until(&worker, |adapters| {
        adapters.len() == 1 && adapters[0]["reason"] == ""
    })
    .await;
    let one = written(&worker, "triage:a").await;
    // What is begun goes on with what it began with.
    let mut client = worker.grpc().await;
    let long = api::GenerateRequest {
        model: "triage:a".to_owned(),
        ..endless(5, 300)
    };
    let mut events = client.generate(long.clone()).await.unwrap().into_inner();
    events.message().await.unwrap();
    let (_, metrics) = worker.admin("/metrics").await;
    assert!(metrics.contains("running_lora_adapters=\"a\""), "{metrics}");
    stage.name(&[("a", "two"), ("b", "one")]);
    until(&worker, |adapters| {
        adapters.len() == 2 && adapters.iter().all(|adapter| adapter["reason"] == "")
    })
    .await;
    let mut ids = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        if let Some(api::generate_event::Event::Tokens(tokens)) = event.event {
            ids.extend(tokens.tokens.iter().map(|token| token.id));
        }
    }
    let moved = api::GenerateRequest {
        model: "triage:b".to_owned(),
        ..long
    };
    assert_eq!(read(&worker, moved).await.ids, ids);
    assert_eq!(written(&worker, "triage:b").await, one);
    assert_ne!(written(&worker, "triage:a").await, one);
    // What is no list changes nothing.
    stage.list("[{");
    worker
        .until_said(&["the list of adapters stays as it was"])
        .await;
    assert_eq!(models(&worker).await, ["triage", "triage:a", "triage:b"]);
    stage.name(&[("b", "one")]);
    until(&worker, |adapters| adapters.len() == 1).await;
    assert_eq!(
        worker
            .refused(&about(TICKET, json!({ "model": "triage:a" })))
            .await
            .0,
        404
    );
    assert_eq!(written(&worker, "triage:b").await, one);
}

#[tokio::test]
async fn what_is_wrong_with_one_is_told_of_it_and_the_others_are_served() {
    let mut stage = Stage::new();
    stage.name(&[("good", "one"), ("gone", "nowhere"), ("wide", "wide")]);
    let worker = stage.worker().await;
    assert_eq!(models(&worker).await, ["triage", "triage:good"]);
    let describe = worker.grpc().await.describe(api::DescribeRequest {}).await;
    let told = describe.unwrap().into_inner().adapters;
    let problems: Vec<(&str, &str)> = told
        .iter()
        .map(|adapter| (adapter.name.as_str(), adapter.problem.as_str()))
        .collect();
    assert!(problems[0].1.starts_with("ModelNotFound: "), "{problems:?}");
    assert!(told[1].digest.starts_with("sha256:") && told[1].problem.is_empty());
    assert_eq!(
        problems[2].1,
        "Unsupported: tensor `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` has \
         shape [4, 200] where this model asks for [4, 192]"
    );
    worker
        .until_said(&["adapter not loaded", "wide", "shape [4, 200]"])
        .await;
    until(&worker, |adapters| {
        adapters.len() == 3 && adapters[2]["reason"] == "Unsupported" && adapters[1]["digest"] != ""
    })
    .await;
    // An entry that gets worse is served as it was.
    stage.name(&[("good", "wide")]);
    until(&worker, |adapters| {
        adapters.len() == 1 && adapters[0]["reason"] == "Unsupported"
    })
    .await;
    assert_eq!(models(&worker).await, ["triage", "triage:good"]);
    // And one that is put right is taken up.
    std::fs::remove_dir_all(stage.model.path().join("wide")).unwrap();
    stage.name(&[("good", "two")]);
    until(&worker, |adapters| {
        adapters.len() == 1 && adapters[0]["reason"] == ""
    })
    .await;
}

#[tokio::test]
async fn an_answer_with_an_adapter_is_resumed_only_where_it_is_the_same() {
    let mut stage = Stage::new();
    stage.name(&[("a", "one"), ("b", "two")]);
    let worker = stage.worker().await;
    let request = |model: &str| api::GenerateRequest {
        model: model.to_owned(),
        ..endless(9, 40)
    };
    let whole = read(&worker, request("triage:a")).await;
    let describe = worker.grpc().await.describe(api::DescribeRequest {}).await;
    let described = describe.unwrap().into_inner();
    let resume = api::Resume {
        model_digest: described.model_digest,
        adapter_digest: described.adapters[0].digest.clone(),
        tokenizer_digest: described.tokenizer_digest,
        kernel_class: described.kernel_class,
        prompt_ids: whole.started.prompt_ids.clone(),
        seed: whole.started.seed,
        choices: vec![api::ChoiceProgress {
            choice: 0,
            produced: whole.ids[..17].to_vec(),
            sent_text_bytes: 5,
        }],
    };
    let resumed = |model: &str| api::GenerateRequest {
        resume: Some(resume.clone()),
        ..request(model)
    };
    assert_eq!(
        read(&worker, resumed("triage:a")).await.ids,
        whole.ids[17..]
    );
    for other in ["triage:b", "triage"] {
        let refused = worker.grpc().await.generate(resumed(other)).await;
        let detail = detail_of(&refused.unwrap_err());
        let told = (detail.code(), detail.field.as_str());
        assert_eq!(told, (ErrorCode::Mismatch, "resume.adapter_digest"));
    }
    let unknown = worker.grpc().await.generate(request("triage:c")).await;
    let detail = detail_of(&unknown.unwrap_err());
    assert_eq!(detail.code(), ErrorCode::UnknownModel);
    assert!(
        detail.retry_elsewhere,
        "another replica may have it already"
    );
    let unknown = worker.grpc().await.generate(request("other")).await;
    assert!(!detail_of(&unknown.unwrap_err()).retry_elsewhere);
    // A choice among options is the adapter's too.
    let choose = |model: &str| api::ChooseRequest {
        model: model.to_owned(),
        prompt: crate::grpc::prompt(TICKET),
        options: ["billing", "delivery"].map(str::to_owned).to_vec(),
        ..api::ChooseRequest::default()
    };
    let mut client = tokio::time::timeout(PATIENCE, worker.grpc()).await.unwrap();
    let with = client
        .choose(choose("triage:a"))
        .await
        .unwrap()
        .into_inner();
    let without = client.choose(choose("")).await.unwrap().into_inner();
    assert_ne!(with.scores, without.scores);
}

#[tokio::test]
async fn vectors_are_made_with_the_adapter_that_was_asked_for() {
    let mut stage = Stage::new();
    stage.name(&[("a", "one"), ("b", "two")]);
    let worker = stage.worker().await;
    let own = vector(&worker, "triage").await;
    let (a, b) = (
        vector(&worker, "triage:a").await,
        vector(&worker, "triage:b").await,
    );
    assert!(own != a && own != b && a != b);
    assert_eq!(vector(&worker, "triage:a").await, a);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_adapters_is_told_as_a_part_of_the_start() {
    let waited = async |worker: &Worker| {
        let cold_start = worker.report().await["worker"]["cold_start"].clone();
        let mut grpc = worker.grpc().await;
        let described = grpc.describe(api::DescribeRequest {}).await.unwrap();
        let described = described.into_inner().cold_start.unwrap();
        assert_eq!(cold_start["adapters_ms"], described.adapters_millis);
        described.adapters_millis
    };
    let mut stage = Stage::new();
    stage.name(&[]);
    assert_eq!(waited(&stage.worker().await).await, 0);
    // So many that it cannot be less than a millisecond.
    let names: Vec<String> = (0..30).map(|index| format!("a{index}")).collect();
    let listed: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "one")).collect();
    stage.name(&listed);
    assert!(waited(&stage.worker().await).await > 0);
}
