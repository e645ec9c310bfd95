//! A namespace whose only policy has a budget and nothing but an endpoint, and what each side says was
//! spent: the provider, the routers, the leader.
//!
//! Amounts are in millionths of a dollar, as they are dealt.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use weir_crds::labels;

use crate::changes::NOTICE;
use crate::stage::Stage;

pub const NAMESPACE: &str = "budgets";
/// The policy, and the one model name that it has.
pub const POLICY: &str = "thrifty";
pub const DOLLAR: i64 = 1_000_000;
/// One token of an answer.
const TOKEN: i64 = DOLLAR / 10;
/// What is put aside for a call: an answer of four tokens.
pub const CALL: i64 = 4 * TOKEN;
/// Answered by the stand-in with these two tokens.
const QUESTION: &str = "Say: billing";
/// Asked at once of each router while a budget is to be used up.
const AT_ONCE: usize = 2;

/// Who takes part, where each of them listens.
#[derive(Debug)]
pub struct Spending {
    http: Client,
    provider: String,
    routers: Vec<Router>,
}

#[derive(Debug, Clone)]
pub struct Router {
    pub pod: String,
    address: String,
}

/// What came of an ask that was not streamed.
#[derive(Debug)]
pub struct Asked {
    pub status: u16,
    pub should_retry: Option<String>,
    pub body: Value,
}

/// What the leader has granted of the month.
#[derive(Debug)]
pub struct Ledger {
    /// What routers that are gone did not return.
    pub spent: i64,
    pub slices: Vec<Slice>,
}

#[derive(Debug)]
pub struct Slice {
    pub run: String,
    pub pod: String,
    pub granted: i64,
    pub returned: i64,
}

/// Makes the namespace with its provider and its policy, and waits until routers serve it.
pub fn open(stage: &Stage, limit: i64) -> Result<()> {
    stage.restricted_namespace(NAMESPACE)?;
    stage.provider_pod(NAMESPACE)?;
    stage.cluster.kubectl().apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: provider, namespace: {NAMESPACE}}}, \
          spec: {{selector: {{app: provider}}, ports: [{{port: 80, targetPort: 8080}}]}}}}"
    ))?;
    stage.cluster.kubectl().apply(&policy(limit))?;
    let wait = format!("--namespace {NAMESPACE} --for=condition=Ready --timeout=60s");
    stage.kubectl(&format!("wait pod/provider {wait}"))?;
    stage.kubectl(&format!("wait routepolicy/{POLICY} {wait}"))?;
    Ok(())
}

