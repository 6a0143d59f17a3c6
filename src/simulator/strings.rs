//! Which of some modes are occupied, for a fixed number of fermions in them.

use super::error::SimulationError;
use super::register::filled;

/// The most modes.
pub(crate) const MAX_MODES: usize = 48;

/// Pascal's triangle.
static BINOMIALS: [[u64; MAX_MODES + 1]; MAX_MODES + 1] = {
    let mut table = [[0; MAX_MODES + 1]; MAX_MODES + 1];
    let mut n = 0;
    while n <= MAX_MODES {
        table[n][0] = 1;
        let mut k = 1;
        while k <= n {
            table[n][k] = table[n - 1][k - 1] + table[n - 1][k];
            k += 1;
        }
        n += 1;
    }
    table
};

/// In how many ways `fermions` are put into `modes`; 0 where there are too many of them, more than fit in a number where
/// there are more than [`MAX_MODES`].
pub(crate) fn count(modes: usize, fermions: usize) -> u64 {
    BINOMIALS.get(modes).map_or(u64::MAX, |row| row.get(fermions).copied().unwrap_or(0))
}

/// The ways to put a number of fermions into some modes, rising: in each, one bit per mode, mode 0 the highest.
///
/// They are numbered by their order. The number is the sum of what the higher and the lower half of the bits add to it,
/// for which there are tables: with the `i`-th of the occupied bits, from the lowest one on, at `p_i`, it is
/// `Σ_i binomial(p_i, i)`. Source: Knuth, The Art of Computer Programming 4A, 7.2.1.3, theorem L.
#[derive(Debug, Clone)]
pub(crate) struct Strings {
    modes: usize,
    fermions: usize,
    list: Vec<u64>,
    /// What the lower half of the bits adds.
    low: Vec<usize>,
    /// What the higher half adds.
    high: Vec<usize>,
}

impl Strings {
    /// All for so many modes, [`MAX_MODES`] at most.
    pub(crate) fn new(modes: usize, fermions: usize) -> Result<Self, SimulationError> {
        let low_modes = modes / 2;
        let rank = |bits: u64, below: u32, first: usize| {
            let mut bits = bits;
            let (mut rank, mut place) = (0, first);
            while bits != 0 {
                place += 1;
                rank += count((bits.trailing_zeros() + below) as usize, place);
                bits &= bits - 1;
            }
            usize::try_from(rank).unwrap_or(usize::MAX)
        };
        let low = (0..1_u64 << low_modes).map(|bits| rank(bits, 0, 0)).collect();
        let high = (0..1_u64 << (modes - low_modes)).map(|bits| {
            // Those that are not in this half are in the other one.
            let others = fermions.saturating_sub(bits.count_ones() as usize);
            rank(bits, u32::try_from(low_modes).unwrap_or(u32::MAX), others)
        });
        let high = high.collect();
        let len = usize::try_from(count(modes, fermions)).unwrap_or(usize::MAX);
        let mut list = filled(0, len)?;
        let mut string = (1_u64 << fermions) - 1;
        for slot in &mut list {
            *slot = string;
            string = next(string);
        }
        Ok(Self { modes, fermions, list, low, high })
    }

    /// Bytes that the strings take.
    pub(crate) fn bytes(modes: usize, fermions: usize) -> u64 {
        count(modes, fermions).saturating_mul(8).saturating_add(16 << modes.div_ceil(2))
    }

    pub(crate) fn modes(&self) -> usize {
        self.modes
    }

    pub(crate) fn fermions(&self) -> usize {
        self.fermions
    }

    pub(crate) fn list(&self) -> &[u64] {
        &self.list
    }

    /// The bit of a mode.
    pub(crate) fn bit(&self, mode: usize) -> u64 {
        1 << (self.modes - 1 - mode)
    }

    /// The number of a string.
    pub(crate) fn rank(&self, string: u64) -> usize {
        let low_modes = self.modes / 2;
        #[expect(clippy::cast_possible_truncation, reason = "half of the bits")]
        let [high, low] = [(string >> low_modes) as usize, (string & ((1 << low_modes) - 1)) as usize];
        self.high[high] + self.low[low]
    }

    /// The pairs of strings of which the first one has `p` occupied and `q` empty, and the second one the other way
    /// round; and whether an odd number of modes between them is occupied.
    pub(crate) fn pairs(&self, [p, q]: [usize; 2]) -> impl Iterator<Item = ([usize; 2], bool)> {
        let [p, q] = [self.bit(p), self.bit(q)];
        let between = (p.max(q) - 1) & !(2 * p.min(q) - 1);
        let at = move |(first, &string): (usize, &u64)| {
            let second = string ^ p ^ q;
            let applies = string & p != 0 && string & q == 0;
            applies.then(|| ([first, self.rank(second)], is_odd(string & between)))
        };
        self.list.iter().enumerate().filter_map(at)
    }
}

/// Whether an odd number of modes is occupied.
pub(crate) fn is_odd(string: u64) -> bool {
    string.count_ones() % 2 == 1
}

/// The next larger number with as many bits; anything after the last one.
fn next(string: u64) -> u64 {
    let lowest = string & string.wrapping_neg();
    let carried = string.wrapping_add(lowest);
    match lowest {
        0 => 0,
        _ => carried | ((string ^ carried) >> 2).checked_div(lowest).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_all_numbers_with_so_many_bits_in_their_order() {
        for modes in 0..12 {
            for fermions in 0..=modes {
                let strings = Strings::new(modes, fermions).expect("few");
                let expected: Vec<u64> =
                    (0..1_u64 << modes).filter(|bits| bits.count_ones() as usize == fermions).collect();
                assert_eq!(strings.list(), expected, "{modes} {fermions}");
                assert!(expected.iter().enumerate().all(|(number, &string)| strings.rank(string) == number));
            }
            assert!(Strings::new(modes, modes + 1).expect("none").list().is_empty());
        }
        let (first, last) = ((1_u64 << 3) - 1, 0b111_u64 << 45);
        let many = Strings::new(48, 3).expect("17296");
        assert_eq!((many.rank(first), many.rank(last), many.list().last()), (0, 17295, Some(&last)));
    }

    #[test]
    fn pairs_differ_in_the_two_modes() {
        let strings = Strings::new(5, 2).expect("few");
        let name = |number: usize| format!("{:05b}", strings.list()[number]);
        let pairs: Vec<_> = strings.pairs([3, 0]).map(|([a, b], is_odd)| (name(a), name(b), is_odd)).collect();
        let expected = [("00011", "10001", false), ("00110", "10100", true), ("01010", "11000", true)];
        assert_eq!(pairs, expected.map(|(a, b, is_odd)| (a.to_owned(), b.to_owned(), is_odd)));
    }
}
