//! Telephone numbers.
//!
//! What counts, with blanks, dashes, dots, slashes and parentheses between groups:
//! - `+` and 8 to 15 digits, or `00` and 9 to 15;
//! - 9 to 12 digits that begin with one `0`, as a call within a country does in most of the world;
//! - groups that are told by their lengths, as North America, China, India, Brazil, Russia and Spain
//!   write them ([`LAYOUTS`]);
//! - 7 to 15 digits after a word such as `phone`, whatever their groups.
//!
//! A number without groups counts only where it stands alone: not beside letters, nor after `#`, a
//! currency or a dash. None counts that overlaps a date, a time, a UUID, a bank account or an IP address.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::address;
use super::numbers::{Group, MOST_GROUPS, Numbers, digits, gap};
use super::span::{Kind, Span, before, is_word, merge};

/// Digits, where a word says that they are a telephone.
const FEWEST: usize = 7;
const MOST: usize = 15;
/// With the `00` before the longest.
const LONGEST: usize = 17;
/// In bytes; how far before a number a word may say that it is a telephone.
const WORD_BEFORE: usize = 32;

/// Lengths of groups, and what their digits must begin with.
struct Layout {
    lengths: &'static [usize],
    begins: fn(&[u8]) -> bool,
}

/// The most groups of a layout.
const MOST_LAID_OUT: usize = 5;

const LAYOUTS: &[Layout] = &[
    // North America: neither the area nor the exchange begins with 0 or 1.
    Layout {
        lengths: &[3, 3, 4],
        begins: |digits| digits[0] > b'1' && digits[3] > b'1',
    },
    Layout {
        lengths: &[1, 3, 3, 4],
        begins: |digits| digits[0] == b'1' && digits[1] > b'1' && digits[4] > b'1',
    },
    // China.
    Layout {
        lengths: &[11],
        begins: |digits| digits[0] == b'1' && digits[1] > b'2',
    },
    Layout {
        lengths: &[3, 4, 4],
        begins: |digits| digits[0] == b'1' && digits[1] > b'2',
    },
    // India.
    Layout {
        lengths: &[5, 5],
        begins: |digits| digits[0] > b'5',
    },
    // Brazil.
    Layout {
        lengths: &[2, 5, 4],
        begins: |digits| digits[2] == b'9',
    },
    // Russia.
    Layout {
        lengths: &[1, 3, 3, 2, 2],
        begins: |digits| matches!(digits[0], b'7' | b'8'),
    },
    Layout {
        lengths: &[3, 3, 2, 2],
        begins: |digits| digits[0] == b'9',
    },
    // Spain.
    Layout {
        lengths: &[3, 2, 2, 2],
        begins: |digits| digits[0] > b'5',
    },
];

/// Dates, times, UUIDs, hardware addresses, account numbers (IBAN), ZIP codes.
static OTHERS: LazyLock<Regex> = LazyLock::new(|| {
    let others = [
        r"(?:19|20)[0-9]{2}[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12][0-9]|3[01])(?:T[0-9]+)?",
        r"[0-9]{1,2}[-./][0-9]{1,2}[-./](?:19|20)[0-9]{2}",
        r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?",
        r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
        r"[0-9]{2}(?:-[0-9]{2}){5}",
        r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?",
        r"0[0-9]{4}-[0-9]{4}",
    ];
    let pattern = format!(r"(?-u:\b)(?:{})(?-u:\b)", others.join("|"));
    Regex::new(&pattern).expect("a constant that compiles")
});

/// Words for a telephone, and a few words and signs after them, up to the end.
static TELEPHONE: LazyLock<Regex> = LazyLock::new(|| {
    let words = "phones?|cellphone|telephone|telefono?|teléfono|téléphone|tele?|mobile?|móvil|cell|celular|fax|\
        call|dial|sms|whatsapp|handy|hotline|rufnummer|handynummer|telefonnummer|numéro|телефон|тел";
    let unspaced = "电话|電話|手机|手機|号码|携帯|전화";
    let between = r"[^0-9\p{L}\n]";
    let fillers = "number|nummer|nr|no|is|at|on|me|us|unter|est|es";
    let pattern = format!(
        r"(?i)(?:(?:^|[^\p{{L}}])(?:{words})|(?-i:[a-z](?:Phone|Tel|Mobile))|{unspaced}){between}{{0,6}}(?:(?:{fillers}){between}{{1,4}}){{0,3}}$"
    );
    Regex::new(&pattern).expect("a constant that compiles")
});

/// Whether a field of this name holds telephone numbers.
pub(super) fn is_telephone(field: &str) -> bool {
    // As it would stand in a text, with the value after it.
    TELEPHONE.is_match(&format!("{field}: "))
}

