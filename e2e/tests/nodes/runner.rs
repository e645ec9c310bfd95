//! Runs stories in order on one cluster and reports as the standard test runner does.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::BoxFuture;
use weir_e2e::cluster;

use crate::stage::Stage;

/// How long one story may take, so that a hang is a failure with evidence.
const STORY_PATIENCE: Duration = Duration::from_secs(240);
/// The same where pauses are as long as they are said to be: five minutes at most.
const WHOLE_PATIENCE: Duration = Duration::from_secs(720);

/// Where one of these fails no later one can say anything, and all would wait in vain.
const FOUNDATION: &str = "installing::";

/// One sentence about the system, and how it is shown.
pub struct Story {
    pub name: &'static str,
    pub tell: for<'a> fn(&'a mut Stage) -> BoxFuture<'a, Result<()>>,
}

/// A [`Story`] from the path of its function.
macro_rules! story {
    ($path:path) => {
        crate::runner::Story {
            name: stringify!($path),
            tell: |stage| Box::pin($path(stage)),
        }
    };
}
pub(crate) use story;

/// What became of the stories.
#[derive(Default)]
struct Tally {
    passed: usize,
    ignored: usize,
    failures: Vec<(&'static str, String)>,
}

/// What the command line asks for, of what the standard test runner understands.
#[derive(Default)]
struct Wishes {
    filters: Vec<String>,
    skips: Vec<String>,
    lists: bool,
}

impl Wishes {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut wishes = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--skip" => wishes.skips.extend(words.next()),
                "--list" => wishes.lists = true,
                // These have a value, which is no filter; to us they mean nothing.
                "--color" | "--format" | "--logfile" | "--test-threads" | "-Z" => {
                    drop(words.next())
                }
                flag if flag.starts_with('-') => {}
                _ => wishes.filters.push(word),
            }
        }
        wishes
    }

    fn include(&self, story: &Story) -> bool {
        let names = |words: &[String]| words.iter().any(|word| story.name.contains(word.as_str()));
        (self.filters.is_empty() || names(&self.filters)) && !names(&self.skips)
    }
}

/// Runs the stories that the command line asks for, with pauses that are `whole` or not.
pub fn main(stories: &[Story], whole: bool) -> ExitCode {
    let wishes = Wishes::read(std::env::args().skip(1));
    let chosen: Vec<&Story> = stories
        .iter()
        .filter(|story| wishes.include(story))
        .collect();
    if wishes.lists {
        chosen
            .iter()
            .for_each(|story| println!("{}: test", story.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let began = Instant::now();
    let tally = if chosen.is_empty() {
        Tally::default()
    } else {
        run(&chosen, whole)
    };
    report(&tally, stories.len() - chosen.len(), began.elapsed())
}

fn run(chosen: &[&Story], whole: bool) -> Tally {
    if let Some(missing) = cluster::missing() {
        if cluster::required() {
            return failed(chosen, &missing);
        }
        for story in chosen {
            println!("test {} ... ignored, {missing}", story.name);
        }
        return Tally {
            ignored: chosen.len(),
            ..Tally::default()
        };
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(chosen, &error.to_string()),
    };
    runtime.block_on(async {
        tokio::select! {
            tally = tell_all(chosen, whole) => tally,
            // The guardian of the cluster sees us end, and takes it down.
            _ = tokio::signal::ctrl_c() => failed(chosen, "interrupted"),
        }
    })
}

async fn tell_all(chosen: &[&Story], whole: bool) -> Tally {
    let began = Instant::now();
    if cluster::is_in_use().unwrap_or(false) {
        println!("waiting for another test on this machine to take its cluster down");
    }
    let helper = Path::new(env!("CARGO_BIN_EXE_weir-cluster"));
    let mut stage = match Stage::set(helper, whole).await {
        Ok(stage) => stage,
        Err(error) => return failed(chosen, &format!("{error:#}")),
    };
    println!("the cluster was ready after {:.0?}", began.elapsed());
    let mut tally = Tally::default();
    for (told, story) in chosen.iter().enumerate() {
        let is_told = tell(story, &mut stage, &mut tally).await;
        if !is_told && story.name.starts_with(FOUNDATION) {
            let rest = failed(&chosen[told + 1..], &format!("{} failed", story.name));
            tally.failures.extend(rest.failures);
            break;
        }
    }
    if let Err(error) = stage.clear() {
        tally
            .failures
            .push(("taking the cluster down", format!("{error:#}")));
    }
    tally
}

async fn tell(story: &Story, stage: &mut Stage, tally: &mut Tally) -> bool {
    let began = Instant::now();
    let patience = if stage.whole {
        WHOLE_PATIENCE
    } else {
        STORY_PATIENCE
    };
    let told = tokio::time::timeout(patience, (story.tell)(stage)).await;
    let told = told
        .unwrap_or_else(|_| late(patience))
        .and_then(|()| stage.cluster.still_runs());
    let is_told = told.is_ok();
    match told {
        Ok(()) => {
            println!("test {} ... ok ({:.1?})", story.name, began.elapsed());
            tally.passed += 1;
        }
        Err(error) => {
            println!("test {} ... FAILED ({:.1?})", story.name, began.elapsed());
            let folder = stage.cluster.keep_evidence(&story.name.replace("::", "-"));
            let text = format!(
                "{error:#}\n\nwhat the cluster looked like: {}",
                folder.display()
            );
            tally.failures.push((story.name, text));
        }
    }
    is_told
}

fn late(patience: Duration) -> Result<()> {
    bail!("it took more than {patience:?}")
}

fn failed(chosen: &[&Story], why: &str) -> Tally {
    for story in chosen {
        println!("test {} ... FAILED", story.name);
    }
    let mut failures: Vec<_> = chosen
        .iter()
        .map(|story| (story.name, String::new()))
        .collect();
    if let Some(first) = failures.first_mut() {
        why.clone_into(&mut first.1);
    }
    Tally {
        failures,
        ..Tally::default()
    }
}

fn report(tally: &Tally, filtered: usize, took: Duration) -> ExitCode {
    if !tally.failures.is_empty() {
        println!("\nfailures:");
        for (name, why) in &tally.failures {
            println!("\n---- {name} ----\n{why}");
        }
    }
    let verdict = if tally.failures.is_empty() {
        "ok"
    } else {
        "FAILED"
    };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; \
         {filtered} filtered out; finished in {:.2}s\n",
        tally.passed,
        tally.failures.len(),
        tally.ignored,
        took.as_secs_f64()
    );
    if tally.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