fn policy(limit: i64) -> String {
    let limit = dollars(limit);
    format!(
        "
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: {{ name: {POLICY}, namespace: {NAMESPACE} }}
spec:
  models: [{POLICY}]
  tiers:
    - name: frontier
      endpoint:
        provider: OpenAICompatible
        model: stand-in-frontier
        baseUrl: http://provider.{NAMESPACE}.svc/v1
        location: Inside
        maxOutputTokens: 4
        price: {{ inputPerMillion: \"0\", outputPerMillion: \"100000\" }}
  budget: [{{ period: Month, limit: \"{limit}\", onExhausted: Reject }}]
"
    )
}

/// Gives the month another limit.
pub fn limit(stage: &Stage, limit: i64) -> Result<()> {
    let limit = dollars(limit);
    stage.kubectl(&format!(
        r#"patch routepolicy/{POLICY} --namespace {NAMESPACE} --type=merge --patch={{"spec":{{"budget":[{{"period":"Month","limit":"{limit}","onExhausted":"Reject"}}]}}}}"#
    ))?;
    Ok(())
}

/// The month's limit as it is now.
pub fn limited(stage: &Stage) -> Result<i64> {
    let policy = stage.json(&format!("get routepolicy/{POLICY} --namespace {NAMESPACE}"))?;
    amount(&policy["spec"]["budget"][0]["limit"])
}

/// Whether nobody has enough for a call, as the policy's status has it.
pub fn is_exhausted(stage: &Stage) -> Result<bool> {
    let [status, reason, message] = within_budget(stage)?;
    ensure!(
        (status == "True") == (reason == "WithinLimit"),
        "{status} {reason}: {message}"
    );
    Ok(status == "False")
}

pub fn within_budget(stage: &Stage) -> Result<[String; 3]> {
    let policy = format!("routepolicy/{POLICY} --namespace {NAMESPACE}");
    stage.condition(&policy, "WithinBudget")
}

/// What the policy's status says was spent this month.
pub fn said_spent(stage: &Stage) -> Result<i64> {
    let policy = stage.json(&format!("get routepolicy/{POLICY} --namespace {NAMESPACE}"))?;
    amount(&policy["status"]["spend"]["frontier"])
}

impl Ledger {
    pub fn read(stage: &Stage) -> Result<Self> {
        let maps = stage.json(&format!(
            "get configmap {} --namespace {NAMESPACE}",
            labels::BUDGETS
        ))?;
        let entry = maps["data"][POLICY].as_str().context("no entry")?;
        let ledgers: Value = serde_json::from_str(entry).context("reading a ledger")?;
        let month = &ledgers["Month"];
        let slices = month["slices"].as_object().context("no slices")?;
        let slices = slices.iter().map(|(run, slice)| {
            Ok(Slice {
                run: run.clone(),
                pod: slice["pod"].as_str().unwrap_or_default().to_owned(),
                granted: amount(&slice["granted"])?,
                returned: amount(&slice["returned"])?,
            })
        });
        Ok(Self {
            spent: amount(&month["spent"])?,
            slices: slices.collect::<Result<_>>()?,
        })
    }

    /// What is spent or may be, by anybody.
    pub fn committed(&self) -> i64 {
        self.spent + self.slices.iter().map(Slice::held).sum::<i64>()
    }

    /// The slice of a pod's only run.
    pub fn of(&self, router: &Router) -> Result<&Slice> {
        let mut slices = self.slices.iter();
        let slice = slices.find(|slice| slice.pod == router.pod);
        slice.with_context(|| format!("{} has no slice in {self:?}", router.pod))
    }
}

impl Slice {
    pub fn held(&self) -> i64 {
        self.granted - self.returned
    }
}

impl Asked {
    pub fn is_answered(&self) -> Result<()> {
        let text = &self.body["choices"][0]["message"]["content"];
        ensure!(
            self.status == 200 && text == "billing",
            "no answer: {self:?}"
        );
        Ok(())
    }

    /// As OpenAI's SDKs understand it: whoever pays has to do something, and asking again does not help.
    pub fn is_refused(&self) -> Result<()> {
        let error = &self.body["error"];
        ensure!(
            self.status == 429
                && error["type"] == "insufficient_quota"
                && error["code"] == "insufficient_quota"
                && self.should_retry.as_deref() == Some("false"),
            "no refusal for want of money: {self:?}"
        );
        Ok(())
    }
}

impl Spending {
    /// Finds the provider, and both routers once they are ready.
    pub fn find(stage: &Stage) -> Result<Self> {
        stage.kubectl(&format!(
            "rollout status deployment/weir-router --namespace {NAMESPACE} --timeout=60s"
        ))?;
        let routers = stage.routers(NAMESPACE)?.into_iter().map(|pod| {
            let address = address(stage, &pod)?;
            Ok(Router { pod, address })
        });
        let routers: Vec<Router> = routers.collect::<Result<_>>()?;
        ensure!(routers.len() == 2, "two routers were expected: {routers:?}");
        Ok(Self {
            // What the environment says of proxies is not for pods.
            http: Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .build()?,
            provider: address(stage, "provider")?,
            routers,
        })
    }

    pub fn routers(&self) -> &[Router] {
        &self.routers
    }

    /// Asks a router one question of either wire.
    pub async fn ask(&self, router: &Router, path: &str) -> Result<Asked> {
        let response = self.begin(router, path, false).await?;
        let header = response.headers().get("x-should-retry");
        let should_retry = header.and_then(|value| value.to_str().ok());
        Ok(Asked {
            status: response.status().as_u16(),
            should_retry: should_retry.map(str::to_owned),
            body: response.json().await.context("reading an answer")?,
        })
    }

    /// Begins an answer.
    pub async fn begin(&self, router: &Router, path: &str, stream: bool) -> Result<Response> {
        let url = format!(
            "http://{}:{}/v1/{path}",
            router.address,
            labels::ROUTER_PORT
        );
        let messages = json!([{ "role": "user", "content": QUESTION }]);
        let body =
            json!({ "model": POLICY, "messages": messages, "max_tokens": 4, "stream": stream });
        let sent = self.http.post(url).json(&body).send().await;
        sent.with_context(|| format!("asking {}", router.pod))
    }

    /// Asks both routers at once.
    pub async fn ask_both(&self) -> Result<Vec<Asked>> {
        let asks = self.routers.iter();
        try_join_all(asks.map(|router| self.ask(router, "chat/completions"))).await
    }

    pub async fn both_answer(&self) -> Result<()> {
        self.ask_both()
            .await?
            .iter()
            .try_for_each(Asked::is_answered)
    }

    /// Asks until the leader says that nobody has enough for a call, and no router has: what calls in
    /// flight gave back after the leader looked may be enough for one more. Every ask is answered, or
    /// refused for want of money.
    pub async fn use_up(&self, stage: &Stage) -> Result<()> {
        let deadline = Instant::now() + NOTICE;
        loop {
            let was_exhausted = is_exhausted(stage)?;
            let rounds = try_join_all((0..AT_ONCE).map(|_| self.ask_both())).await?;
            let mut is_any_answered = false;
            for asked in rounds.iter().flatten() {
                match asked.is_answered() {
                    Ok(()) => is_any_answered = true,
                    Err(_) => asked.is_refused()?,
                }
            }
            if was_exhausted && !is_any_answered {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it is never used up");
        }
    }

    /// What the provider charges for all that it has begun to answer.
    pub async fn charged(&self) -> Result<i64> {
        let bill = format!("{}:8080/control/bill", self.provider);
        let tokens = self.get(&bill).await?["output_tokens"].as_i64();
        Ok(tokens.context("a bill counts tokens")? * TOKEN)
    }

    /// The provider falls silent in the middle of so many answers.
    pub async fn silence(&self, answers: usize) -> Result<()> {
        let url = format!("http://{}:8080/control/faults", self.provider);
        let plan = json!({ "fault": "hang-after=1", "count": answers });
        let planned = self.http.post(url).json(&plan).send().await?;
        planned.error_for_status().context("planning a fault")?;
        Ok(())
    }

    /// What a router reports of the budget, by the name of an amount.
    pub async fn reported(&self, router: &Router, field: &str) -> Result<i64> {
        let load = format!("{}:{}/load", router.address, labels::ADMIN_PORT);
        let load = self.get(&load).await?;
        amount(&load["router"]["purses"][POLICY]["Month"][field])
    }

    /// What both routers say they have spent.
    pub async fn reported_spent(&self) -> Result<i64> {
        let all = self.routers.iter();
        let all = all.map(|router| self.reported(router, "spent"));
        Ok(try_join_all(all).await?.iter().sum())
    }

    async fn get(&self, url: &str) -> Result<Value> {
        let answer = self.http.get(format!("http://{url}")).send().await?;
        answer
            .json()
            .await
            .with_context(|| format!("reading {url}"))
    }
}

fn address(stage: &Stage, pod: &str) -> Result<String> {
    let pod = stage.json(&format!("get pod {pod} --namespace {NAMESPACE}"))?;
    let address = pod["status"]["podIP"].as_str();
    Ok(address.context("a pod has an address")?.to_owned())
}

fn dollars(amount: i64) -> String {
    format!("{}.{:06}", amount / DOLLAR, amount % DOLLAR)
}

/// Dollars as a text, in millionths.
fn amount(text: &Value) -> Result<i64> {
    let dollars = text.as_str().map(str::parse::<f64>);
    let dollars = dollars.with_context(|| format!("{text} is no amount"))??;
    Ok((dollars * DOLLAR as f64).round() as i64)
}
