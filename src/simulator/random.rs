//! Where shots come from: doubles in [0, 1), handed in by whoever starts a run.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_mt::Mt;

/// A stream of doubles that are evenly spread over [0, 1), each a multiple of 2^-53.
pub trait Uniform {
    /// The next double.
    fn next_double(&mut self) -> f64;
}

/// The two streams that jobs draw from.
pub enum ShotRandom {
    /// MT19937, for jobs with a seed.
    Seeded(Box<Mt>),
    /// A cryptographic generator, for jobs without one.
    Entropy(Box<StdRng>),
}

impl ShotRandom {
    /// The stream of numpy's legacy generator after `seed` (`init_genrand`): shots with a seed equal those of the peers.
    pub fn from_seed(seed: u32) -> Self {
        Self::Seeded(Box::new(Mt::new(seed)))
    }

    /// A stream that nobody can foresee; `entropy` comes from the operating system.
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        Self::Entropy(Box::new(StdRng::from_seed(entropy)))
    }
}

impl Uniform for ShotRandom {
    fn next_double(&mut self) -> f64 {
        let (a, b) = match self {
            Self::Seeded(random) => (random.next_u32(), random.next_u32()),
            Self::Entropy(random) => (random.next_u32(), random.next_u32()),
        };
        // 27 and 26 bits of two words, as numpy joins them.
        (f64::from(a >> 5) * 67_108_864.0 + f64::from(b >> 6)) / 9_007_199_254_740_992.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_doubles_of_numpy() {
        // numpy.random.seed(42); numpy.random.random_sample(3)
        let mut random = ShotRandom::from_seed(42);
        for expected in [0.374_540_118_847_362_5, 0.950_714_306_409_916_2, 0.731_993_941_811_405_1] {
            assert!((random.next_double() - expected).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn different_entropy_gives_different_doubles_in_range() {
        let draw = |byte| {
            let mut random = ShotRandom::from_entropy([byte; 32]);
            (0..1000).map(|_| random.next_double()).collect::<Vec<_>>()
        };
        assert_ne!(draw(1), draw(2));
        assert_eq!(draw(1), draw(1));
        assert!(draw(1).iter().all(|u| (0.0..1.0).contains(u)));
    }
}
