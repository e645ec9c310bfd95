//! Every way in which the API server refuses a `RoutePolicy`.

use crate::refusal::{Refusal, surprises, untried_messages};

const VALID: &str = r#"
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: support }
spec:
  models: [support-assistant]
  tiers:
    - name: small
      deployment: { name: triage }
    - name: frontier
      endpoint: { provider: OpenAI, model: gpt-5, apiKeySecretRef: { name: openai, key: api-key } }
"#;

const NAMES: &[Refusal] = &[
    Refusal {
        name: "a name that is no name of a Service",
        patch: "metadata: { name: support.v1 }",
        message: "metadata.name becomes the name of a Service",
    },
    Refusal {
        name: "the router's name",
        patch: "metadata: { name: weir-router }",
        message: "metadata.name weir-router is taken by the router's own Service",
    },
    Refusal {
        name: "a model name that is there twice",
        patch: "spec: { models: [a, b, a] }",
        message: "a model name is there twice: take one of the two out",
    },
    Refusal {
        name: "a model name with a blank",
        patch: "spec: { models: [support assistant] }",
        message: "a model name is of letters, digits and - . _ : / and begins with a letter or digit",
    },
    Refusal {
        name: "no model name",
        patch: "spec: { models: [] }",
        message: "spec.models in body should have at least 1 items",
    },
];

const TIERS: &[Refusal] = &[
    Refusal {
        name: "no tier",
        patch: "spec: { tiers: [] }",
        message: "spec.tiers in body should have at least 1 items",
    },
    Refusal {
        name: "a tier with both",
        patch: "spec: { tiers: [{ name: small, deployment: { name: triage }, endpoint: { provider: OpenAI, model: m } }] }",
        message: "a tier is one thing: set exactly one of deployment and endpoint",
    },
    Refusal {
        name: "a tier with neither",
        patch: "spec: { tiers: [{ name: small }] }",
        message: "a tier is one thing: set exactly one of deployment and endpoint",
    },
    Refusal {
        name: "tiers of one name",
        patch: "spec: { tiers: [{ name: small, deployment: { name: a } }, { name: small, deployment: { name: b } }] }",
        message: "tier names must be unique: rename one of the two",
    },
    Refusal {
        name: "a tier whose name is no name",
        patch: "spec: { tiers: [{ name: Small Tier, deployment: { name: a } }] }",
        message: "must be lower-case letters, digits and dashes, beginning and ending with a letter or digit",
    },
    Refusal {
        name: "a last tier that may be unsure",
        patch: "spec: { tiers: [{ name: small, deployment: { name: a }, accept: {} }] }",
        message: "the last tier has nobody to escalate to, so its answer is always accepted: take its accept out",
    },
    Refusal {
        name: "a threshold above 1",
        patch: r#"spec: { tiers: [{ name: small, deployment: { name: a }, accept: { threshold: "1.5" } }, { name: large, deployment: { name: b } }] }"#,
        message: r#"must be a fraction from "0" to "1", in quotes"#,
    },
    Refusal {
        name: "a threshold that is no number",
        patch: r#"spec: { tiers: [{ name: small, deployment: { name: a }, accept: { threshold: high } }, { name: large, deployment: { name: b } }] }"#,
        message: r#"must be a fraction from "0" to "1", in quotes"#,
    },
    Refusal {
        name: "a threshold as a number",
        patch: "spec: { tiers: [{ name: small, deployment: { name: a }, accept: { threshold: 0.9 } }, { name: large, deployment: { name: b } }] }",
        message: "accept.threshold in body must be of type string",
    },
    Refusal {
        name: "a pattern that does not compile",
        patch: r#"spec: { tiers: [{ name: small, deployment: { name: a }, accept: { escalateOn: { patterns: ["("] } } }, { name: large, deployment: { name: b } }] }"#,
        message: "must be a regular expression that compiles, in RE2 syntax",
    },
];

