//! What came out of a run.

use std::collections::HashMap;

/// The values measured in every shot of one experiment.
///
/// A million shots of a few wires take only a handful of different values, so each different row is kept once and a
/// shot is a 32-bit number into the table of rows. That is also what a histogram needs.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The values of all rows, one row behind the other.
    values: Vec<i64>,
    /// Where each row ends.
    ends: Vec<usize>,
    index_of: HashMap<Box<[i64]>, u32>,
    shots: Vec<u32>,
}

impl Outcome {
    /// An outcome without shots, with room for `shots` of them.
    pub fn with_capacity(shots: usize) -> Self {
        Self { shots: Vec::with_capacity(shots), ..Self::default() }
    }

    /// Bytes that an outcome of `shots` takes at most, for whoever has to know the need before the run.
    ///
    /// A shot has one of `rows` different rows of `values` integers.
    pub fn bytes(shots: u32, rows: u64, values: u64) -> u64 {
        // Each row is in the list, which may have room for twice as many, and may be in the index, which may, too, and is
        // copied when it grows.
        const PER_ROW: u64 = 192;
        let rows = rows.min(u64::from(shots));
        let per_row = values.saturating_mul(3 * size_of::<i64>() as u64).saturating_add(PER_ROW);
        u64::from(shots) * size_of::<u32>() as u64 + rows.saturating_mul(per_row).saturating_add(256)
    }

    /// Appends one shot: one integer per measured wire, in the order of the `measure` instructions.
    pub fn push(&mut self, row: &[i64]) {
        let index = self.intern(row);
        self.shots.push(index);
    }

    /// Puts `row` into the table, if it is not there yet, and returns its number for [`push_index`](Self::push_index).
    ///
    /// # Panics
    /// With more than `u32::MAX` different rows, which no number of shots allows.
    pub fn intern(&mut self, row: &[i64]) -> u32 {
        if let Some(&index) = self.index_of.get(row) {
            return index;
        }
        let index = self.push_row(row.iter().copied());
        self.index_of.insert(row.into(), index);
        index
    }

    /// Puts `row` into the table without a look whether it is there, for whoever knows that it is not, and returns its
    /// number for [`push_index`](Self::push_index). [`intern`](Self::intern) does not find it.
    ///
    /// # Panics
    /// With more than `u32::MAX` different rows, which no number of shots allows.
    pub fn push_row(&mut self, row: impl IntoIterator<Item = i64>) -> u32 {
        let index = u32::try_from(self.ends.len()).expect("a program has at most u32::MAX shots, hence rows");
        self.values.extend(row);
        self.ends.push(self.values.len());
        index
    }

    /// Appends one shot by the number that [`intern`](Self::intern) gave to its row.
    ///
    /// # Panics
    /// If no row has that number: a defect of the caller.
    pub fn push_index(&mut self, index: u32) {
        assert!((index as usize) < self.ends.len(), "row {index} was never interned");
        self.shots.push(index);
    }

    /// The different rows, in the order of their first appearance.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[i64]> {
        (0..self.ends.len()).map(|number| self.at(number))
    }

    /// The row of this number.
    ///
    /// # Panics
    /// If no row has that number: a defect of the caller.
    pub fn row(&self, number: u32) -> &[i64] {
        self.at(number as usize)
    }

    fn at(&self, number: usize) -> &[i64] {
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[begin..self.ends[number]]
    }

    /// One number of a row per shot, in the order of the shots.
    pub fn shots(&self) -> &[u32] {
        &self.shots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_are_kept_once_and_shots_keep_their_order() {
        let mut outcome = Outcome::with_capacity(3);
        outcome.push(&[1, 0]);
        outcome.push(&[0, 0]);
        outcome.push(&[1, 0]);
        assert_eq!(outcome.shots(), [0, 1, 0]);
        assert_eq!(outcome.rows().collect::<Vec<_>>(), [[1, 0], [0, 0]]);
        assert_eq!([outcome.row(0), outcome.row(1)], [[1, 0], [0, 0]]);
    }
}
