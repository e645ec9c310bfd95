//! From a manifest to files: pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    digest::Digest,
    remote::{MOST_FILES, Packing, RemoteFile},
};

/// A manifest, or an index of manifests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// What tools write the name of a file under.
const NAMES: [&str; 2] = ["org.cncf.model.filepath", "org.opencontainers.image.title"];
/// ORAS packs folders and says so here; its layers of plain files have the media type of a tar.
const UNPACK: &str = "io.deis.oras.content.unpack";
/// Layers that are one GGUF and have no name.
const GGUF: [&str; 2] = [
    "application/vnd.docker.ai.gguf",
    "application/vnd.ollama.image.model",
];

impl Manifest {
    /// The digest of the manifest to go on with, where this is an index.
    pub(super) fn of_platform(&self, architecture: &str) -> Option<&str> {
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let fits = |found: &&Descriptor| {
            let platform = found.platform.as_ref();
            platform.is_some_and(|is| is.os == "linux" && is.architecture == architecture)
        };
        let fitting = self.manifests.iter().find(fits).or(self.manifests.first());
        fitting.map(|found| found.digest.as_str())
    }

    /// What the layers hold.
    ///
    /// # Errors
    /// Says which layer cannot be read, or that there is none.
    pub(super) fn files(&self) -> Result<Vec<RemoteFile>, String> {
        if self.layers.len() > MOST_FILES {
            return Err(format!("more than {MOST_FILES} layers"));
        }
        let mut files = Vec::new();
        let mut unknown = Vec::new();
        for layer in &self.layers {
            match layer.file()? {
                Some(file) => files.push(file),
                None => unknown.push(layer.media_type.as_str()),
            }
        }
        if files.is_empty() && !unknown.is_empty() {
            return Err(format!("no layer is a file: {}", unknown.join(", ")));
        }
        Ok(files)
    }
}

impl Descriptor {
    /// Nothing where the layer is of a kind that holds no file.
    fn file(&self) -> Result<Option<RemoteFile>, String> {
        let digest: Digest = self
            .digest
            .parse()
            .map_err(|error| format!("a layer's {error}"))?;
        let name = NAMES.iter().find_map(|name| self.annotations.get(*name));
        let packing = self.packing(name.map(String::as_str))?;
        let name = match (name, packing) {
            // The archive's own name only has to differ from the others'.
            (_, Some(Packing::Tar)) => format!("{}.tar", digest.short()),
            (_, Some(Packing::TarGzip)) => format!("{}.tar.gz", digest.short()),
            (Some(name), None) => name.clone(),
            (None, None) if GGUF.iter().any(|kind| self.media_type.starts_with(kind)) => {
                "model.gguf".to_owned()
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(RemoteFile {
            name,
            key: self.digest.clone(),
            bytes: Some(self.size),
            sha256: Some(digest),
            tag: None,
            packing,
        }))
    }

    fn packing(&self, name: Option<&str>) -> Result<Option<Packing>, String> {
        let kind = &self.media_type;
        let plain = name.is_some() && !kind.contains(".cncf.model.") && !kind.contains(".kitops.");
        if plain {
            let packed = self
                .annotations
                .get(UNPACK)
                .is_some_and(|value| value == "true");
            return Ok(packed.then_some(Packing::TarGzip));
        }
        if !kind.contains("tar") {
            return Ok(None);
        }
        if kind.ends_with("gzip") {
            return Ok(Some(Packing::TarGzip));
        }
        match kind.ends_with("tar") {
            true => Ok(Some(Packing::Tar)),
            false => Err(format!(
                "a layer is packed as {kind}, and only tar and gzip are read"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(layers: &str) -> Result<Vec<(String, Option<Packing>)>, String> {
        let digest = format!("sha256:{}", "a".repeat(64));
        let json = format!(r#"{{"layers":[{}]}}"#, layers.replace("DIGEST", &digest));
        let manifest: Manifest = serde_json::from_str(&json).unwrap();
        let files = manifest.files()?;
        Ok(files
            .into_iter()
            .map(|file| (file.name, file.packing))
            .collect())
    }

    fn layer(kind: &str, annotations: &str) -> String {
        format!(
            r#"{{"mediaType":"{kind}","digest":"DIGEST","size":5,"annotations":{{{annotations}}}}}"#
        )
    }

    #[test]
    fn files_of_oras_are_files_though_their_kind_says_tar() {
        let file = layer(
            "application/vnd.oci.image.layer.v1.tar",
            r#""org.opencontainers.image.title":"config.json""#,
        );
        let folder = layer(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            r#""org.opencontainers.image.title":"model","io.deis.oras.content.unpack":"true""#,
        );
        let packed = format!("{}.tar.gz", "a".repeat(16));
        assert_eq!(
            files(&format!("{file},{folder}")).unwrap(),
            [
                ("config.json".to_owned(), None),
                (packed, Some(Packing::TarGzip))
            ]
        );
    }

    #[test]
    fn layers_of_modelpack_kitops_and_images_say_by_their_kind_how_they_are_packed() {
        let named = r#""org.cncf.model.filepath":"model.safetensors""#;
        for (kind, annotations, packing) in [
            ("application/vnd.cncf.model.weight.v1.raw", named, None),
            (
                "application/vnd.cncf.model.weight.v1.tar",
                named,
                Some(Packing::Tar),
            ),
            (
                "application/vnd.kitops.modelkit.model.v1.tar+gzip",
                "",
                Some(Packing::TarGzip),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "",
                Some(Packing::TarGzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar",
                "",
                Some(Packing::Tar),
            ),
        ] {
            assert_eq!(
                files(&layer(kind, annotations)).unwrap()[0].1,
                packing,
                "{kind}"
            );
        }
    }

    #[test]
    fn a_model_without_a_name_gets_one_and_what_is_beside_it_is_left() {
        let model = layer("application/vnd.docker.ai.gguf.v3", "");
        let licence = layer("application/vnd.docker.ai.license", "");
        let found = files(&format!("{licence},{model}")).unwrap();
        assert_eq!(found, [("model.gguf".to_owned(), None)]);
    }

    #[test]
    fn what_cannot_be_read_is_said_by_its_kind() {
        let zstd = layer("application/vnd.oci.image.layer.v1.tar+zstd", "");
        assert!(files(&zstd).unwrap_err().contains("tar+zstd"));
        let odd = layer("application/vnd.odd", "");
        assert!(files(&odd).unwrap_err().contains("vnd.odd"));
    }

    #[test]
    fn an_index_leads_to_this_machines_platform_or_else_to_the_first() {
        let json = r#"{"manifests":[
            {"digest":"first","size":1,"platform":{"os":"linux","architecture":"s390x"}},
            {"digest":"ours","size":1,"platform":{"os":"linux","architecture":"arm64"}}]}"#;
        let index: Manifest = serde_json::from_str(json).unwrap();
        assert_eq!(index.of_platform("aarch64"), Some("ours"));
        assert_eq!(index.of_platform("x86_64"), Some("first"));
    }
}
