//! `registry/repository[:tag][@digest]`, taken apart.

use crate::digest::Digest;

/// What an image's address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) host: String,
    pub(crate) repository: String,
    /// A tag, or `sha256:<digest>`.
    pub(crate) reference: String,
}

/// Where the name that people write is not where the registry is.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

impl Reference {
    /// `revision` stands for the tag or digest that `image` leaves out.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(image: &str, revision: Option<&str>) -> Result<Self, String> {
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (image, None),
        };
        let (host, rest) = name.split_once('/').ok_or("names no repository")?;
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let written = digest.or(tag);
        if written.is_some() && revision.is_some() {
            return Err("has a tag or digest already: take model.revision out".to_owned());
        }
        let reference = written.or(revision).unwrap_or("latest");
        if reference.contains(':') {
            reference
                .parse::<Digest>()
                .map_err(|error| error.to_string())?;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
        if repository.is_empty()
            || ![repository, reference]
                .iter()
                .all(|text| text.chars().all(plain))
        {
            return Err("is not an address of an image".to_owned());
        }
        let host = if host == DOCKER.0 { DOCKER.1 } else { host };
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        })
    }

    pub(crate) fn is_digest(&self) -> bool {
        self.reference.contains(':')
    }

    /// A registry on this machine speaks plain HTTP, as everywhere; any other has to use TLS.
    pub(crate) fn scheme(&self) -> &'static str {
        let name = match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &self.host,
        };
        match name {
            "localhost" | "127.0.0.1" | "[::1]" => "http",
            _ => "https",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_host_a_repository_and_a_tag_or_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (image, revision, host, repository, reference) in [
            ("r.dev/a/b:v1", None, "r.dev", "a/b", "v1"),
            ("r.dev:5000/a", None, "r.dev:5000", "a", "latest"),
            ("r.dev:5000/a", Some("v2"), "r.dev:5000", "a", "v2"),
            (
                "docker.io/ai/smollm2:q4",
                None,
                "registry-1.docker.io",
                "ai/smollm2",
                "q4",
            ),
            (&format!("r.dev/a:v1@{digest}"), None, "r.dev", "a", &digest),
        ] {
            let parsed = Reference::parse(image, revision).unwrap();
            let (host, repository) = (host.to_owned(), repository.to_owned());
            let reference = reference.to_owned();
            let expected = Reference {
                host,
                repository,
                reference,
            };
            assert_eq!(parsed, expected, "{image}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(Reference::parse("r.dev/a@sha256:abc", None).is_err());
        assert!(Reference::parse("r.dev/a:v1", Some("v2")).is_err());
        assert!(Reference::parse("r.dev/a?b:v1", None).is_err());
    }

    #[test]
    fn only_a_registry_of_this_machine_is_spoken_to_without_tls() {
        let scheme = |image| Reference::parse(image, None).unwrap().scheme();
        assert_eq!(scheme("localhost:5000/a"), "http");
        assert_eq!(scheme("127.0.0.1/a"), "http");
        assert_eq!(scheme("127.0.0.1.evil.dev/a"), "https");
        assert_eq!(scheme("r.dev:5000/a"), "https");
    }
}
