//! What redaction takes: of an ordinary text, of texts that are made to be slow, and of each piece
//! of an answer that is restored.
//!
//! `cargo run --release -p weir-policy --example redact` prints a line of JSON for each.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use weir_crds::{Redact, RedactKind};
use weir_policy::redact::{Form, Redaction, Restorer};

const BYTES: usize = 10 << 20;
const PIECES: u32 = 200_000;

/// Prose, code and JSON with a value in every tenth line.
const ORDINARY: &str = "The order from 2024-11-22 came to 1,234.50 and was sent on Monday.\n\
    fn total(items: &[Item]) -> u64 { items.iter().map(|item| item.price).sum() }\n\
    {\"id\": \"550e8400-e29b-41d4-a716-446655440000\", \"count\": 17, \"open\": true}\n\
    Bitte prüfen Sie, ob die Lieferung vollständig ist; sonst melden Sie sich.\n\
    See https://docs.example.com/v1.2/guide?page=3#top for what changed in 1.2.3.\n\
    Nothing else of note happened in the meantime, and nobody asked for more.\n\
    She said that the second half was better than the first by a long way.\n\
    for index in 0..100 { sum += values[index] * weights[index]; }\n\
    The quick brown fox jumps over the lazy dog, again and again and again.\n\
    Write to bob.smith@example.com or call +49 151 1234567 from 10.0.0.1.\n";

/// Texts that almost are values, over and over.
const HOSTILE: [&str; 14] = [
    "1 ",
    "1:",
    "1.",
    "a@",
    "@a.",
    "a.b-",
    "\"@",
    "0151 1 ",
    "+1 2 3 (",
    "41111111 1111111 ",
    "\\\\",
    "%4",
    "１",
    "[EMAIL_",
];

fn main() {
    let redact = Redact {
        kinds: vec![
            RedactKind::Email,
            RedactKind::Phone,
            RedactKind::CreditCard,
            RedactKind::IpAddress,
        ],
        patterns: vec!["TICKET-[0-9]+".into()],
    };
    let redaction = Redaction::compile(&redact).expect("the pattern compiles");
    speed(&redaction, "ordinary", ORDINARY);
    for hostile in HOSTILE {
        speed(&redaction, hostile, hostile);
    }
    restoring(&redaction);
}

fn speed(redaction: &Redaction, name: &str, pattern: &str) {
    let mut text = pattern.repeat(BYTES / pattern.len());
    let began = Instant::now();
    let redacted = redaction.apply_to_text(&mut text);
    let seconds = began.elapsed().as_secs_f64();
    let values = redacted.map_or(0, |redacted| redacted.len());
    let speed = BYTES as f64 / seconds / 1e6;
    println!("{{\"text\": {name:?}, \"megabytes_per_second\": {speed:.0}, \"values\": {values}}}");
}

fn restoring(redaction: &Redaction) {
    let mut sent = "bob@example.com".to_owned();
    let redacted = redaction.apply_to_text(&mut sent).expect("one value");
    let redacted = Arc::new(redacted);
    for (name, piece) in [
        ("word", " word"),
        ("placeholder", "[EMAIL_1]"),
        ("half", "[EMAIL"),
    ] {
        let mut restorer = Restorer::new(redacted.clone(), Form::Json);
        let began = Instant::now();
        for _ in 0..PIECES {
            black_box(restorer.push(black_box(piece)));
        }
        let nanoseconds = began.elapsed().as_secs_f64() * 1e9 / f64::from(PIECES);
        println!("{{\"piece\": {name:?}, \"nanoseconds\": {nanoseconds:.0}}}");
    }
}
