//! `weir` as a person runs it: the demo, and one's own files, with real processes.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn weir() -> Command {
    Command::new(env!("CARGO_BIN_EXE_weir"))
}

fn triage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/triage")
}

/// Kills what it started if the test fails before it ended.
struct Running(Child);

impl Running {
    fn interrupt(&self) {
        let id = i32::try_from(self.0.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::SIGINT).unwrap();
    }

    /// Lines of standard output up to the first that begins so.
    fn read_until(&mut self, beginning: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let output = BufReader::new(self.0.stdout.as_mut().unwrap());
        for line in output.lines() {
            lines.push(line.unwrap());
            if lines.last().unwrap().starts_with(beginning) {
                return lines;
            }
        }
        panic!("no line begins with {beginning:?} in {lines:#?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ids of processes whose command line holds `mark`.
fn processes_with(mark: &str) -> Vec<String> {
    let listed = Command::new("ps")
        .args(["-A", "-o", "pid=,args="])
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let lines = listed.lines().filter(|line| line.contains(mark));
    lines.map(str::to_owned).collect()
}

fn gone_soon(mark: &str) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        if processes_with(mark).is_empty() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn up(state: &Path, files: &[PathBuf]) -> Command {
    let mut command = weir();
    command.arg("up").arg("--file").args(files);
    command
        .arg("--listen=127.0.0.1:0")
        .arg(format!("--state={}", state.display()))
        .arg(format!(
            "--mount=/models/triage={}",
            triage().join("model").display()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a start that is refused says on standard error.
fn refused(yaml: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.yaml");
    fs::write(&file, yaml).unwrap();
    let output = up(&folder.path().join("state"), &[file]).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_demo_answers_one_question_small_and_one_by_the_frontier() {
    let mut demo = weir();
    demo.arg("demo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut demo = Running(demo.spawn().unwrap());
    let mut input = demo.0.stdin.take().unwrap();
    input
        .write_all(b"My invoice is wrong, I was billed twice\n\n")
        .unwrap();
    let mut output = String::new();
    demo.0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert!(demo.0.wait().unwrap().success(), "{output}");

    let answered: Vec<_> = output
        .lines()
        .filter(|line| line.contains("answered by"))
        .collect();
    assert_eq!(
        answered.len(),
        3,
        "two questions and one of our own: {output}"
    );
    assert!(answered[0].contains("small, score 0.9"), "{output}");
    assert!(answered[1].contains("frontier"), "{output}");
    assert!(
        answered.iter().all(|line| line.contains("cost $")),
        "{output}"
    );
    assert!(output.contains("small was unsure"), "{output}");
}

#[test]
fn an_interrupt_ends_the_router_and_every_replica() {
    let state = tempfile::tempdir().unwrap();
    // Every replica has this in its command line: the model lies below the state's folder.
    let model = state.path().join("model");
    fs::create_dir(&model).unwrap();
    for file in fs::read_dir(triage().join("model")).unwrap().flatten() {
        fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    let file = state.path().join("app.yaml");
    fs::write(
        &file,
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: {{ name: triage }}\n\
         spec: {{ model: {{ source: 'file://{}' }}, replicas: 2 }}\n",
            model.display(),
        ),
    )
    .unwrap();
    let mut running = Running(up(&state.path().join("state"), &[file]).spawn().unwrap());
    running.read_until("ready ");
    assert!(processes_with(&model.display().to_string()).len() >= 2);
    running.interrupt();
    assert!(running.0.wait().unwrap().success());
    assert!(gone_soon(&model.display().to_string()));
}

#[test]
fn replicas_end_even_when_weir_is_killed() {
    let state = tempfile::tempdir().unwrap();
    let model = state.path().join("model");
    std::os::unix::fs::symlink(triage().join("model"), &model).unwrap();
    let file = state.path().join("app.yaml");
    fs::write(
        &file,
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: {{ name: triage }}\n\
         spec: {{ model: {{ source: 'file://{}' }} }}\n",
            model.display(),
        ),
    )
    .unwrap();
    let mut running = Running(up(&state.path().join("state"), &[file]).spawn().unwrap());
    running.read_until("ready ");
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    assert!(gone_soon(&model.display().to_string()));
}

#[test]
fn the_folder_made_for_kubectl_works_as_it_is() {
    let state = tempfile::tempdir().unwrap();
    let mut running = Running(
        up(&state.path().join("state"), &[triage()])
            .spawn()
            .unwrap(),
    );
    let said = running.read_until("ready ").join("\n");
    assert!(said.contains("left alone: Service/frontier"), "{said}");
    assert!(
        said.contains("models           support-assistant, triage"),
        "{said}"
    );
    running.interrupt();
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn a_model_on_a_claim_runs_from_the_folder_that_is_named_for_it() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("app.yaml");
    fs::write(
        &file,
        "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: { name: triage }\n\
         spec: { model: { source: 'pvc://models/triage/model' } }\n",
    )
    .unwrap();
    let mut command = up(&state.path().join("state"), &[file]);
    let folder = triage().join("..");
    command.arg(format!("--mount=pvc://models={}", folder.display()));
    let mut running = Running(command.spawn().unwrap());
    running.read_until("ready ");
    running.interrupt();
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn a_tier_without_its_deployment_ends_the_start_with_one_line_that_names_it() {
    let error = refused(
        "apiVersion: weir.dev/v1alpha1\nkind: RoutePolicy\nmetadata: { name: support }\n\
         spec: { models: [assistant], tiers: [{ name: small, deployment: { name: triage } }] }\n",
    );
    assert!(
        error.contains("no file has the deployment \"triage\""),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_model_that_is_not_there_is_named_while_weir_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("app.yaml");
    fs::write(
        &file,
        "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: { name: lost }\n\
         spec: { model: { source: 'file:///nowhere/lost' } }\n",
    )
    .unwrap();
    let mut running = Running(up(&state.path().join("state"), &[file]).spawn().unwrap());
    let said = running.read_until("ended ").pop().unwrap();
    assert!(said.contains("lost: ModelNotFound: "), "{said}");
    assert!(said.contains("/nowhere/lost"), "{said}");
    assert!(
        running.0.try_wait().unwrap().is_none(),
        "the router goes on"
    );
}

#[test]
fn an_unknown_field_ends_the_start_with_one_line_that_names_it() {
    let error = refused(
        "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: { name: triage }\n\
         spec: { model: { source: 'file:///m', sorce: x } }\n",
    );
    assert!(error.contains("unknown field spec.model.sorce"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_field_that_nothing_honours_yet_is_refused_by_name() {
    let error = refused(
        "apiVersion: weir.dev/v1alpha1\nkind: RoutePolicy\nmetadata: { name: support }\n\
         spec: { models: [m], tiers: [{ name: small, deployment: { name: triage } }], classifier: { learned: {} } }\n",
    );
    assert!(error.contains("spec.classifier.learned"), "{error}");
}

#[test]
fn credentials_that_nobody_gave_are_asked_for() {
    let error = refused(
        "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: { name: triage }\n\
         spec: { model: { source: 'hf://a/b', credentialsSecretRef: { name: hub } } }\n",
    );
    assert!(
        error.contains("SLMDeployment/triage: spec.model.credentialsSecretRef: say what Secret/hub has with --secret hub/KEY="),
        "{error}"
    );
}

#[test]
fn a_secret_that_is_not_set_names_its_variable() {
    let state = tempfile::tempdir().unwrap();
    let output = up(state.path(), &[triage()])
        .arg("--secret=openai/api-key=env:WEIR_TEST_SURELY_UNSET")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("WEIR_TEST_SURELY_UNSET is not set"),
        "{error}"
    );
}

#[test]
fn a_secret_is_there_while_weir_runs_and_gone_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("tmp");
    fs::create_dir(&scratch).unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "sk-very-secret").unwrap();
    let mut command = up(&folder.path().join("state"), &[triage()]);
    command.env("TMPDIR", &scratch);
    command.arg(format!("--secret=openai/api-key=file:{}", key.display()));
    let mut running = Running(command.spawn().unwrap());
    running.read_until("ready ");
    let secrets = fs::read_dir(&scratch).unwrap().flatten().next().unwrap();
    let entry = secrets.path().join("openai/api-key");
    assert_eq!(fs::read_to_string(entry).unwrap(), "sk-very-secret");
    running.interrupt();
    assert!(running.0.wait().unwrap().success());
    assert_eq!(
        fs::read_dir(&scratch).unwrap().count(),
        0,
        "something is left behind"
    );
    assert!(!folder.path().join("state/secrets").exists());
}
