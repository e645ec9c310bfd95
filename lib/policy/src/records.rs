//! Where a policy's decision records go beside spans and log lines, and what is in them.

/// What a policy says about its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Object storage for JSON lines.
    pub store: Option<Store>,
    /// Prompts and answers are kept there too; only where there is a store.
    pub keeps_text: bool,
}

/// A place in object storage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Store {
    pub bucket: String,
    /// Without slashes at its ends; empty for the whole bucket.
    pub prefix: String,
    /// The Secret with its credentials.
    pub secret: String,
}

/// Whether `host` is the name of a Service of the cluster.
pub fn is_service(host: &str) -> bool {
    host.ends_with(".svc") || host.contains(".svc.")
}

impl Store {
    /// Reads `s3://bucket` or `s3://bucket/path`. The error says what is wrong with it.
    pub(crate) fn parse(address: &str, secret: &str) -> Result<Self, &'static str> {
        let rest = address
            .strip_prefix("s3://")
            .ok_or("must be OTel or an address that begins with s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let in_bucket = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(in_bucket) {
            return Err("must name a bucket: letters, digits, dashes, dots and underscores");
        }
        let prefix = prefix.trim_end_matches('/');
        let in_path = |byte: u8| in_bucket(byte) || b"/=+@~!()*'".contains(&byte);
        let mut parts = prefix.split('/');
        let is_path = prefix.is_empty() || parts.all(|part| !["", ".", ".."].contains(&part));
        if !is_path || !prefix.bytes().all(in_path) {
            return Err(
                "must have a path of plain names: no blanks, no empty parts, no dots alone",
            );
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_a_path_of_plain_names() {
        let parse = |address| Store::parse(address, "s").map(|store| (store.bucket, store.prefix));
        let found = |bucket: &str, prefix: &str| Ok((bucket.to_owned(), prefix.to_owned()));
        assert_eq!(parse("s3://b"), found("b", ""));
        assert_eq!(parse("s3://b/a/c=1/"), found("b", "a/c=1"));
        for wrong in [
            "gs://b",
            "s3://",
            "s3:///a",
            "s3://b/a//c",
            "s3://b/../a",
            "s3://b/a b",
            "s3://b/%2e",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
