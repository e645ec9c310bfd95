//! What a laptop has instead of a cluster: folders for paths in images and for claims, addresses for
//! Services.
//!
//! Pure: the objects as written go in, the objects as they hold here come out.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use weir_crds::{RoutePolicy, SLMDeployment, Source};

/// A path in an image or a path on a claim, and the folder that it is here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mount {
    pub(crate) place: Source,
    pub(crate) folder: PathBuf,
}

/// The host of a Service, and the address that answers for it here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
}

/// Everything that differs from a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Laptop {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) services: Vec<Service>,
}

impl Laptop {
    /// The deployment with its sources on this machine. One that no mount covers stays as it is.
    pub(crate) fn deployment(&self, mut object: SLMDeployment) -> SLMDeployment {
        let adapters = object.spec.adapters.iter_mut();
        let sources = adapters.map(|adapter| &mut adapter.source);
        for source in sources.chain([&mut object.spec.model.source]) {
            let here = source.parse().ok().and_then(|source| {
                let mut mounts = self.mounts.iter();
                mounts.find_map(|mount| mount.folder_of(&source))
            });
            if let Some(here) = here {
                *source = format!("file://{}", here.display());
            }
        }
        object
    }

    /// The policy with the hosts of known Services replaced in its endpoints.
    pub(crate) fn policy(&self, mut object: RoutePolicy) -> RoutePolicy {
        for endpoint in object
            .spec
            .tiers
            .iter_mut()
            .filter_map(|tier| tier.endpoint.as_mut())
        {
            let Some(url) = &endpoint.base_url else {
                continue;
            };
            let known = self
                .services
                .iter()
                .find_map(|service| service.replace_in(url));
            if known.is_some() {
                endpoint.base_url = known;
            }
        }
        object
    }
}

impl Mount {
    /// Where `source` lies here, if it is below this place.
    fn folder_of(&self, source: &Source) -> Option<PathBuf> {
        let (path, mounted) = match (source, &self.place) {
            (Source::File { path }, Source::File { path: mounted }) => (path, mounted),
            (
                Source::Claim { claim, path },
                Source::Claim {
                    claim: of,
                    path: mounted,
                },
            ) if claim == of => (path, mounted),
            _ => return None,
        };
        let rest = Path::new(path).strip_prefix(mounted).ok()?;
        Some(match rest.as_os_str().is_empty() {
            true => self.folder.clone(),
            false => self.folder.join(rest),
        })
    }
}

impl Service {
    /// The URL with this Service's host replaced, if it names this Service.
    fn replace_in(&self, url: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.split(':').next()?;
        (host == self.host).then(|| format!("{scheme}://{}{path}", self.address))
    }
}

/// An option of the form `LEFT=RIGHT` that was not one.
#[derive(Debug, PartialEq)]
pub(crate) struct NotAPair(&'static str);

impl fmt::Display for NotAPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write it as {}", self.0)
    }
}

impl std::error::Error for NotAPair {}

impl FromStr for Mount {
    type Err = NotAPair;

    fn from_str(text: &str) -> Result<Self, NotAPair> {
        let wrong = || NotAPair("/path/in/image=folder or pvc://claim/path=folder");
        let (place, folder) = text.split_once('=').ok_or_else(wrong)?;
        let place = match place.starts_with('/') {
            true => Source::File { path: place.into() },
            false => place.parse().map_err(|_| wrong())?,
        };
        let is_known = matches!(place, Source::File { .. } | Source::Claim { .. });
        if !is_known || folder.is_empty() {
            return Err(wrong());
        }
        let folder = folder.into();
        Ok(Self { place, folder })
    }
}

impl FromStr for Service {
    type Err = NotAPair;

    fn from_str(text: &str) -> Result<Self, NotAPair> {
        let wrong = || NotAPair("host=address:port");
        let (host, address) = text.split_once('=').ok_or_else(wrong)?;
        Ok(Self {
            host: host.into(),
            address: address.parse().map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn laptop() -> Laptop {
        Laptop {
            mounts: [
                "/models/triage=/home/me/triage",
                "pvc://models/tuned=/home/me/tuned",
                "pvc://shared=/home/me/shared",
            ]
            .map(|mount| mount.parse().unwrap())
            .into(),
            services: vec!["frontier.default.svc=127.0.0.1:9000".parse().unwrap()],
        }
    }

    fn source_here(source: &str) -> String {
        let object = serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
            "metadata": { "name": "triage" }, "spec": { "model": { "source": source } },
        }))
        .unwrap();
        laptop().deployment(object).spec.model.source
    }

    #[test]
    fn a_mounted_path_becomes_its_folder() {
        assert_eq!(
            source_here("file:///models/triage"),
            "file:///home/me/triage"
        );
        assert_eq!(
            source_here("file:///models/triage/v2"),
            "file:///home/me/triage/v2"
        );
    }

    #[test]
    fn adapters_lie_where_mounts_say_too() {
        let object = serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
            "metadata": { "name": "triage" },
            "spec": {
                "model": { "source": "file:///models/triage" },
                "adapters": [
                    { "name": "a", "source": "file:///models/triage/a" },
                    { "name": "b", "source": "s3://m/b" },
                ],
            },
        }));
        let deployment = laptop().deployment(object.unwrap());
        let adapters = deployment.spec.adapters.iter();
        let sources: Vec<&str> = adapters.map(|adapter| adapter.source.as_str()).collect();
        let model = &deployment.spec.model.source;
        assert_eq!(sources, [&*format!("{model}/a"), "s3://m/b"]);
    }

    #[test]
    fn a_path_that_only_begins_alike_stays() {
        assert_eq!(
            source_here("file:///models/triage2"),
            "file:///models/triage2"
        );
        assert_eq!(source_here("pvc://models/triage"), "pvc://models/triage");
        assert_eq!(source_here("pvc://models2/tuned"), "pvc://models2/tuned");
    }

    #[test]
    fn a_path_on_a_mounted_claim_becomes_its_folder() {
        for (source, here) in [
            ("pvc://models/tuned", "file:///home/me/tuned"),
            ("pvc://models/tuned/v2/", "file:///home/me/tuned/v2"),
            ("pvc://shared", "file:///home/me/shared"),
            ("pvc://shared/a/b", "file:///home/me/shared/a/b"),
        ] {
            assert_eq!(source_here(source), here);
        }
    }

    #[test]
    fn a_known_service_is_dialled_at_its_address() {
        let service = &laptop().services[0];
        assert_eq!(
            service
                .replace_in("http://frontier.default.svc/v1")
                .as_deref(),
            Some("http://127.0.0.1:9000/v1")
        );
        assert_eq!(
            service
                .replace_in("http://frontier.default.svc:8080")
                .as_deref(),
            Some("http://127.0.0.1:9000")
        );
        assert_eq!(
            service.replace_in("http://frontier.default.svc.evil/v1"),
            None
        );
    }

    #[test]
    fn what_is_no_pair_says_what_to_write() {
        for text in [
            "models=x",
            "/models",
            "pvc://=x",
            "pvc://models=",
            "hf://a/b=x",
        ] {
            let mount = text.parse::<Mount>().unwrap_err();
            assert_eq!(
                mount.to_string(),
                "write it as /path/in/image=folder or pvc://claim/path=folder",
                "{text}"
            );
        }
        let service = "frontier=nowhere".parse::<Service>().unwrap_err();
        assert_eq!(service.to_string(), "write it as host=address:port");
    }
}
