//! Which firmware a driver was made for.

use std::fmt;

/// A version of a firmware, `major.minor.patch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// Reads `1.1.1`, also with something after a hyphen as in `1.1.1-overclock`.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split_once('-').map_or(text, |(numbers, _)| numbers);
        let mut parts = numbers.split('.').map(|part| {
            let is_number = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| part.parse().ok())?
        });
        let mut next = || parts.next().flatten();
        let version = Self(next()?, next()?, next()?);
        parts.next().is_none().then_some(version)
    }
}

/// A firmware, and how to know it.
#[derive(Debug)]
pub struct Model {
    /// Its name for people.
    pub name: &'static str,
    /// What stands before the version in its answer to `version`. The case of the first letter is all that tells two of
    /// them apart.
    pub prefix: &'static str,
    /// The oldest version that the driver was made for.
    pub oldest: Version,
    /// The first version that it was not made for.
    pub first_unknown: Version,
    /// The most bytes that the board can be waiting for.
    pub largest_block: usize,
}

impl Model {
    /// The version in an answer of this firmware; none if another one has answered.
    pub fn version<'a>(&self, answer: &'a str) -> Option<(&'a str, Version)> {
        let text = answer.strip_prefix(self.prefix)?;
        Version::parse(text).map(|version| (text, version))
    }

    /// Whether the driver was made for this version.
    pub fn knows(&self, version: Version) -> bool {
        (self.oldest..self.first_unknown).contains(&version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers() {
        assert_eq!(Version::parse("1.1.1-overclock"), Some(Version(1, 1, 1)));
        for text in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1..3", "+1.2.3", "99999.0.0", "version: 1.1.1", "1.2.3 "] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }
}
