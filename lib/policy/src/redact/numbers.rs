//! The numbers of a text in groups, as cards and phones are written: `4111 1111-1111`.

use std::ops::Range;

/// More groups than any number that is looked for has digits.
pub(super) const MOST_GROUPS: usize = 20;
/// How many groups are gone before the room they took is used again.
const GONE: usize = 1024;

/// Digits without anything between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub start: usize,
    pub end: usize,
    /// Only a few signs stand between it and the group before.
    pub is_joined: bool,
}

impl Group {
    pub fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Groups from the beginning of a folded text on. Takes the room of some groups, however many there
/// are.
pub(super) struct Numbers<'a> {
    text: &'a str,
    read: usize,
    groups: Vec<Group>,
    head: usize,
}

impl<'a> Numbers<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            read: 0,
            groups: Vec::new(),
            head: 0,
        }
    }

    /// The next groups, joined to each other, at most [`MOST_GROUPS`]; empty at the end.
    pub fn run(&mut self) -> &[Group] {
        while self.groups.len() - self.head < MOST_GROUPS && self.read_group() {}
        let ahead = &self.groups[self.head..];
        let joined = ahead.iter().skip(1).take_while(|group| group.is_joined);
        let len = ahead.len().min(1 + joined.count());
        &ahead[..len]
    }

    /// Leaves out the next `count` groups.
    pub fn skip(&mut self, count: usize) {
        self.head += count;
        if self.head > GONE {
            self.groups.drain(..self.head);
            self.head = 0;
        }
    }

    fn read_group(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        let Some(skipped) = bytes[self.read..].iter().position(u8::is_ascii_digit) else {
            self.read = bytes.len();
            return false;
        };
        let start = self.read + skipped;
        let digits = bytes[start..]
            .iter()
            .position(|byte| !byte.is_ascii_digit());
        let end = digits.map_or(bytes.len(), |digits| start + digits);
        let gap = &bytes[self.read..start];
        self.groups.push(Group {
            start,
            end,
            is_joined: self.read > 0
                && (1..=3).contains(&gap.len())
                && gap.iter().all(|byte| b" \t\r\n-./()".contains(byte)),
        });
        self.read = end;
        true
    }
}

/// What stands between the groups `index - 1` and `index`.
pub(super) fn gap<'a>(text: &'a str, run: &[Group], index: usize) -> &'a str {
    &text[run[index - 1].end..run[index].start]
}

/// How many digits the groups have together.
pub(super) fn digits(run: &[Group]) -> usize {
    run.iter().map(Group::len).sum()
}

/// Where the groups stand, with what is between them.
pub(super) fn extent(run: &[Group]) -> Range<usize> {
    run[0].start..run[run.len() - 1].end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_joined_by_a_few_signs_and_come_in_order() {
        let text = "a 12 (34) 5, 6\n7    8";
        let mut numbers = Numbers::new(text);
        let mut runs = Vec::new();
        while !numbers.run().is_empty() {
            let run = numbers.run();
            runs.push((extent(run), digits(run)));
            let len = run.len();
            numbers.skip(len);
        }
        assert_eq!(runs, [(2..11, 5), (13..16, 2), (20..21, 1)]);
    }

    #[test]
    fn many_groups_are_all_seen_and_take_little_room() {
        let text = "1 ".repeat(5000);
        let mut numbers = Numbers::new(&text);
        let mut seen = 0;
        while !numbers.run().is_empty() {
            assert!(numbers.run().len() <= MOST_GROUPS);
            numbers.skip(1);
            seen += 1;
        }
        assert_eq!(seen, 5000);
        assert!(numbers.groups.capacity() < 2 * GONE + 2 * MOST_GROUPS);
    }
}
