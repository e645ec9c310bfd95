//! What a revision takes over from the operator's own settings when it begins, and keeps: a change
//! of these settings alone rolls nothing.
//!
//! They are part of the pod template and so of the revision's hash. A revision that exists is known
//! again by the ones it began with, and the next change of the spec takes up those of its day.

use k8s_openapi::api::core::v1::Container;
use weir_crds::{Accelerator, SLMDeploymentSpec};

use crate::settings::Settings;

const OTLP_ENDPOINT: Flag = Flag {
    flag: "--otlp-endpoint=",
    variable: "WEIR_OTLP_ENDPOINT",
};
const LOG_LEVEL: Flag = Flag {
    flag: "--log-level=",
    variable: "WEIR_LOG_LEVEL",
};

/// The settings that a revision began with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Began {
    pub image: String,
    pub otlp_endpoint: Option<String>,
    pub log_level: Option<String>,
}

impl Began {
    /// What a revision of `spec` that began now would keep. Where the user's own environment says
    /// something, ours says nothing: a flag would win over it.
    pub fn now(spec: &SLMDeploymentSpec, settings: &Settings) -> Self {
        let unless_theirs = |flag: Flag, ours: &Option<String>| {
            let mut theirs = spec.placement.env.iter();
            let theirs = theirs.any(|variable| variable.name == flag.variable);
            ours.clone().filter(|_| !theirs)
        };
        Self {
            // Validation finds where there is none.
            image: image(spec, settings).unwrap_or_default().to_owned(),
            otlp_endpoint: unless_theirs(OTLP_ENDPOINT, &settings.pods_otlp_endpoint),
            log_level: unless_theirs(LOG_LEVEL, &settings.worker_log_level),
        }
    }

    /// What the revision with this container began with: reads what [`Began::arguments`] wrote.
    pub fn of(container: Container) -> Self {
        let arguments = container.args.unwrap_or_default();
        Self {
            otlp_endpoint: OTLP_ENDPOINT.read(&arguments),
            log_level: LOG_LEVEL.read(&arguments),
            image: container.image.unwrap_or_default(),
        }
    }

    /// What of it a worker is told; nothing where nobody chose anything.
    pub fn arguments(&self) -> impl Iterator<Item = String> {
        let endpoint = OTLP_ENDPOINT.write(self.otlp_endpoint.as_deref());
        endpoint
            .into_iter()
            .chain(LOG_LEVEL.write(self.log_level.as_deref()))
    }
}

/// The image of our worker for `spec`: its profile's, or the installation's. An installation may have none for
/// an accelerator.
pub fn image<'a>(spec: &SLMDeploymentSpec, settings: &'a Settings) -> Option<&'a str> {
    let profile = spec.resources.profile.as_ref();
    let profile = profile.and_then(|name| settings.profiles.0.get(name));
    let theirs = profile.and_then(|profile| profile.image.as_deref());
    theirs.or_else(|| match spec.resources.accelerator {
        Accelerator::None => Some(&settings.worker_image),
        Accelerator::Nvidia => settings.worker_cuda_image.as_deref(),
    })
}

/// One flag of a worker, and the variable that says the same.
#[derive(Clone, Copy)]
struct Flag {
    flag: &'static str,
    variable: &'static str,
}

impl Flag {
    fn write(self, value: Option<&str>) -> Option<String> {
        Some(format!("{}{}", self.flag, value?))
    }

    fn read(self, arguments: &[String]) -> Option<String> {
        let mut arguments = arguments.iter();
        arguments.find_map(|argument| argument.strip_prefix(self.flag).map(str::to_owned))
    }
}
