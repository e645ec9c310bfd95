//! Certificate authorities that an endpoint is trusted by, besides those that everybody trusts.

use std::fmt;
use std::sync::Arc;

use reqwest::Certificate;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

/// The certificates of one entry. Two with the same text are the same.
#[derive(Clone)]
pub(crate) struct Bundle {
    pub certificates: Arc<Vec<Certificate>>,
    pub digest: [u8; 32],
}

impl Bundle {
    /// Reads PEM. Nothing where that holds no certificate, or one that is no authority's.
    pub fn read(pem: &str) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.ok()?;
            certificates.push(Certificate::from_der(&certificate).ok()?);
            roots.add(certificate).ok()?;
        }
        (!certificates.is_empty()).then(|| Self {
            certificates: Arc::new(certificates),
            digest: Sha256::digest(pem).into(),
        })
    }
}

impl PartialEq for Bundle {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Bundle {}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.certificates.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn pem(name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_bundle_has_every_certificate_and_is_known_by_its_text() {
        let both = format!("# ours\n{}\n{}", pem("one"), pem("two"));
        let bundle = Bundle::read(&both).unwrap();
        assert_eq!(bundle.certificates.len(), 2);
        assert_eq!(Bundle::read(&both), Some(bundle));
        assert_ne!(Bundle::read(&both), Bundle::read(&pem("one")));
    }

    #[test]
    fn what_is_no_bundle_is_none() {
        let good = pem("one");
        let damaged = good.replacen("MI", "AA", 1);
        let key = KeyPair::generate().unwrap().serialize_pem();
        for text in ["", "nothing", &damaged, &key, &format!("{good}{damaged}")] {
            assert_eq!(Bundle::read(text), None, "{text}");
        }
    }
}
