//! IP addresses, of both versions.
//!
//! What counts: four numbers up to 255 with dots between them, leading zeros or not, and those of
//! five, as tcpdump writes ports, unless all have two digits, as in telephone numbers (a version of
//! four numbers is an address too, unless it begins with `v`); and whatever the standard library reads as IPv6, but for what is more likely a
//! slice or a path in code: `::`, `1::2`, `a::b`, `e2e::`. A port, a zone or a length of a prefix stays
//! beside the address.

use std::net::Ipv6Addr;

use super::span::{Kind, Span, after, before, is_word};

/// The groups of an IPv6 address.
const GROUPS: usize = 8;

/// The addresses in a folded text. Each byte is read a bounded number of times.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    find_v4(text, spans);
    find_v6(text, spans);
}

pub(super) fn find_v4(text: &str, spans: &mut Vec<Span>) {
    let is_part = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    each_run(text, '.', is_part, |run, start| {
        let mut at = start;
        // Two dots end an address: of a sentence, or of a range.
        for dotted in run.split("..") {
            let trimmed = dotted.trim_matches('.');
            let begin = at + (dotted.len() - dotted.trim_start_matches('.').len());
            if let Some(len) = v4(trimmed)
                && !is_version(text, begin)
            {
                spans.push(Span::new(begin, begin + len, Kind::Ip));
            }
            at += dotted.len() + 2;
        }
    });
}

/// How long the address is that `numbers`, which begin with a digit, are.
fn v4(numbers: &str) -> Option<usize> {
    let mut len = 0;
    let mut count = 0;
    for number in numbers.split('.') {
        count += 1;
        match count {
            1..=4 if is_byte(number) => len += number.len() + usize::from(count > 1),
            5 => {}
            _ => return None,
        }
    }
    let are_pairs = || numbers.split('.').all(|number| number.len() == 2);
    (count == 4 || (count == 5 && !are_pairs())).then_some(len)
}

fn is_byte(number: &str) -> bool {
    (1..=3).contains(&number.len()) && number.parse::<u8>().is_ok()
}

fn is_version(text: &str, start: usize) -> bool {
    let v = before(text, start).filter(|char| matches!(char, 'v' | 'V'));
    v.is_some() && !before(text, start - 1).is_some_and(is_word)
}

fn find_v6(text: &str, spans: &mut Vec<Span>) {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    each_run(text, ':', is_part, |run, start| {
        let mut at = 0;
        while at < run.len() {
            let begin = start + at;
            let len = v6(&run[at..]).filter(|len| stands_alone(text, begin, begin + len));
            match len {
                Some(len) => {
                    spans.push(Span::new(begin, begin + len, Kind::Ip));
                    at += len;
                }
                None if run[at..].starts_with([':', '.']) => at += 1,
                None => {
                    at = run[at..]
                        .find([':', '.'])
                        .map_or(run.len(), |sign| at + sign)
                }
            }
        }
    });
}

/// How long the address is that `run` begins with.
fn v6(run: &str) -> Option<usize> {
    let bytes = run.as_bytes();
    let mut has_gap = run.starts_with("::");
    let mut at = if has_gap { 2 } else { 0 };
    let mut groups = 0;
    let mut longest = 0;
    while groups < GROUPS {
        let digits = bytes[at..]
            .iter()
            .take(5)
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if !(1..=4).contains(&digits) {
            break;
        }
        if let Some(len) = tail(&run[at..]).filter(|_| groups <= GROUPS - 2) {
            (groups, longest, at) = (groups + 2, 4, at + len);
            break;
        }
        (groups, longest, at) = (groups + 1, longest.max(digits), at + digits);
        if run[at..].starts_with("::") && !has_gap {
            has_gap = true;
            at += 2;
        } else if bytes.get(at) == Some(&b':')
            && bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit)
            && groups < GROUPS
        {
            at += 1;
        } else {
            break;
        }
    }
    let address = match run[..at].ends_with("::") {
        true => &run[..at],
        false => run[..at].trim_end_matches(':'),
    };
    address.parse::<Ipv6Addr>().ok()?;
    let has_digit = address.bytes().any(|byte| byte.is_ascii_digit());
    let is_written_out = longest == 4 || (longest == 3 && groups == 2);
    let is_likely = address == "::1" || groups >= 3 || (is_written_out && has_digit);
    is_likely.then_some(address.len())
}

/// The dotted end of an address that holds one of version 4.
fn tail(rest: &str) -> Option<usize> {
    let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.');
    let dotted = rest[..end.unwrap_or(rest.len()).min(16)].trim_end_matches('.');
    let is_whole = dotted.split('.').count() == 4 && dotted.split('.').all(is_byte);
    is_whole.then_some(dotted.len())
}

