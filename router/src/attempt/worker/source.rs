//! The answers of a replica to one ask: a call for each of its prompts, whose events come as one stream.
//!
//! The first call decides whether the replica takes the ask. The others follow a few at a time, and
//! where the replica has no room for one it waits: what is computed already is not thrown away.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::ready;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tracing::Span;
use weir_process::traces;
use weir_worker_api as api;
use weir_worker_api::generate_event::Event;
use weir_worker_api::worker_client::WorkerClient;

use super::pieces::{Shown, arrival, stop};
use super::progress::Progress;
use super::{Call, client, failure, request};
use crate::answer::{Piece, Stop, Usage};
use crate::ask::{Ask, Input, PROMPTS_AT_ONCE};
use crate::attempt::{Arrival, Finish};
use crate::refusal::Failure;
use crate::replicas::{Kind, Lease};
use crate::wire::Wire;

/// How long one waits that found no room, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What one call brought: an event, or its end.
type Brought = Result<Option<Event>, Failure>;

/// An answer on its way from a replica. Dropping it cancels the work there.
pub(crate) struct Source {
    /// What comes, with which prompt's it is.
    brought: BoxStream<'static, (usize, Brought)>,
    tier: String,
    readings: Vec<Reading>,
    arrivals: VecDeque<Arrival>,
    /// Of each choice, once it has ended.
    stops: Vec<Option<Stop>>,
    choices_each: u32,
    /// Log-probabilities were asked for.
    shown: Option<Shown>,
    /// Held for as long as the replica works.
    lease: Lease,
}

/// One prompt, and what is known of it.
#[derive(Default)]
struct Reading {
    /// What another replica would need to go on.
    progress: Progress,
    /// What is shown of it again.
    echo: Option<Echo>,
    usage: Usage,
    /// So many of its tokens are still to come.
    unread: usize,
    /// What was written meanwhile, by choices that the prompt's tokens do not come with.
    held: Vec<Arrival>,
}

enum Echo {
    Text(String),
    /// The replica says what it is as text.
    Tokens,
}

impl Source {
    /// Asks the replica of `lease`.
    pub async fn open(lease: Lease, call: &Call<'_>, ask: &Ask) -> Result<Self, Failure> {
        let calls = request::generate(call, ask)
            .into_iter()
            .map(|request| OneCall {
                client: client(&lease),
                request,
                span: Span::current(),
                tier: call.tier.to_owned(),
            });
        let calls = calls.enumerate().collect();
        let shown = ask.logprobs.map(|_| Shown {
            with_bytes: ask.wire != Wire::Completions,
        });
        Ok(Self {
            brought: begun(calls).await?,
            tier: call.tier.to_owned(),
            readings: ask
                .prompts()
                .iter()
                .map(|input| Reading::of(ask, input))
                .collect(),
            arrivals: VecDeque::new(),
            stops: vec![None; ask.choices.max(1) as usize],
            choices_each: ask.choices_each(),
            shown,
            lease,
        })
    }

    /// The replica that is asked.
    pub fn address(&self) -> SocketAddr {
        self.lease.address
    }

    /// Whether another replica could go on: something was begun, and nothing of a prompt is still to come.
    pub fn can_go_on(&self) -> bool {
        let mut readings = self.readings.iter();
        let has_begun = self
            .readings
            .iter()
            .any(|reading| reading.progress.has_begun());
        has_begun && readings.all(|reading| reading.unread == 0)
    }