const ENDPOINTS: &[Refusal] = &[
    Refusal {
        name: "a compatible provider that is nowhere",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAICompatible, model: m } }] }",
        message: "provider: OpenAICompatible does not say where: set endpoint.baseUrl",
    },
    Refusal {
        name: "a base URL of another scheme",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, baseUrl: ftp://example.com } }] }",
        message: "endpoint.baseUrl must begin with https:// or http:// and have no blanks",
    },
    Refusal {
        name: "a key over plain http",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, baseUrl: http://example.com/v1, apiKeySecretRef: { name: s, key: k } } }] }",
        message: "plain http would show the API key on the way: use https in endpoint.baseUrl",
    },
    Refusal {
        name: "a Secret outside the folder of Secrets",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, apiKeySecretRef: { name: ../../outside, key: token } } }] }",
        message: "must be the name of an object: lower-case letters, digits, dashes and dots, no slash",
    },
    Refusal {
        name: "an entry outside its Secret",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, apiKeySecretRef: { name: s, key: ../token } } }] }",
        message: "must be the name of an entry: letters, digits and - . _ without .. at its beginning",
    },
    Refusal {
        name: "an entry that is the folder above",
        patch: r#"spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, apiKeySecretRef: { name: s, key: ".." } } }] }"#,
        message: "must be the name of an entry",
    },
    Refusal {
        name: "keys of tenants outside the folder of Secrets",
        patch: "spec: { auth: { keysSecretRef: { name: ../outside } } }",
        message: "must be the name of an object",
    },
    Refusal {
        name: "certificates in an entry outside its ConfigMap",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, caBundle: { configMapRef: { name: a, key: a/b } } } }] }",
        message: "must be the name of an entry",
    },
    Refusal {
        name: "a link-local address",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, baseUrl: http://169.254.169.254/latest } }] }",
        message: "endpoint.baseUrl names a link-local address, where clouds keep credentials: use another host",
    },
    Refusal {
        name: "a link-local address behind a user",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, baseUrl: https://user@169.254.169.254/latest } }] }",
        message: "endpoint.baseUrl names a link-local address",
    },
    Refusal {
        name: "a link-local address of IPv6",
        patch: r#"spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, baseUrl: "https://[FE80::1]/v1" } }] }"#,
        message: "endpoint.baseUrl names a link-local address",
    },
    Refusal {
        name: "an inside that is outside",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, baseUrl: https://api.example.com/v1, location: Inside } }] }",
        message: "location: Inside needs the address of a Service: set endpoint.baseUrl to a host that ends in .svc or .svc.<cluster domain>",
    },
    Refusal {
        name: "an inside that is nowhere",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, location: Inside } }] }",
        message: "location: Inside needs the address of a Service",
    },
    Refusal {
        name: "an inside whose path only looks like a Service",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, baseUrl: https://example.com/x.svc, location: Inside } }] }",
        message: "location: Inside needs the address of a Service",
    },
    Refusal {
        name: "an inside whose user only looks like a Service",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, baseUrl: https://a.svc@example.com/, location: Inside } }] }",
        message: "location: Inside needs the address of a Service",
    },
    Refusal {
        name: "a price below zero",
        patch: r#"spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, price: { inputPerMillion: "-1", outputPerMillion: "2" } } }] }"#,
        message: "must be an amount of US dollars in quotes",
    },
    Refusal {
        name: "a timeout of no time",
        patch: "spec: { tiers: [{ name: large, endpoint: { provider: OpenAI, model: m, timeouts: { connect: 0s } } }] }",
        message: "must be a duration above zero",
    },
];