/// Not some of a path such as `face::b00k`. Beside a letter only an address with so many colons that
/// it is no path, and, where the letter stands before it, a digit in its first group, which would
/// else be the end of a word.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let address = &text[start..end];
    let is_path = text[end..].starts_with("::")
        || (text[..start].ends_with("::") && !address.starts_with(':'));
    let is_long = address.matches(':').count() >= 3;
    let mut first = address.bytes().take_while(|byte| *byte != b':');
    let begins = !before(text, start).is_some_and(is_word)
        || (is_long && first.any(|byte| byte.is_ascii_digit()));
    let ends = !after(text, end).is_some_and(is_word) || is_long;
    !is_path && begins && ends
}

/// Calls `run` with each longest row of `is_part` bytes that has a `mark`, and where it begins. All
/// of these are ASCII.
fn each_run(
    text: &str,
    mark: char,
    is_part: impl Fn(u8) -> bool,
    mut run: impl FnMut(&str, usize),
) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(skipped) = text[at..].find(mark) {
        let marked = at + skipped;
        let before = bytes[at..marked].iter().rev();
        let start = marked - before.take_while(|byte| is_part(**byte)).count();
        let rest = bytes[marked..].iter();
        at = marked + rest.take_while(|byte| is_part(**byte)).count();
        run(&text[start..at], start);
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::merge;
    use super::super::testing::found;
    use super::*;

    #[track_caller]
    fn addresses(text: &str, expected: &[&str]) {
        let mut spans = Vec::new();
        find(text, &mut spans);
        assert_eq!(found(text, &merge(spans)), expected, "{text}");
    }

    #[test]
    fn addresses_of_version_4_are_found_with_what_stands_beside_them() {
        addresses("from 10.0.0.1.", &["10.0.0.1"]);
        addresses("http://192.168.001.010:8080/x", &["192.168.001.010"]);
        addresses(
            "10.0.0.0/8, 10.0.0.1..10.0.0.9...",
            &["10.0.0.0", "10.0.0.1", "10.0.0.9"],
        );
        addresses("IP 10.0.0.1.54321 > 10.0.0.2.80", &["10.0.0.1", "10.0.0.2"]);
        addresses("地址是10.0.0.1吗", &["10.0.0.1"]);
        addresses("host10.0.0.1x", &["10.0.0.1"]);
        addresses("release 1.2.3.4", &["1.2.3.4"]);
    }

    #[test]
    fn versions_dates_and_numbers_are_no_addresses() {
        for text in [
            "1.2.3",
            "v1.2.3.4",
            "1.3.6.1.4.1.311",
            "22.11.2024",
            "10.0.19045.3086",
            "256.1.1.1",
            "3.14",
            "1.2.3.1000",
            "...",
        ] {
            addresses(text, &[]);
        }
    }

    #[test]
    fn addresses_of_version_6_are_found_in_every_spelling() {
        for address in [
            "::1",
            "fe80::1",
            "2001:db8::",
            "2001:DB8:0:0:0:0:0:1",
            "1:2:3:4:5:6:7:8",
            "::ffff:10.0.0.1",
            "64:ff9b::192.0.2.33",
            "2001:db8::8a2e:370:7334",
            "dead:beef::cafe",
            "::ffff:a00:1",
        ] {
            addresses(address, &[address]);
            addresses(&format!("[{address}]:8080"), &[address]);
            addresses(&format!("at {address}/64,"), &[address]);
            addresses(&format!("{address}%eth0"), &[address]);
            addresses(&format!("src={address}."), &[address]);
        }
        addresses("source:fe80::1", &["fe80::1"]);
        addresses("fe80::1: up", &["fe80::1"]);
        addresses("ip2001:db8::1x", &["2001:db8::1"]);
        addresses("addr_fe80::1_a", &["fe80::1"]);
        addresses("9.2001:db8::1", &["2001:db8::1"]);
    }

    #[test]
    fn times_hardware_addresses_slices_and_paths_are_no_addresses() {
        for text in [
            "12:30:45",
            "00:1a:2b:3c:4d:5e",
            "x[::2]",
            "x[1::2]",
            "std::fs",
            "a::b",
            "face::b00k",
            "a1::b2::c3",
            "foo123::abc",
            "use e2e::{",
            "::",
            "a: b",
            "dead::beef",
        ] {
            addresses(text, &[]);
        }
    }

    #[test]
    fn an_address_of_version_4_is_found_beside_one_letter_words() {
        addresses("db:10.0.0.1:5432", &["10.0.0.1"]);
    }
}
