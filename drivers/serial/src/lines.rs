//! Bytes, in pieces of any size, become lines.

/// The longest line that is kept; of a longer one, which no device would take, the beginning is dropped.
const LONGEST: usize = 65_536;

/// Puts what a simulated device receives together to lines.
#[derive(Debug, Default)]
pub struct Lines {
    kept: Vec<u8>,
}

impl Lines {
    /// Takes a piece, and returns the lines that it ends, each without spaces around it. `end` is the last byte of a line.
    pub fn feed(&mut self, bytes: &[u8], end: u8) -> Vec<String> {
        self.kept.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(length) = self.kept.iter().position(|byte| *byte == end) {
            let line: Vec<u8> = self.kept.drain(..=length).collect();
            lines.push(String::from_utf8_lossy(&line).trim().to_owned());
        }
        let too_many = self.kept.len().saturating_sub(LONGEST);
        self.kept.drain(..too_many);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_and_what_is_left_waits() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"ab", b'\n'), Vec::<String>::new());
        assert_eq!(lines.feed(b"c\r\n d \n\nef", b'\n'), ["abc", "d", ""]);
        assert_eq!(lines.feed(b"\n", b'\n'), ["ef"]);
        lines.feed(&vec![b'x'; 2 * LONGEST], b'\n');
        assert_eq!(lines.kept.len(), LONGEST);
    }
}
