//! Sentences with alternatives, and where in a text one of them stands.
//!
//! `{a|b}` is one of the alternatives, `{name}` one entry of the slot of that name, `#` any
//! digit; they nest. The same notation as the trainer in `examples/triage/train` expands.

use std::collections::BTreeMap;

/// Slots by name; an entry may hold further alternatives.
pub(crate) type Slots = BTreeMap<String, Vec<String>>;

/// A sentence with alternatives.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Literal(String),
    Digit,
    OneOf(Vec<Template>),
}

impl Template {
    /// Reads the notation. An unclosed brace reaches to the end of the text.
    pub(crate) fn parse(text: &str, slots: &Slots) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '#']) {
            if at > 0 {
                parts.push(Part::Literal(rest[..at].to_owned()));
            }
            if rest[at..].starts_with('#') {
                parts.push(Part::Digit);
                rest = &rest[at + 1..];
            } else {
                let (body, after) = braced(&rest[at + 1..]);
                parts.push(Part::OneOf(alternatives(body, slots)));
                rest = after;
            }
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Self(parts)
    }

    /// The first place where this stands in `text` as whole words, as a range of bytes.
    pub(crate) fn find(&self, text: &str) -> Option<(usize, usize)> {
        word_starts(text).find_map(|start| {
            self.ends(text, start)
                .into_iter()
                .filter(|&end| !text[end..].starts_with(char::is_alphanumeric))
                .max()
                .map(|end| (start, end))
        })
    }

    /// Every place where a reading that begins at `start` can end.
    fn ends(&self, text: &str, start: usize) -> Vec<usize> {
        let mut places = vec![start];
        for part in &self.0 {
            let mut next: Vec<usize> = places.iter().flat_map(|&at| part.ends(text, at)).collect();
            next.sort_unstable();
            next.dedup();
            places = next;
        }
        places
    }

    /// Every word that some reading holds.
    pub(crate) fn words<'a>(&'a self, into: &mut Vec<&'a str>) {
        for part in &self.0 {
            match part {
                Part::Literal(text) => into.extend(crate::routing::words(text)),
                Part::Digit => {}
                Part::OneOf(options) => options.iter().for_each(|option| option.words(into)),
            }
        }
    }
}

impl Part {
    fn ends(&self, text: &str, at: usize) -> Vec<usize> {
        match self {
            Self::Literal(literal) if text[at..].starts_with(literal.as_str()) => {
                vec![at + literal.len()]
            }
            Self::Digit if text[at..].starts_with(|c: char| c.is_ascii_digit()) => vec![at + 1],
            Self::Literal(_) | Self::Digit => Vec::new(),
            Self::OneOf(options) => options
                .iter()
                .flat_map(|option| option.ends(text, at))
                .collect(),
        }
    }
}

fn word_starts(text: &str) -> impl Iterator<Item = usize> {
    let mut inside = false;
    text.char_indices().filter_map(move |(at, c)| {
        let starts = !inside && c.is_alphanumeric();
        inside = c.is_alphanumeric();
        starts.then_some(at)
    })
}

/// The text up to the brace that closes, and what follows it.
fn braced(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&text[..at], &text[at + 1..]);
        }
    }
    (text, "")
}

fn alternatives(body: &str, slots: &Slots) -> Vec<Template> {
    if let Some(entries) = slots.get(body) {
        return entries
            .iter()
            .map(|entry| Template::parse(entry, slots))
            .collect();
    }
    let (mut depth, mut from, mut options) = (0, 0, Vec::new());
    for (at, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '|' if depth == 0 => {
                options.push(Template::parse(&body[from..at], slots));
                from = at + 1;
            }
            _ => {}
        }
    }
    options.push(Template::parse(&body[from..], slots));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        let slots = [(
            "day".to_owned(),
            vec!["monday".to_owned(), "day #".to_owned()],
        )];
        Template::parse(text, &Slots::from(slots))
    }

    #[test]
    fn alternatives_nest_and_slots_hold_them_too() {
        let late = template("is late {since {day}|again}");
        for text in [
            "is late again",
            "it is late since monday.",
            "is late since day 3",
        ] {
            assert!(late.find(text).is_some(), "{text}");
        }
        for text in ["is late", "is late since", "is late since day x"] {
            assert!(late.find(text).is_none(), "{text}");
        }
    }

    #[test]
    fn only_whole_words_are_found() {
        assert_eq!(template("{a|an} app").find("an app"), Some((0, 6)));
        assert!(template("app").find("happy").is_none());
        assert!(template("app").find("apple").is_none());
    }

    #[test]
    fn the_longest_alternative_wins_where_several_fit() {
        assert_eq!(
            template("{five|five o'clock}").find("five o'clock"),
            Some((0, 12))
        );
    }
}
