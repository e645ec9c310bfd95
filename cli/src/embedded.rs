//! What `weir demo` runs on: the model, the two resources and the questions of `examples/triage`,
//! inside this program, so that it needs no file beside it.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

pub(crate) const DEPLOYMENT: &str = include_str!("../../examples/triage/slmdeployment.yaml");
pub(crate) const POLICY: &str = include_str!("../../examples/triage/routepolicy.yaml");
const QUESTIONS: &str = include_str!("../../examples/triage/tickets/questions.json");

/// Where the deployment's source says that the model lies.
pub(crate) const MODEL_PATH: &str = "/models/triage";

/// The host that the policy's endpoint names.
pub(crate) const FRONTIER_HOST: &str = "frontier.default.svc";

const MODEL: [(&str, &[u8]); 5] = [
    (
        "config.json",
        include_bytes!("../../examples/triage/model/config.json"),
    ),
    (
        "generation_config.json",
        include_bytes!("../../examples/triage/model/generation_config.json"),
    ),
    (
        "model.safetensors",
        include_bytes!("../../examples/triage/model/model.safetensors"),
    ),
    (
        "tokenizer.json",
        include_bytes!("../../examples/triage/model/tokenizer.json"),
    ),
    (
        "tokenizer_config.json",
        include_bytes!("../../examples/triage/model/tokenizer_config.json"),
    ),
];

/// A question of the demo, and what should become of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    pub(crate) question: String,
}

/// The questions that the demo asks by itself.
pub(crate) fn questions() -> Vec<Question> {
    serde_json::from_str(QUESTIONS).expect("the questions are built in and a test reads them")
}

/// Writes the model's files into `folder`, which is made.
pub(crate) fn write_model(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, content) in MODEL {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests::Manifests;

    #[test]
    fn the_built_in_resources_name_what_the_demo_provides() {
        let mut manifests = Manifests::default();
        manifests.add("slmdeployment.yaml", DEPLOYMENT).unwrap();
        manifests.add("routepolicy.yaml", POLICY).unwrap();
        let source = &manifests.deployments[0].spec.model.source;
        assert_eq!(source, &format!("file://{MODEL_PATH}"));
        assert!(POLICY.contains(FRONTIER_HOST));
        assert_eq!(questions().len(), 2);
    }

    #[test]
    fn the_readme_shows_the_built_in_resources() {
        let readme = include_str!("../../README.md");
        let shown = readme
            .split("```yaml\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let (mut shown_there, mut built_in) = (Manifests::default(), Manifests::default());
        shown_there.add("README.md", shown).unwrap();
        built_in.add("slmdeployment.yaml", DEPLOYMENT).unwrap();
        built_in.add("routepolicy.yaml", POLICY).unwrap();
        assert_eq!(
            shown_there.deployments[0].spec,
            built_in.deployments[0].spec
        );
        assert_eq!(shown_there.policies[0].spec, built_in.policies[0].spec);
    }
}
