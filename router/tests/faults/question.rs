//! What is asked and what the answer must be: every ask brings its own answer along, so that each word of it can be
//! checked wherever it was written.

/// The stand-in says what follows it, and so do the workers here.
const SAY: &str = "Say: ";
/// An answer has so many words and up to so many more.
const LEAST_WORDS: u64 = 12;
const MORE_WORDS: u64 = 24;
/// Some words end in more than one byte. All are one piece to the stand-in, which counts by pieces.
const LAST: [char; 4] = ['a', '0', 'é', 'ü'];

/// What ask `number` asks for.
pub fn question(number: u64) -> String {
    format!("{SAY}{}", answer(number))
}

/// What must come of it, and nothing else.
pub fn answer(number: u64) -> String {
    let words = 0..LEAST_WORDS + number % MORE_WORDS;
    let words: Vec<String> = words.map(|index| word(number, index)).collect();
    words.join(" ")
}

/// The words of an answer, each with the space behind it; none where that is no question of ours.
pub fn words(question: &str) -> Vec<String> {
    let said = question.strip_prefix(SAY).unwrap_or_default();
    said.split_inclusive(' ').map(str::to_owned).collect()
}

/// Whose word it is shows, and which.
fn word(number: u64, index: u64) -> String {
    let mixed = mixed(number << 8 | index);
    let last = LAST[(mixed % 4) as usize];
    format!("{:03x}{last}", (mixed >> 8) % 0x1000)
}

/// What follows from the seed of a run, always in the same order.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mixed(self.0) % bound
    }
}

/// Far apart for numbers that are close.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
