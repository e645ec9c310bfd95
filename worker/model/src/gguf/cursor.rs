//! Reads little-endian values one after the other, and never past the end.

/// Of a header: the largest vocabularies take a fifth of it.
const LONGEST: usize = 128 << 20;

/// A place in the header of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The file goes on after the longest header.
    cut: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a [u8], at: usize) -> Self {
        Self {
            bytes: &file[..file.len().min(LONGEST)],
            at,
            cut: file.len() > LONGEST,
        }
    }

    /// Bytes before this place.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What follows, for a refusal.
    fn rest(&self) -> String {
        let left = self.left();
        if self.cut {
            format!("{left} bytes follow in the {LONGEST} that a header may take")
        } else {
            format!("{left} bytes follow")
        }
    }

    /// The next bytes, which are those of `what`.
    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], String> {
        if length > self.left() {
            let (at, rest) = (self.at, self.rest());
            return Err(format!("{what} takes {length} bytes at {at}, where {rest}"));
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let mut taken = [0; N];
        taken.copy_from_slice(self.take(N, what)?);
        Ok(taken)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A length or a count of things that take at least `each` bytes, all of which must follow.
    pub(super) fn count(&mut self, each: usize, what: &str) -> Result<usize, String> {
        let count = self.u64(what)?;
        match usize::try_from(count) {
            Ok(count) if count <= self.left() / each => Ok(count),
            _ => {
                let (at, rest) = (self.at, self.rest());
                Err(format!("{what} is {count} at {at}, where {rest}"))
            }
        }
    }

    /// A text as the format writes it: its length and its bytes.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a [u8], String> {
        let length = self.count(1, what)?;
        self.take(length, what)
    }
}