/// The numbers in a folded text. `is_expected` says that the text is the value of a field for
/// telephone numbers. Each byte is read a bounded number of times.
pub(super) fn find(text: &str, is_expected: bool, spans: &mut Vec<Span>) {
    let mut others: Option<Vec<Span>> = None;
    let mut numbers = Numbers::new(text);
    loop {
        let run = numbers.run();
        let Some(first) = run.first().copied() else {
            return;
        };
        let is_expected = || is_expected || follows_word(text, first.start);
        let mut found = number(text, run, is_expected);
        if let Some(span) = &found
            && let Some(other) = overlapping(others.get_or_insert_with(|| others_in(text)), span)
        {
            let clear = run.iter().take_while(|group| group.end <= other).count();
            found = number(text, &run[..clear], is_expected);
        }
        if let Some(span) = &found {
            spans.push(Span::new(span.start, span.end, Kind::Phone));
        }
        // The next number may begin in this one, which took as much as it could.
        numbers.skip(1);
    }
}

/// What is no telephone number, although some of it looks like one. In order.
fn others_in(text: &str) -> Vec<Span> {
    let mut others = Vec::new();
    address::find_v4(text, &mut others);
    let found = OTHERS.find_iter(text);
    others.extend(found.map(|other| Span::new(other.start(), other.end(), Kind::Private)));
    merge(others)
}

/// Where the first of `others` begins that overlaps `span`.
fn overlapping(others: &[Span], span: &Range<usize>) -> Option<usize> {
    let next = others.partition_point(|other| other.end <= span.start);
    let other = others.get(next).filter(|other| other.start < span.end);
    other.map(|other| other.start)
}

/// The number that begins with the first group of `run`.
fn number(text: &str, run: &[Group], is_expected: impl Fn() -> bool) -> Option<Range<usize>> {
    let run = &run[..reach(text, run)];
    let first = run.first()?;
    let all = written(text, run);
    if all.len() < FEWEST {
        return None;
    }
    let is_opened = text[..first.start].ends_with('(');
    let sign = text[..first.start].trim_end_matches('(');
    if sign.ends_with('+')
        && first.start - sign.len() <= 1
        && !before(sign, sign.len() - 1).is_some_and(|char| char.is_ascii_digit())
        && let Some(count) = international(text, run, &all)
    {
        return Some(sign.len() - 1..run[count - 1].end);
    }
    let is_expected = is_expected();
    // A row of many short numbers is looked at once for each of them.
    let most = match all[0] == b'0' || is_opened || is_expected {
        true => run.len(),
        false => run.len().min(MOST_LAID_OUT),
    };
    let mut expected = None;
    let mut spelled = None;
    let mut total = digits(&run[..most]);
    for count in (1..=most).rev() {
        if (FEWEST..=LONGEST).contains(&total)
            && may_begin(text, first, count > 1)
            && may_end(text, run, count)
        {
            if is_national(text, &run[..count], &all[..total], is_opened) {
                spelled = Some(count);
                break;
            }
            expected = expected.or(Some(count).filter(|_| total <= MOST));
        }
        total -= run[count - 1].len();
    }
    let count = spelled.or_else(|| expected.filter(|_| is_expected))?;
    let end = run[count - 1].end;
    let is_closed = is_opened && text[first.start..end].contains(')');
    Some(first.start - usize::from(is_closed)..end)
}

/// How many groups have only signs between them that stand in telephone numbers.
fn reach(text: &str, run: &[Group]) -> usize {
    let is_gap = |gap: &str| {
        matches!(
            gap,
            " " | "  "
                | "-"
                | "."
                | "/"
                | ")"
                | "("
                | " ("
                | ") "
                | ")-"
                | "-("
                | " - "
                | " / "
                | ")/"
                | ") ("
                | "/ "
        )
    };
    let mut total = 0;
    let joined = (0..run.len()).take_while(|index| {
        total += run[*index].len();
        *index == 0 || (total <= LONGEST + MOST_GROUPS && is_gap(gap(text, run, *index)))
    });
    joined.count()
}

/// After a `+`.
fn international(text: &str, run: &[Group], all: &[u8]) -> Option<usize> {
    let (first, second) = (*all.first()?, *all.get(1)?);
    let up_to = |most: usize| {
        (1..=run.len())
            .rev()
            .find(|count| digits(&run[..*count]) <= most)
    };
    if first == b'0' || (first == b'1' && second < b'2') {
        return None;
    }
    let count = match first {
        // North America has ten digits, so that what follows is something else.
        b'1' => up_to(11)
            .filter(|count| digits(&run[..*count]) == 11)
            .or_else(|| up_to(MOST)),
        _ => up_to(MOST),
    }?;
    let is_decimal = count == 2 && gap(text, run, 1) == "." && run[1].len() < 9;
    (digits(&run[..count]) >= 8 && !is_decimal).then_some(count)
}

