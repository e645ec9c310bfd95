//! Damaged adapters are refused or read: nothing panics, and what is read can be computed with.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Plain, Written};

/// What takes a second or two.
const DAMAGED: u64 = 400;
/// Of a file of tensors: where its header is.
const HEADER: usize = 4000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().min(HEADER));
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = b"0919\"[]{},:.-eE\xff"[self.below(16)],
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, b"09\"[{,"[self.below(6)]),
                4 => bytes.truncate(at.max(1)),
                _ => {
                    let end = (at + 1 + self.below(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
    }
}

#[test]
fn damaged_adapters_are_refused_or_read_and_nothing_panics() {
    let written = Written::named("llama-patterns");
    let fixture = written.base();
    let mut model = fixture.model(Plain::F32, |_| {});
    let base = model.adapter_base();
    let folder = written.write();
    let files = ["adapter_config.json", "adapter_model.safetensors"];
    let whole = files.map(|file| std::fs::read(folder.path().join(file)).unwrap());
    let (mut read, mut refused) = (0, 0);
    for seed in 0..DAMAGED {
        let mut random = Random(seed);
        let which = random.below(2);
        let mut bytes = whole[which].clone();
        random.damage(&mut bytes);
        std::fs::write(folder.path().join(files[which]), &bytes).unwrap();
        let adapter = catch_unwind(AssertUnwindSafe(|| base.read(folder.path(), 1 << 20)));
        match adapter.unwrap_or_else(|_| panic!("{} of seed {seed} panics", files[which])) {
            Ok(adapter) => {
                read += 1;
                if read % 10 == 0 {
                    fixture.given(&mut model, Some(&Arc::new(adapter)));
                }
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
        std::fs::write(folder.path().join(files[which]), &whole[which]).unwrap();
    }
    assert!(
        read > 10 && refused > DAMAGED / 2,
        "{read} read, {refused} refused"
    );
}
