//! Numbers of payment cards.
//!
//! What counts: 13 to 19 digits whose check digit is right (Luhn), beginning as cards do; whole, or
//! in groups with blanks, dashes or the end of a line between them. Such groups are a card where
//! nothing else is joined to them, or where they are as long as cards have them. A number with more
//! digits has no card in it, and neither have the decimals of one.

use super::numbers::{Group, Numbers, extent, gap};
use super::span::{Kind, Span};

const FEWEST: usize = 13;
const MOST: usize = 19;

/// The lengths of groups as cards have them embossed.
const LAYOUTS: &[&[usize]] = &[
    &[4, 4, 4, 4],
    &[4, 4, 4, 4, 3],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 3, 3, 3],
    &[4, 4, 5],
    &[8, 8],
    &[6, 13],
];

/// The cards in a folded text. Each byte is read a bounded number of times.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let mut numbers = Numbers::new(text);
    loop {
        let run = numbers.run();
        if run.is_empty() {
            return;
        }
        if let Some(count) = card(text, run) {
            let extent = extent(&run[..count]);
            spans.push(Span::new(extent.start, extent.end, Kind::Card));
        }
        // The next card may begin in this one, which took as much as it could.
        numbers.skip(1);
    }
}

/// How many groups of `run` are a card, from its first on.
fn card(text: &str, run: &[Group]) -> Option<usize> {
    let mut last = None;
    let mut total = 0;
    for count in 1..=run.len() {
        total += run[count - 1].len();
        match total {
            0..FEWEST => {}
            FEWEST..=MOST if is_card(text, run, count) => last = Some(count),
            FEWEST..=MOST => {}
            _ => break,
        }
        if count < run.len() && !may_join(gap(text, run, count)) {
            break;
        }
    }
    last
}

fn may_join(gap: &str) -> bool {
    gap == "." || gap.bytes().all(|byte| b" \t\r\n-".contains(&byte))
}

fn is_card(text: &str, run: &[Group], count: usize) -> bool {
    let card = &run[..count];
    let lengths = card.iter().map(Group::len);
    let is_embossed = || {
        LAYOUTS
            .iter()
            .any(|layout| layout.iter().copied().eq(lengths.clone()))
    };
    let gaps = || (1..count).map(|index| gap(text, run, index));
    let is_alone = !card[0].is_joined && count == run.len();
    let is_spelled = match count {
        1 => !is_decimals(text, card[0].start),
        _ => is_embossed() || (is_alone && gaps().all(|gap| gap == " " || gap == "-")),
    };
    is_spelled && is_number(text, card)
}

fn is_decimals(text: &str, start: usize) -> bool {
    let before = &text.as_bytes()[..start];
    matches!(before, [.., digit, b'.'] if digit.is_ascii_digit())
}

/// Whether the digits begin as cards do and end with the right one.
fn is_number(text: &str, card: &[Group]) -> bool {
    let groups = card
        .iter()
        .flat_map(|group| &text.as_bytes()[group.start..group.end]);
    let digits: Vec<u32> = groups.map(|byte| u32::from(byte - b'0')).collect();
    let first_four = digits[..4]
        .iter()
        .fold(0, |number, digit| number * 10 + digit);
    let may_begin = match (first_four, digits.len()) {
        (3000..=6999, _) => true,
        // Years begin with 19 and 20; so do times in milliseconds.
        (2200..=2720 | 8100..=8299 | 9792, 16..) => true,
        (2131 | 1800 | 1000..=1199, 15) => true,
        _ => false,
    };
    may_begin && luhn(&digits)
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match index % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::super::span::merge;
    use super::super::testing::found;
    use super::*;

    #[track_caller]
    fn cards(text: &str, expected: &[&str]) {
        let mut spans = Vec::new();
        find(text, &mut spans);
        assert_eq!(found(text, &merge(spans)), expected, "{text}");
    }

    #[test]
    fn cards_are_found_however_they_are_spelled() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111.1111.1111.1111",
            "4111 1111\n1111 1111",
            "4111 - 1111 - 1111 - 1111",
            "3782 822463 10005",
            "378282246310005",
            "30569309025904",
            "4222222222222",
            "6304000000000000000",
            "2223003122003222",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "41 11 11 11 11 11 11 11",
        ] {
            cards(card, &[card]);
            cards(&format!("card: {card}, valid"), &[card]);
            cards(&format!("PAN{card}x"), &[card]);
            cards(&format!("卡号{card}。"), &[card]);
        }
    }

    #[test]
    fn a_card_is_found_among_other_numbers() {
        cards(
            "2 x 4111 1111 1111 1111 12/27 123",
            &["4111 1111 1111 1111"],
        );
        cards("12 4111111111111111 2", &["4111111111111111"]);
        cards("5,4111111111111111,12/27", &["4111111111111111"]);
        cards("4111111111111111.0", &["4111111111111111"]);
        cards(
            "4111111111111111 5500005555555559",
            &["4111111111111111", "5500005555555559"],
        );
    }

    #[test]
    fn other_long_numbers_are_no_cards() {
        for text in [
            "4111111111111112",
            "4111 1111 1111 1112",
            "41111111111111111111111111",
            "3.4111111111111111",
            "1732233600000",
            "0000000000000000",
            "2019 2020 2021 2024",
            "550e8400-e29b-41d4-a716-446655440000",
            "4111 1111/1111 1111",
            "978-3-16-148410-0",
        ] {
            cards(text, &[]);
        }
    }
}
