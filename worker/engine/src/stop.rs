//! Finds stop strings in text that arrives in pieces, and holds back what may yet become one.
//!
//! The text ends where the first stop string to be complete begins; of two that are complete at the
//! same character, the longer one counts. How the text was cut into pieces changes nothing.

/// What a piece of text led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matched {
    /// This much is safe to show; the rest is held.
    Open(String),
    /// The text ended, with these last characters, before the named stop string.
    Ended { text: String, stop: String },
}

#[derive(Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// Empty stop strings never match.
    pub fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self {
            stops,
            held: String::new(),
        }
    }

    pub fn push(&mut self, piece: &str) -> Matched {
        self.held.push_str(piece);
        if let Some((start, stop)) = self.first_complete() {
            let text = self.held[..start].to_owned();
            self.held.clear();
            return Matched::Ended { text, stop };
        }
        let keep = self.longest_beginning();
        let safe = self.held.len() - keep;
        let rest = self.held.split_off(safe);
        Matched::Open(std::mem::replace(&mut self.held, rest))
    }

    /// The text ends here for another reason: nothing can become a stop string any more.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    fn first_complete(&self) -> Option<(usize, String)> {
        self.stops
            .iter()
            .filter_map(|stop| {
                let start = self.held.find(stop.as_str())?;
                Some((start + stop.len(), start, stop))
            })
            .min_by_key(|&(end, start, _)| (end, start))
            .map(|(_, start, stop)| (start, stop.clone()))
    }

    /// Length of the longest end of the held text that some stop string begins with.
    fn longest_beginning(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let earliest = self.held.len().saturating_sub(longest.saturating_sub(1));
        (earliest..self.held.len())
            .filter(|&at| self.held.is_char_boundary(at))
            .find(|&at| {
                self.stops
                    .iter()
                    .any(|stop| stop.starts_with(&self.held[at..]))
            })
            .map_or(0, |at| self.held.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(stops: &[&str]) -> StopMatcher {
        StopMatcher::new(stops.iter().map(ToString::to_string).collect())
    }

    fn open(text: &str) -> Matched {
        Matched::Open(text.to_owned())
    }

    fn ended(text: &str, stop: &str) -> Matched {
        Matched::Ended {
            text: text.to_owned(),
            stop: stop.to_owned(),
        }
    }

    #[test]
    fn text_that_may_begin_a_stop_string_is_held_until_it_does_not() {
        let mut stop = matcher(&["\n\nUser:"]);
        assert_eq!(stop.push("yes\n"), open("yes"));
        assert_eq!(stop.push("\nUse"), open(""));
        assert_eq!(stop.push("ful"), open("\n\nUseful"));
        assert_eq!(stop.push("\n\nUser"), open(""));
        assert_eq!(stop.push(": hi"), ended("", "\n\nUser:"));
    }

    #[test]
    fn of_overlapping_stop_strings_the_first_complete_one_counts() {
        assert_eq!(matcher(&["bcde", "cd"]).push("abcde"), ended("ab", "cd"));
        assert_eq!(matcher(&["d", "bcd"]).push("abcd"), ended("a", "bcd"));
    }

    #[test]
    fn held_text_is_given_out_when_the_answer_ends_otherwise() {
        let mut stop = matcher(&["END"]);
        assert_eq!(stop.push("the EN"), open("the "));
        assert_eq!(stop.finish(), "EN");
    }

    #[test]
    fn without_stop_strings_nothing_is_held() {
        assert_eq!(matcher(&[]).push("é"), open("é"));
        assert_eq!(matcher(&[""]).push("x"), open("x"));
    }

    /// The rule of the module documentation, one character at a time over the whole text.
    fn reference(stops: &[String], text: &str) -> (String, Option<String>) {
        for (at, character) in text.char_indices() {
            let end = at + character.len_utf8();
            let longest = stops
                .iter()
                .filter(|stop| !stop.is_empty() && text[..end].ends_with(stop.as_str()))
                .max_by_key(|stop| stop.len());
            if let Some(stop) = longest {
                return (text[..end - stop.len()].to_owned(), Some(stop.clone()));
            }
        }
        (text.to_owned(), None)
    }

    proptest! {
        #[test]
        fn any_cutting_gives_what_the_whole_text_gives(
            pieces in prop::collection::vec("[abé]{0,4}", 0..12),
            stops in prop::collection::vec("[abé]{0,4}", 0..4),
        ) {
            let mut matcher = StopMatcher::new(stops.clone());
            let (mut shown, mut found) = (String::new(), None);
            for piece in &pieces {
                match matcher.push(piece) {
                    Matched::Open(text) => shown.push_str(&text),
                    Matched::Ended { text, stop } => {
                        shown.push_str(&text);
                        found = Some(stop);
                        break;
                    }
                }
            }
            shown.push_str(&matcher.finish());
            prop_assert_eq!((shown, found), reference(&stops, &pieces.concat()));
        }
    }
}
