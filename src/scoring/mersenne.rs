//! Python's random numbers: MT19937 as CPython seeds it and draws from it.
//!
//! M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM Transactions on Modeling and Computer Simulation 8 (1998);
//! seeding by array as in their reference code of 2002, drawing as in CPython's `Lib/random.py`.

const SIZE: usize = 624;
const MIDDLE: usize = 397;

/// `random.Random(seed)` for small seeds, with `choice`.
#[derive(Debug, Clone)]
pub struct PythonRandom {
    state: [u32; SIZE],
    next: usize,
}

impl PythonRandom {
    /// `random.seed(seed)`.
    pub fn seeded(seed: u32) -> Self {
        let mut state = [0_u32; SIZE];
        state[0] = 19_650_218;
        for i in 1..SIZE {
            let last = state[i - 1];
            state[i] = 1_812_433_253_u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        // Initialisation by an array that holds nothing but the seed.
        let mut i = 1;
        for _ in 0..SIZE {
            let last = state[i - 1];
            state[i] = (state[i] ^ (last ^ (last >> 30)).wrapping_mul(1_664_525)).wrapping_add(seed);
            i += 1;
            if i == SIZE {
                state[0] = state[SIZE - 1];
                i = 1;
            }
        }
        for _ in 1..SIZE {
            let last = state[i - 1];
            state[i] = (state[i] ^ (last ^ (last >> 30)).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i += 1;
            if i == SIZE {
                state[0] = state[SIZE - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        Self { state, next: SIZE }
    }

    fn word(&mut self) -> u32 {
        if self.next >= SIZE {
            for i in 0..SIZE {
                let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7fff_ffff);
                let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + MIDDLE) % SIZE] ^ (joined >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// The place that `random.choice` picks in a sequence of `count`: as many bits as `count` has, drawn again until
    /// they are below it. `None` for an empty sequence.
    pub fn below(&mut self, count: u32) -> Option<u32> {
        if count == 0 {
            return None;
        }
        let bits = 32 - count.leading_zeros();
        loop {
            let drawn = self.word() >> (32 - bits);
            if drawn < count {
                return Some(drawn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_those_of_cpython() {
        // random.seed(42); [random.choice(range(n)) for n in sizes * 70] by CPython 3.11.
        let sizes = [4, 4, 3, 5, 2, 9, 10, 1, 4, 7, 3, 26];
        let mut random = PythonRandom::seeded(42);
        let picks: Vec<u32> = sizes.iter().cycle().take(840).map(|&n| random.below(n).unwrap()).collect();
        assert_eq!(picks[..24], [0, 0, 2, 2, 0, 3, 2, 0, 0, 4, 1, 1, 0, 0, 0, 1, 0, 8, 3, 0, 1, 3, 2, 8]);
        assert_eq!(picks[828..], [3, 2, 0, 1, 1, 4, 7, 0, 1, 2, 2, 18]);
        let checksum: u64 = picks.iter().zip(1..).map(|(&pick, place)| u64::from(pick) * place).sum();
        assert_eq!(checksum, 1_042_338);
        assert_eq!(random.below(0), None);
    }
}
