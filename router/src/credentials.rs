//! Secrets, and ConfigMaps with authorities, as files: `<root>/<secret>/<entry>`, as a kubelet mounts
//! them or a person writes them.
//!
//! They are read again every second, because a Secret may be created, changed or deleted at any
//! time after the router has started; a file that is not there disables only what needs it. No
//! secret is ever printed, and no name, whoever let it through, leads out of the root.

mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use weir_crds::{ConfigMapKeyRef, SecretKeyRef};
use weir_policy::load::MissingCredential;
use weir_policy::table::Table;
use weir_policy::tier::Endpoint;

use crate::bundle::Bundle;

pub(crate) use store::StoreKeys;

/// No key is longer; a file that is was not meant to be one.
const LONGEST_KEY: u64 = 64 << 10;
/// No ConfigMap holds more.
const LONGEST_BUNDLE: u64 = 1 << 20;

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    pub secrets: PathBuf,
    pub config_maps: PathBuf,
}

/// What a presented key and a tenant's entry are compared by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyDigest([u8; 32]);

impl KeyDigest {
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.trim()).into())
    }

    /// Reads an entry: `sha256:<hex>` or `plain:<key>`.
    fn of_entry(entry: &str) -> Option<Self> {
        match entry.trim().split_once(':')? {
            ("plain", key) if !key.is_empty() => Some(Self::of(key)),
            ("sha256", hex) => unhex(hex).map(Self),
            _ => None,
        }
    }

    /// Takes the same time wherever the two differ.
    fn same(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(other.0);
        pairs.fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
    }
}

/// Everything that was found, at one time.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// By secret, then tenant.
    tenants: BTreeMap<String, BTreeMap<String, KeyDigest>>,
    /// By secret and entry.
    api_keys: BTreeMap<(String, String), HeaderValue>,
    /// By ConfigMap and entry.
    bundles: BTreeMap<(String, String), Bundle>,
    /// By secret.
    stores: BTreeMap<String, StoreKeys>,
    pub missing: Vec<MissingCredential>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads what the policies of `table` name. Blocks on the file system.
    pub fn read(roots: &Roots, table: &Table) -> Self {
        let root = &roots.secrets;
        let mut found = Self::default();
        for policy in table.policies() {
            if let Some(secret) = &policy.auth {
                let tenants = tenants_of(root, secret);
                if tenants.is_empty() {
                    found.missing.push(MissingCredential {
                        policy: policy.name.clone(),
                        tier: None,
                        secret: secret.clone(),
                        key: None,
                        is_config_map: false,
                        is_for_records: false,
                    });
                }
                found.tenants.insert(secret.clone(), tenants);
            }
            for tier in &policy.settings.tiers {
                if let Some(endpoint) = tier.endpoint() {
                    found.of_endpoint(roots, endpoint, (&policy.name, tier.name()));
                }
            }
        }
        found.read_stores(root, table);
        // A deployment under its own name asks for the keys of refused policies as well.
        let keys = table.routes().flat_map(|(_, route)| &route.keys);
        for secret in keys.map(|keys| &keys.secret) {
            if !found.tenants.contains_key(secret) {
                let tenants = tenants_of(root, secret);
                found.tenants.insert(secret.clone(), tenants);
            }
        }
        found
    }

    fn of_endpoint(&mut self, roots: &Roots, endpoint: &Endpoint, (policy, tier): (&str, &str)) {
        let missing = |name: &str, key: &str, is_config_map| MissingCredential {
            policy: policy.to_owned(),
            tier: Some(tier.to_owned()),
            secret: name.to_owned(),
            key: Some(key.to_owned()),
            is_config_map,
            is_for_records: false,
        };
        if let Some(SecretKeyRef { name, key }) = &endpoint.api_key {
            let file = beneath(&roots.secrets, &[name, key]);
            match file.and_then(|file| read_api_key(&file)) {
                Some(value) => {
                    self.api_keys.insert((name.clone(), key.clone()), value);
                }
                None => self.missing.push(missing(name, key, false)),
            }
        }
        if let Some(ConfigMapKeyRef { name, key }) = &endpoint.ca_bundle {
            let file = beneath(&roots.config_maps, &[name, key]);
            let text = file.and_then(|file| read_file(&file, LONGEST_BUNDLE));
            match text.and_then(|text| Bundle::read(&text)) {
                Some(bundle) => {
                    self.bundles.insert((name.clone(), key.clone()), bundle);
                }
                None => self.missing.push(missing(name, key, true)),
            }
        }
    }

    /// The tenant of `secret` that `key` belongs to. Looks at every tenant, so that the time tells
    /// nothing.
    pub fn tenant(&self, secret: &str, key: &KeyDigest) -> Option<&str> {
        let mut found = None;
        for (tenant, digest) in self.tenants.get(secret).into_iter().flatten() {
            if digest.same(key) {
                found = Some(tenant.as_str());
            }
        }
        found
    }

    fn read_stores(&mut self, root: &Path, table: &Table) {
        for policy in table.policies() {
            let Some(store) = &policy.settings.records.store else {
                continue;
            };
            match StoreKeys::read(root, &store.secret) {
                Ok(keys) => drop(self.stores.insert(store.secret.clone(), keys)),
                Err(key) => self.missing.push(MissingCredential {
                    policy: policy.name.clone(),
                    tier: None,
                    secret: store.secret.clone(),
                    key: Some(key.to_owned()),
                    is_config_map: false,
                    is_for_records: true,
                }),
            }
        }
    }

    /// What the Secret says about a store; nothing where something is missing.
    pub fn store(&self, secret: &str) -> Option<&StoreKeys> {
        self.stores.get(secret)
    }

    /// The key of the entry, marked as sensitive.
    pub fn api_key(&self, secret: &str, entry: &str) -> Option<&HeaderValue> {
        self.api_keys.get(&(secret.to_owned(), entry.to_owned()))
    }

    /// The authorities that the entry of a ConfigMap holds.
    pub fn bundle(&self, entry: &ConfigMapKeyRef) -> Option<&Bundle> {
        self.bundles.get(&(entry.name.clone(), entry.key.clone()))
    }
}

