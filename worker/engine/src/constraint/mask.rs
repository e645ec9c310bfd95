//! The tokens that may come next.

use llguidance::toktrie::SimpleVob;

#[derive(Debug, Clone)]
pub(crate) struct Mask(SimpleVob);

impl Mask {
    pub fn new(allowed: SimpleVob) -> Self {
        Self(allowed)
    }

    /// Only these of a vocabulary.
    #[cfg(test)]
    pub fn of(vocabulary: usize, ids: &[u32]) -> Self {
        let mut allowed = SimpleVob::alloc(vocabulary);
        ids.iter().for_each(|id| allowed.allow_token(*id));
        Self(allowed)
    }

    pub fn allow(&mut self, id: u32) {
        if (id as usize) < self.0.len() {
            self.0.allow_token(id);
        }
    }

    pub fn allows(&self, id: u32) -> bool {
        (id as usize) < self.0.len() && self.0.is_allowed(id)
    }

    /// How many are allowed.
    pub fn count(&self) -> usize {
        self.0.num_set()
    }

    /// In ascending order.
    pub fn allowed(&self) -> impl Iterator<Item = u32> {
        ids_of(self.0.as_slice().iter().copied(), self.0.len())
    }

    pub fn forbidden(&self) -> impl Iterator<Item = u32> {
        ids_of(self.0.as_slice().iter().map(|word| !word), self.0.len())
    }
}

fn ids_of(words: impl Iterator<Item = u32>, most: usize) -> impl Iterator<Item = u32> {
    let words = (0_u32..).zip(words).filter(|(_, word)| *word != 0);
    let ids = words.flat_map(|(at, mut word)| {
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(at * u32::BITS + bit)
        })
    });
    // The last word, and one that the library has for itself, go beyond the vocabulary.
    ids.take_while(move |id| (*id as usize) < most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_and_forbidden_are_the_whole_vocabulary() {
        let mut mask = Mask::of(70, &[0, 31, 32, 69]);
        assert_eq!(mask.allowed().collect::<Vec<_>>(), [0, 31, 32, 69]);
        assert_eq!(mask.count(), 4);
        mask.allow(33);
        mask.allow(70);
        assert!(mask.allows(33) && !mask.allows(34) && !mask.allows(70));
        let mut all: Vec<u32> = mask.allowed().chain(mask.forbidden()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..70).collect::<Vec<_>>());
    }
}