const QUALITY: &[Refusal] = &[
    Refusal {
        name: "a quality without a reference",
        patch: r#"spec: { quality: { maxRegret: "0.02" } }"#,
        message: "spec.quality.reference: Required value",
    },
    Refusal {
        name: "a reference that does not exist",
        patch: r#"spec: { quality: { maxRegret: "0.02", reference: huge } }"#,
        message: "quality.reference names no tier of this policy: set it to the name of the tier behind the small one",
    },
    Refusal {
        name: "a reference that is the small tier",
        patch: r#"spec: { quality: { maxRegret: "0.02", reference: small } }"#,
        message: "quality.reference is the first tier and would be compared with itself",
    },
    Refusal {
        name: "two small tiers",
        patch: r#"spec: { tiers: [{ name: a, deployment: { name: a } }, { name: b, deployment: { name: b } }, { name: c, deployment: { name: c } }], quality: { maxRegret: "0.02", reference: c } }"#,
        message: "quality certifies one small tier against one reference: leave one tier before quality.reference",
    },
    Refusal {
        name: "a quality beside a fixed threshold",
        patch: r#"spec: { tiers: [{ name: a, deployment: { name: a }, accept: { threshold: "0.9" } }, { name: b, deployment: { name: b } }], quality: { maxRegret: "0.02", reference: b } }"#,
        message: "quality finds the threshold itself: take accept.threshold out of the tiers, or take quality out",
    },
    Refusal {
        name: "a regret of nothing",
        patch: r#"spec: { quality: { maxRegret: "0", reference: frontier } }"#,
        message: r#"must be a fraction above "0" and below "1", in quotes"#,
    },
    Refusal {
        name: "a confidence of a coin's other side",
        patch: r#"spec: { quality: { maxRegret: "0.02", confidence: "0.4", reference: frontier } }"#,
        message: r#"must be a fraction from "0.5" to below "1", in quotes"#,
    },
    Refusal {
        name: "a shadow rate of nothing",
        patch: r#"spec: { quality: { maxRegret: "0.02", reference: frontier, shadow: { rate: "0" } } }"#,
        message: r#"must be a fraction above "0" and up to "1", in quotes"#,
    },
    Refusal {
        name: "a model that judges without a tier",
        patch: r#"spec: { quality: { maxRegret: "0.02", reference: frontier, judge: Model } }"#,
        message: "judge: Model needs a judge: set quality.judgeTier to the name of a tier",
    },
    Refusal {
        name: "a judge that does not exist",
        patch: r#"spec: { quality: { maxRegret: "0.02", reference: frontier, judge: Model, judgeTier: huge } }"#,
        message: "quality.judgeTier names no tier of this policy: set it to the name of one",
    },
    Refusal {
        name: "trust in nothing stated",
        patch: r#"spec: { quality: { maxRegret: "0.02", reference: frontier, until: Trust } }"#,
        message: "until: Trust needs a threshold to begin with: set quality.trustThreshold",
    },
    Refusal {
        name: "a trusted threshold without trust",
        patch: r#"spec: { quality: { maxRegret: "0.02", reference: frontier, trustThreshold: "0.9" } }"#,
        message: "trustThreshold counts only with until: Trust: set that, or take trustThreshold out",
    },
];

const RULES: &[Refusal] = &[
    Refusal {
        name: "a rule that starts at an unknown tier",
        patch: "spec: { rules: [{ name: r, then: { start: huge } }] }",
        message: "a rule names a tier that this policy does not have: set then.start, then.only and then.split to names of tiers",
    },
    Refusal {
        name: "a rule that stays on an unknown tier",
        patch: "spec: { rules: [{ name: r, then: { only: huge } }] }",
        message: "a rule names a tier that this policy does not have",
    },
    Refusal {
        name: "a rule that splits to an unknown tier",
        patch: "spec: { rules: [{ name: r, then: { split: [{ tier: small, weight: 50 }, { tier: huge, weight: 50 }] } }] }",
        message: "a rule names a tier that this policy does not have",
    },
    Refusal {
        name: "a rule that does two things",
        patch: "spec: { rules: [{ name: r, then: { start: small, only: small } }] }",
        message: "a rule does one thing: set exactly one of then.start, then.only, then.reject and then.split",
    },
    Refusal {
        name: "a rule that does nothing",
        patch: "spec: { rules: [{ name: r, then: {} }] }",
        message: "a rule does one thing",
    },
    Refusal {
        name: "a split that is not of the whole",
        patch: "spec: { rules: [{ name: r, then: { split: [{ tier: small, weight: 50 }, { tier: frontier, weight: 40 }] } }] }",
        message: "the weights of a split must sum to 100: change one of them",
    },
    Refusal {
        name: "a split of nothing",
        patch: "spec: { rules: [{ name: r, then: { split: [] } }] }",
        message: "split in body should have at least 1 items",
    },
    Refusal {
        name: "a label for an unknown tier",
        patch: "spec: { classifier: { deployment: { name: c }, labels: [{ label: easy, start: huge }] } }",
        message: "a label of the classifier names a tier that this policy does not have: set start to the name of a tier",
    },
    Refusal {
        name: "a classifier of two kinds",
        patch: "spec: { classifier: { learned: {}, deployment: { name: c }, labels: [{ label: easy, start: small }] } }",
        message: "a classifier is one thing: set exactly one of classifier.learned and classifier.deployment",
    },
    Refusal {
        name: "a classifying deployment without labels",
        patch: "spec: { classifier: { deployment: { name: c } } }",
        message: "classifier.deployment and classifier.labels belong together: set both or neither",
    },
];

