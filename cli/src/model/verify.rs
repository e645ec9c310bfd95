//! `weir model verify`: our model beside candle's own, along one prompt.

use anyhow::{Context, ensure};
use weir_reference::{Disagreement, Farthest, Question, RELEASE, Verified};

use super::path;
use crate::args::VerifyArgs;
use crate::say;

pub(super) fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let question = Question {
        source: path(&args.source)?.to_owned(),
        reference: match &args.reference {
            Some(source) => Some(path(source)?.to_owned()),
            None => None,
        },
        prompt: args.prompt.clone(),
        tokens: args.tokens,
    };
    let verified = weir_reference::verify(&question).context("verify the model")?;
    say(&report(&verified));
    ensure!(
        verified.agrees(),
        "our logits and candle's are {:.3} spreads apart, where {} are allowed",
        verified.distance(),
        verified.tolerance
    );
    Ok(())
}

fn report(verified: &Verified) -> String {
    let apart = &verified.apart;
    let ours = match verified.is_packed {
        true => "weights as packed, keys and values in f32",
        false => "weights as they are, all else in f32",
    };
    let written = verified.tokens.len() - verified.prompt_tokens;
    let same = format!(
        "the same at {} of {} positions",
        apart.agreeing, apart.positions
    );
    let first = apart.first_disagreement;
    let first = first.map_or("nowhere".to_owned(), |first| parting(verified, &first));
    let largest = apart.farthest;
    let largest = largest.map_or("none".to_owned(), |farthest| {
        difference(verified, &farthest)
    });
    let verdict = match verified.agrees() {
        true => "they agree",
        false => "they differ",
    };
    let measured = match verified.is_packed {
        true => "in the root of the mean square",
        false => "at most",
    };
    let lines = [
        ("ours", format!("{}, {ours}", verified.architecture)),
        ("reference", format!("candle {RELEASE}, its own model")),
        (
            "tokens",
            format!(
                "{} of the prompt, {written} written",
                verified.prompt_tokens
            ),
        ),
        ("best token", same),
        ("first differs", first),
        ("largest difference", largest),
        (
            "verdict",
            format!(
                "{verdict}: {:.2e} spreads apart {measured}, {} are allowed",
                verified.distance(),
                verified.tolerance
            ),
        ),
    ];
    let lines = lines.map(|(name, text)| format!("{name:<20} {text}"));
    lines.join("\n")
}

/// Where the two would first write another token.
fn parting(verified: &Verified, first: &Disagreement) -> String {
    format!(
        "after token {}: ours writes {}, by {:.4}; candle's writes {}, by {:.4}",
        first.position + 1,
        token(verified, first.ours.0),
        first.ours.1,
        token(verified, first.reference.0),
        first.reference.1
    )
}

fn difference(verified: &Verified, farthest: &Farthest) -> String {
    format!(
        "{:.5} of logits that spread by {:.3}: after token {}, of {}, ours {:.5}, candle's {:.5}",
        farthest.difference(),
        verified.apart.spread,
        farthest.position + 1,
        token(verified, farthest.token),
        farthest.ours,
        farthest.reference
    )
}

/// A token as it is spelt, with its number.
fn token(verified: &Verified, id: u32) -> String {
    match verified.tokenizer.spelling(id) {
        Some(spelling) => format!("{spelling:?} ({id})"),
        None => format!("token {id}"),
    }
}
