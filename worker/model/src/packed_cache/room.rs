//! Whether a file may be added to a file system.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// What a file system has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) total: u64,
    pub(super) available: u64,
}

/// What stays free for others: a tenth of a small file system, for below that a kubelet begins to put
/// pods off its node, and of a large one as much as logs and images come in.
const SHARE: u64 = 10;
const MOST: u64 = 4 << 30;

impl Room {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let found = statvfs(folder)?;
        let unit = found.fragment_size();
        Ok(Self {
            total: bytes(found.blocks(), unit),
            available: bytes(found.blocks_available(), unit),
        })
    }

    /// Whether enough stays free for others beside a file of so many bytes.
    pub(super) fn holds(self, bytes: u64) -> bool {
        let left = (self.total / SHARE).min(MOST);
        self.available
            .checked_sub(bytes)
            .is_some_and(|available| available >= left)
    }
}

/// These are numbers of 32 bits on some systems.
fn bytes(count: impl Into<u64>, unit: impl Into<u64>) -> u64 {
    count.into().saturating_mul(unit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_the_file_system_stays_free() {
        let room = Room {
            total: 1000,
            available: 300,
        };
        assert!(room.holds(200));
        assert!(!room.holds(201));
        assert!(!room.holds(301));
        assert!(!room.holds(u64::MAX));
        let large = Room {
            total: 1 << 40,
            available: 5 << 30,
        };
        assert!(large.holds(1 << 30));
        assert!(!large.holds((1 << 30) + 1));
        let full = Room {
            total: 0,
            available: 0,
        };
        assert!(!full.holds(1));
    }

    #[test]
    fn this_file_system_says_what_it_has() {
        let room = Room::of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(room.total >= room.available && room.total > 0);
    }
}