    /// Has the replica of `lease`, which is of the same kind, go on where this one was lost. What was not
    /// begun yet begins there.
    pub async fn go_on(
        &mut self,
        lease: Lease,
        kind: &Kind,
        (call, adapter): (&Call<'_>, Option<&str>),
        ask: &Ask,
    ) -> Result<(), Failure> {
        let requests = request::generate(call, ask).into_iter().enumerate();
        let unended = requests.filter(|(prompt, _)| !self.has_ended(*prompt));
        let calls = unended.map(|(prompt, request)| {
            let progress = &self.readings[prompt].progress;
            let call = OneCall {
                client: client(&lease),
                request: progress.resumed(request, kind, adapter),
                span: Span::current(),
                tier: call.tier.to_owned(),
            };
            (prompt, call)
        });
        self.brought = begun(calls.collect()).await?;
        self.lease = lease;
        Ok(())
    }

    /// What comes next. Cancelling it between two arrivals loses nothing.
    pub async fn next(&mut self) -> Result<Arrival, Failure> {
        loop {
            if let Some(arrival) = self.arrivals.pop_front() {
                return Ok(arrival);
            }
            let (prompt, brought) = self.brought.next().await.ok_or_else(|| self.lost())?;
            match brought? {
                Some(event) => self.take(prompt, event),
                // A stream that ends without having said so has lost its worker.
                None if !self.has_ended(prompt) => return Err(self.lost()),
                None => {}
            }
        }
    }

    /// What is known of the tokens so far.
    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        for Reading { usage, .. } in &self.readings {
            sum.prompt += usage.prompt;
            sum.cached += usage.cached;
            sum.completion += usage.completion;
        }
        sum
    }

    fn take(&mut self, prompt: usize, event: Event) {
        let first_choice = prompt as u32 * self.choices_each;
        let choices = first_choice..first_choice + self.choices_each;
        let reading = &mut self.readings[prompt];
        match event {
            // Said once: whoever goes on says it again.
            Event::Started(_) if reading.progress.has_begun() => {}
            Event::Started(started) => {
                reading.progress.begin(&started);
                reading.usage.prompt = started.prompt_ids.len() as u64;
                reading.usage.cached = u64::from(started.cached_tokens);
                if let Some(piece) = reading.begin(&started, self.shown) {
                    self.arrivals.extend(of_each(choices, &piece));
                }
            }
            Event::Prompt(read) => {
                reading.unread = reading.unread.saturating_sub(read.tokens.len());
                if let Some(shown) = self.shown {
                    let tokens = read.tokens.iter();
                    let piece = Piece {
                        is_echo: true,
                        logprobs: tokens.map(|token| shown.logprob(token)).collect(),
                        ..Piece::default()
                    };
                    self.arrivals.extend(of_each(choices, &piece));
                }
                if reading.unread == 0 {
                    self.arrivals.extend(reading.held.drain(..));
                }
            }
            Event::Tokens(tokens) => {
                let choice = first_choice + tokens.choice;
                // One that has ended goes on elsewhere only to end again.
                if matches!(self.stops.get(choice as usize), Some(Some(_))) {
                    return;
                }
                reading.progress.write(&tokens);
                let arrival = arrival(tokens, choice, self.shown);
                match reading.unread {
                    0 => self.arrivals.push_back(arrival),
                    _ => reading.held.push(arrival),
                }
            }
            Event::Finished(finished) => self.finished(prompt, &finished),
        }
    }

    /// Takes the end of one choice, and ends the answer when all have ended.
    fn finished(&mut self, prompt: usize, finished: &api::Finished) {
        let choice = prompt as u32 * self.choices_each + finished.choice;
        if matches!(self.stops.get(choice as usize), Some(Some(_))) {
            return;
        }
        let usage = &mut self.readings[prompt].usage;
        usage.prompt = u64::from(finished.prompt_tokens);
        usage.completion += u64::from(finished.completion_tokens);
        if let Some(known) = self.stops.get_mut(choice as usize) {
            *known = Some(stop(finished));
        }
        let stops: Option<Vec<Stop>> = self.stops.iter().cloned().collect();
        if let Some(stops) = stops {
            self.arrivals.push_back(Arrival::Finished(Finish {
                stops,
                usage: self.usage(),
                native: None,
            }));
        }
    }

    /// Whether all answers to a prompt have said how they ended.
    fn has_ended(&self, prompt: usize) -> bool {
        let mut stops = self.stops.chunks(self.choices_each as usize).skip(prompt);
        let stops = stops.next().unwrap_or_default();
        stops.iter().all(Option::is_some)
    }

    fn lost(&self) -> Failure {
        Failure::Lost {
            tier: self.tier.clone(),
        }
    }
}