/// By its digits and groups alone, without a word before it.
fn is_national(text: &str, number: &[Group], all: &[u8], is_opened: bool) -> bool {
    let is_grouped = number.len() > 1;
    let by_zero = match all {
        // All digits there are, in a row, and a matrix.
        _ if !is_grouped && all.starts_with(b"0123456789") => false,
        _ if number[0].len() == 1 => false,
        [b'0', b'0', b'1'..=b'9', ..] => (11..=17).contains(&all.len()),
        [b'0', b'1'..=b'9', ..] if is_grouped => (9..=12).contains(&all.len()),
        [b'0', b'1'..=b'9', ..] => (10..=11).contains(&all.len()),
        _ => false,
    };
    let has_area = is_opened
        && is_grouped
        && gap(text, number, 1).starts_with(')')
        && (2..=5).contains(&number[0].len())
        && (9..=12).contains(&all.len());
    let lengths = || number.iter().map(Group::len);
    if lengths().all(|len| len == 2) {
        return by_zero && number.len() == 5 && all[1] != b'0' && !is_dump(text, number);
    }
    let mut layouts = LAYOUTS
        .iter()
        .filter(|layout| layout.lengths.iter().copied().eq(lengths()));
    by_zero || has_area || layouts.any(|layout| (layout.begins)(all))
}

/// Whether pairs of digits go on with others beside them, as bytes in a dump do.
fn is_dump(text: &str, number: &[Group]) -> bool {
    let bytes = text.as_bytes();
    let before = bytes[..number[0].start].strip_suffix(b" ");
    let pair_before = before.is_some_and(|before| match before {
        [.., a, b, c] => {
            b.is_ascii_hexdigit() && c.is_ascii_hexdigit() && !a.is_ascii_alphanumeric()
        }
        [b, c] => b.is_ascii_hexdigit() && c.is_ascii_hexdigit(),
        _ => false,
    });
    let after = bytes[number[number.len() - 1].end..].strip_prefix(b" ");
    let pair_after = after.is_some_and(|after| match after {
        [a, b, c, ..] => {
            a.is_ascii_hexdigit() && b.is_ascii_hexdigit() && !c.is_ascii_alphanumeric()
        }
        [a, b] => a.is_ascii_hexdigit() && b.is_ascii_hexdigit(),
        _ => false,
    });
    pair_before || pair_after
}

/// The digits, no more of them than matter.
fn written(text: &str, run: &[Group]) -> Vec<u8> {
    let bytes = |group: &Group| text.as_bytes()[group.start..group.end].iter().copied();
    run.iter().flat_map(bytes).take(LONGEST).collect()
}

/// A number in groups may stand beside anything but more of it; one without looks like a count, an
/// order or some of a code where it stands beside certain signs.
fn may_begin(text: &str, first: &Group, is_grouped: bool) -> bool {
    let mut chars = text[..first.start].chars().rev();
    match chars.next() {
        // Of a larger number, unless one begins anew.
        Some(char) if first.is_joined => {
            matches!(char, ' ' | '\n' | '\t' | '(') || (is_grouped && char == '/')
        }
        _ if is_grouped => true,
        Some('#' | '$' | '€' | '£' | '¥') => false,
        Some('-' | '/') => !chars
            .next()
            .is_some_and(|char| is_word(char) || matches!(char, '-' | '_' | ')')),
        Some(char) => !is_word(char),
        None => true,
    }
}

/// Whether the first `count` groups can be the whole of a number.
fn may_end(text: &str, run: &[Group], count: usize) -> bool {
    let is_grouped = count > 1;
    if let Some(next) = run.get(count) {
        let gap = gap(text, run, count);
        // As tables of numbers have it.
        let is_fraction = gap == "." && matches!(&text[next.start..next.end], "0" | "00");
        return is_fraction || gap.contains([' ', '(', '/']);
    }
    let mut rest = text[run[count - 1].end..].chars();
    let next = rest.next();
    let then_digit = rest.next().is_some_and(|char| char.is_ascii_digit());
    match next {
        Some('.' | '-') => !then_digit,
        Some('%' | '°') => is_grouped,
        // An extension.
        Some('x' | 'X') => is_grouped || then_digit,
        Some(char) => is_grouped || !is_word(char),
        None => true,
    }
}

fn follows_word(text: &str, start: usize) -> bool {
    let mut from = start.saturating_sub(WORD_BEFORE);
    while !text.is_char_boundary(from) {
        from -= 1;
    }
    let before = &text[from..start];
    let has_letter = before
        .bytes()
        .any(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    has_letter && TELEPHONE.is_match(before)
}

#[cfg(test)]
mod tests;