const PRIVACY_AND_THE_REST: &[Refusal] = &[
    Refusal {
        name: "no egress, and a tier outside",
        patch: "spec: { privacy: { egress: Deny } }",
        message: "egress: Deny leaves no way to a tier outside the cluster, as tier, reference or judge: set location: Inside on it",
    },
    Refusal {
        name: "no egress, and a reference and judge outside",
        patch: r#"spec: { privacy: { egress: Deny }, quality: { maxRegret: "0.02", reference: frontier, judge: Model, judgeTier: frontier } }"#,
        message: "egress: Deny leaves no way to a tier outside the cluster, as tier, reference or judge",
    },
    Refusal {
        name: "something to redact that does not compile",
        patch: r#"spec: { privacy: { redact: { patterns: ["[a-"] } } }"#,
        message: "must be a regular expression that compiles, in RE2 syntax",
    },
    Refusal {
        name: "a header without values",
        patch: "spec: { privacy: { denyWhen: { header: { name: x-data-class, values: [] } } } }",
        message: "header.values in body should have at least 1 items",
    },
    Refusal {
        name: "a budget as a number",
        patch: "spec: { budget: [{ period: Month, limit: 500 }] }",
        message: "spec.budget[0].limit in body must be of type string",
    },
    Refusal {
        name: "a budget in words",
        patch: "spec: { budget: [{ period: Month, limit: plenty }] }",
        message: "must be an amount of US dollars in quotes",
    },
    Refusal {
        name: "a hold-back that is neither word nor number",
        patch: "spec: { streaming: { holdBack: Some } }",
        message: "must be Auto, None, or a number of tokens up to 100000",
    },
    Refusal {
        name: "a truth value for a hold-back",
        patch: "spec: { streaming: { holdBack: false } }",
        message: "spec.streaming.holdBack in body must be of type integer,string",
    },
    Refusal {
        name: "records to nowhere",
        patch: "spec: { records: { to: nowhere } }",
        message: "must be OTel or an address that begins with s3://",
    },
    Refusal {
        name: "a timeout without a unit",
        patch: r#"spec: { timeout: "120" }"#,
        message: "must be a duration above zero, written as 500ms, 90s, 5m or 1h30m",
    },
];

fn table() -> Vec<Refusal> {
    [
        NAMES,
        TIERS,
        ENDPOINTS,
        QUALITY,
        RULES,
        PRIVACY_AND_THE_REST,
    ]
    .into_iter()
    .flatten()
    .map(|row| Refusal { ..*row })
    .collect()
}

#[tokio::test]
async fn a_policy_that_cannot_be_is_refused_with_what_to_change() {
    let surprises = surprises(VALID, &table()).await;
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn every_rule_of_policies_is_in_the_table() {
    assert_eq!(
        untried_messages("RoutePolicy", &table()),
        Vec::<String>::new()
    );
}