impl Reading {
    fn of(ask: &Ask, input: &Input) -> Self {
        let echo = match input {
            Input::Text(text) => Echo::Text(text.clone()),
            _ => Echo::Tokens,
        };
        Self {
            echo: ask.echo.then_some(echo),
            ..Self::default()
        }
    }

    /// What is shown of the prompt before its tokens come.
    fn begin(&mut self, started: &api::Started, shown: Option<Shown>) -> Option<Piece> {
        let text = match self.echo.take()? {
            Echo::Text(text) => text,
            Echo::Tokens => started.prompt_text.clone(),
        };
        let first = shown.map(|shown| shown.first(&started.first_text));
        // The first of them is told by now.
        self.unread = first
            .iter()
            .map(|_| started.prompt_ids.len().saturating_sub(1))
            .sum();
        Some(Piece {
            is_echo: true,
            text,
            logprobs: first.into_iter().collect(),
            ..Piece::default()
        })
    }
}

/// The same of several choices.
fn of_each(choices: std::ops::Range<u32>, piece: &Piece) -> impl Iterator<Item = Arrival> {
    choices.map(|choice| Arrival::Tokens {
        evidence: Vec::new(),
        piece: Piece {
            choice,
            ..piece.clone()
        },
    })
}

/// A call that is to be made.
struct OneCall {
    client: WorkerClient<Channel>,
    request: api::GenerateRequest,
    /// Of the attempt.
    span: Span,
    tier: String,
}

impl OneCall {
    async fn begin(&self) -> Result<Streaming<api::GenerateEvent>, Status> {
        let mut request = Request::new(self.request.clone());
        traces::inject(&self.span, request.metadata_mut().as_mut());
        let response = self.client.clone().generate(request).await?;
        Ok(response.into_inner())
    }

    /// Begins, as soon as the replica has room; how long that may take is for whoever reads. The answer has begun
    /// with the first of the calls: where this one is not taken any more, its replica is lost.
    async fn begin_in_its_turn(&self) -> Result<Streaming<api::GenerateEvent>, Failure> {
        let mut wait = FIRST_WAIT;
        loop {
            let failure = match self.begin().await {
                Ok(begun) => return Ok(begun),
                Err(status) => failure(&self.tier, &status, false),
            };
            match failure {
                Failure::Overloaded { .. } => {}
                Failure::Connect { tier } => return Err(Failure::Lost { tier }),
                failure => return Err(failure),
            }
            sleep(wait).await;
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    fn in_its_turn(self) -> BoxStream<'static, Brought> {
        let begun = async move {
            match self.begin_in_its_turn().await {
                Ok(begun) => events(self.tier, begun).boxed(),
                Err(failure) => stream::once(ready(Err(failure))).boxed(),
            }
        };
        stream::once(begun).flatten().boxed()
    }
}

/// What calls bring, each of the prompt that it stands with, once the first of them has begun.
async fn begun(
    mut calls: VecDeque<(usize, OneCall)>,
) -> Result<BoxStream<'static, (usize, Brought)>, Failure> {
    let Some((prompt, first)) = calls.pop_front() else {
        return Ok(stream::empty().boxed());
    };
    let begun = first.begin().await;
    let begun = begun.map_err(|status| failure(&first.tier, &status, false))?;
    let first = (prompt, events(first.tier, begun).boxed());
    let others = calls.into_iter();
    let others = others.map(|(prompt, call)| (prompt, call.in_its_turn()));
    let calls = [first].into_iter().chain(others);
    let calls = calls.map(|(prompt, call)| call.map(move |brought| (prompt, brought)).boxed());
    let calls: Vec<_> = calls.collect();
    Ok(stream::iter(calls)
        .flatten_unordered(PROMPTS_AT_ONCE as usize)
        .boxed())
}

/// The events of a call that has begun, and its end.
fn events(
    tier: String,
    begun: Streaming<api::GenerateEvent>,
) -> impl Stream<Item = Brought> + Send + 'static {
    let events = begun.filter_map(move |event| {
        let event = match event {
            Ok(event) => event.event.map(|event| Ok(Some(event))),
            Err(status) => Some(Err(failure(&tier, &status, true))),
        };
        ready(event)
    });
    events.chain(stream::once(ready(Ok(None))))
}
