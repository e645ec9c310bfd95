//! Randomness as a counter: the number drawn for a token is a function of seed, choice and position.
//!
//! Nothing is remembered between draws, so a sequence that is resumed elsewhere, preempted or run
//! in another batch draws the same numbers. The generator is Philox4x32-10 (Salmon et al., 2011).

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// The golden ratio and √3 − 1, as the paper's key schedule adds them each round.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A number in `[0, 1)` for the token at `position` of `choice`.
pub fn uniform(seed: u64, choice: u32, position: u64) -> f64 {
    let counter = [low(position), high(position), choice, 0];
    let block = philox(counter, [low(seed), high(seed)]);
    let bits = (u64::from(block[0]) << 32 | u64::from(block[1])) >> 11;
    // 53 bits are what a double holds exactly.
    bits as f64 / (1_u64 << 53) as f64
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let first = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            high(second) ^ counter[1] ^ key[0],
            low(second),
            high(first) ^ counter[3] ^ key[1],
            low(first),
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

fn low(value: u64) -> u32 {
    (value & 0xFFFF_FFFF) as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_answers() {
        let answers = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in answers {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn every_part_of_the_counter_changes_the_draw() {
        let drawn = uniform(1, 0, 0);
        assert!((0.0..1.0).contains(&drawn));
        assert_eq!(drawn, uniform(1, 0, 0));
        for other in [uniform(2, 0, 0), uniform(1, 1, 0), uniform(1, 0, 1)] {
            assert_ne!(drawn, other);
        }
    }

    #[test]
    fn draws_are_spread_evenly() {
        let mut counts = [0_u32; 10];
        for position in 0..10_000 {
            counts[(uniform(7, 0, position) * 10.0) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (880..1120).contains(count)),
            "{counts:?}"
        );
    }
}
