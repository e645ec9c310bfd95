//! A text in links that are merged, and the pairs that wait for it.

use std::cmp::{Ordering, Reverse};

/// Neighbours that would make a token, the best of them greatest.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) score: f32,
    pub(super) left: Reverse<usize>,
    /// Of both, by which a pair is known that is no more.
    pub(super) length: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then_with(|| self.left.cmp(&other.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// A text in links, at first of one character each.
pub(super) struct Chain<'a> {
    text: &'a str,
    links: Vec<Link>,
}

struct Link {
    start: usize,
    /// In bytes; none where it was merged into the one before it.
    length: usize,
    before: Option<usize>,
    next: Option<usize>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let links = text.char_indices().enumerate();
        let mut links: Vec<Link> = links
            .map(|(at, (start, character))| Link {
                start,
                length: character.len_utf8(),
                before: at.checked_sub(1),
                next: Some(at + 1),
            })
            .collect();
        if let Some(last) = links.last_mut() {
            last.next = None;
        }
        Self { text, links }
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// The text of two neighbours.
    pub(super) fn both(&self, left: usize, right: usize) -> &'a str {
        let Link { start, length, .. } = self.links[left];
        &self.text[start..start + length + self.links[right].length]
    }

    pub(super) fn text(&self, link: usize) -> &'a str {
        let Link { start, length, .. } = self.links[link];
        &self.text[start..start + length]
    }

    pub(super) fn before(&self, link: usize) -> Option<usize> {
        self.links[link].before
    }

    pub(super) fn next(&self, link: usize) -> Option<usize> {
        self.links[link].next
    }

    pub(super) fn merge(&mut self, left: usize, right: usize) {
        let next = self.links[right].next;
        self.links[left].length += self.links[right].length;
        self.links[left].next = next;
        self.links[right].length = 0;
        if let Some(next) = next {
            self.links[next].before = Some(left);
        }
    }
}
