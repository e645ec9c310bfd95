//! The checks of where decision records go.

use weir_crds::{RecordText, RoutePolicySpec};

use super::Check;
use crate::records::{Records, Store};

const OTEL: &str = "OTel";

impl Check {
    pub(super) fn records(&mut self, spec: &RoutePolicySpec) -> Records {
        let records = &spec.records;
        let keeps_text = records.text == RecordText::Include;
        let secret = records.credentials_secret_ref.as_ref();
        if let Some(secret) = secret {
            self.object_name("spec.records.credentialsSecretRef.name", &secret.name);
        }
        if records.to == OTEL {
            if keeps_text {
                let message = "spans and log lines never hold text: Include needs an s3:// address in \
                               records.to";
                self.invalid("spec.records.text", message);
            }
            if secret.is_some() {
                let message =
                    "OTel needs none: take it out, or name an s3:// address in records.to";
                self.invalid("spec.records.credentialsSecretRef", message);
            }
            return Records::default();
        }
        let Some(secret) = secret else {
            let message = "object storage needs a Secret with aws_access_key_id and \
                           aws_secret_access_key";
            self.invalid("spec.records.credentialsSecretRef", message);
            return Records::default();
        };
        let store = Store::parse(&records.to, &secret.name);
        Records {
            store: store
                .map_err(|message| self.invalid("spec.records.to", message))
                .ok(),
            keeps_text,
        }
    }
}