/// The path of `names` beneath `root`; nothing where one of them is more or less than the name of
/// one thing in a folder.
fn beneath(root: &Path, names: &[&str]) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for name in names {
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            // A slash at the end or a dot would not show among the components.
            (Some(Component::Normal(only)), None) if only == *name => path.push(only),
            _ => return None,
        }
    }
    Some(path)
}

fn tenants_of(root: &Path, secret: &str) -> BTreeMap<String, KeyDigest> {
    let folder = beneath(root, &[secret]);
    folder
        .map(|folder| read_tenants(&folder))
        .unwrap_or_default()
}

fn read_tenants(folder: &Path) -> BTreeMap<String, KeyDigest> {
    let mut tenants = BTreeMap::new();
    let entries = fs::read_dir(folder).into_iter().flatten();
    for entry in entries.filter_map(Result::ok) {
        let Ok(tenant) = entry.file_name().into_string() else {
            continue;
        };
        // The kubelet keeps its bookkeeping in names that begin with dots.
        if tenant.starts_with('.') {
            continue;
        }
        let Some(text) = read_file(&entry.path(), LONGEST_KEY) else {
            continue;
        };
        match KeyDigest::of_entry(&text) {
            Some(digest) => drop(tenants.insert(tenant, digest)),
            None => tracing::warn!(
                file = %entry.path().display(),
                "the key is neither sha256:<hex> nor plain:<key>: this tenant is out"
            ),
        }
    }
    tenants
}

fn read_api_key(path: &Path) -> Option<HeaderValue> {
    let text = read_file(path, LONGEST_KEY)?;
    let key = text.trim();
    let mut value = HeaderValue::from_str(key).ok()?;
    value.set_sensitive(true);
    (!key.is_empty()).then_some(value)
}

fn read_file(path: &Path, longest: u64) -> Option<String> {
    let facts = fs::metadata(path).ok()?;
    if !facts.is_file() || facts.len() > longest {
        return None;
    }
    fs::read_to_string(path).ok()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_tenant_is_known_by_its_key_plain_or_hashed() {
        let hash = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n";
        let files = folder(&[
            ("one", hash),
            ("two", "plain:bar"),
            ("..data", "plain:baz"),
            ("odd", "bar"),
        ]);
        let found = Credentials {
            tenants: [("keys".to_owned(), read_tenants(files.path()))].into(),
            ..Credentials::default()
        };
        assert_eq!(found.tenant("keys", &KeyDigest::of("foo")), Some("one"));
        assert_eq!(found.tenant("keys", &KeyDigest::of("bar")), Some("two"));
        assert_eq!(found.tenant("keys", &KeyDigest::of("baz")), None);
        assert_eq!(found.tenant("others", &KeyDigest::of("foo")), None);
    }

    #[test]
    fn no_name_leads_out_of_the_root() {
        let root = Path::new("/secrets");
        for name in ["", ".", "..", "../a", "a/b", "a/..", "a/", "./a", "/etc"] {
            assert_eq!(beneath(root, &[name]), None, "{name}");
            assert_eq!(beneath(root, &["keys", name]), None, "{name}");
        }
        let path = beneath(root, &["provider.keys", ".api-key"]);
        assert_eq!(path, Some("/secrets/provider.keys/.api-key".into()));
    }

    #[test]
    fn an_api_key_is_not_printed() {
        let files = folder(&[("api-key", "sk-secret\n")]);
        let key = read_api_key(&files.path().join("api-key")).unwrap();
        assert_eq!(key.to_str().unwrap(), "sk-secret");
        assert!(!format!("{key:?}").contains("secret"));
        assert_eq!(read_api_key(&files.path().join("absent")), None);
    }
}
