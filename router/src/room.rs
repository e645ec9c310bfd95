//! Memory that many share: so much may be taken together, and what is taken is given back by whoever
//! drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So much there is.
pub(crate) struct Room {
    all: usize,
    left: AtomicUsize,
}

impl Room {
    pub fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            all: bytes,
            left: AtomicUsize::new(bytes),
        })
    }

    pub fn all(&self) -> usize {
        self.all
    }

    /// A part of it, which is nothing yet.
    pub fn part(self: &Arc<Self>) -> Part {
        Part {
            room: self.clone(),
            bytes: 0,
        }
    }

    /// Takes as much of `bytes` as is left.
    fn take(&self, bytes: usize) -> usize {
        let taking = |left: usize| Some(left - left.min(bytes));
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taking);
        before.unwrap_or_else(|left| left).min(bytes)
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What one of them has taken. Dropping it gives that back.
pub(crate) struct Part {
    room: Arc<Room>,
    bytes: usize,
}

impl Part {
    /// Takes so much more, or as much of it as is left; gives how much that was.
    pub fn take(&mut self, bytes: usize) -> usize {
        let taken = self.room.take(bytes);
        self.bytes += taken;
        taken
    }

    /// Takes what is missing to so much in all; nothing where that is not there.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(self.bytes);
        let taken = self.room.take(wanted);
        if taken < wanted {
            self.room.give_back(taken);
            return false;
        }
        self.bytes += taken;
        true
    }

    pub fn clear(&mut self) {
        self.room.give_back(std::mem::take(&mut self.bytes));
    }

    pub fn room(&self) -> &Room {
        &self.room
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_there_again_once_it_is_dropped() {
        let room = Room::of(10);
        let (mut one, mut two) = (room.part(), room.part());
        assert!(one.grow(6) && one.grow(4), "six are there already");
        assert!(!two.grow(5), "four are left");
        assert!(two.grow(4), "a part that did not fit has taken nothing");
        assert_eq!(two.take(3), 0);
        drop(one);
        assert_eq!(two.take(30), 6);
        two.clear();
        assert!(two.grow(10));
    }
}
