//! How instructions become rows of the board's table: the only place that knows both.

use qspool_driver::{Instruction, Problem, Program};
use qspool_pico::cycles;

/// The instructions that the board takes.
pub(crate) const INSTRUCTIONS: [&str; 4] = ["tone", "hold", "measure", "barrier"];

/// The channels of the AD9959.
pub(crate) const CHANNELS: usize = 4;

/// What a channel puts out, in the units of the AD9959.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tone {
    /// The frequency in steps of the system clock / 2^32.
    pub frequency: u32,
    /// The amplitude in steps of 1/1023 of the largest.
    pub amplitude: u16,
    /// The phase in steps of 360/2^14 degrees.
    pub phase: u16,
}

impl Tone {
    /// A tone of a frequency in Hz below half of the system clock (also in Hz), an amplitude from 0 to 1, a phase in
    /// degrees from 0 to 360.
    ///
    /// # Errors
    ///
    /// What is allowed.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "all are in range by then")]
    pub fn new(hz: f64, amplitude: f64, degrees: f64, system_clock: f64) -> Result<Self, String> {
        if !(0.0..system_clock / 2.0).contains(&hz) {
            return Err(format!("{hz} Hz not allowed; allowed: 0 to {} Hz", system_clock / 2.0));
        }
        // The board cuts off what is larger.
        if !(0.0..=1.0).contains(&amplitude) {
            return Err(format!("amplitude {amplitude} not allowed; allowed: 0 to 1"));
        }
        if !(0.0..=360.0).contains(&degrees) {
            return Err(format!("phase of {degrees} degrees not allowed; allowed: 0 to 360"));
        }
        Ok(Self {
            frequency: (hz / system_clock * 4_294_967_296.0).round() as u32,
            amplitude: (amplitude * 1023.0).round() as u16,
            phase: (degrees / 360.0 * 16_384.0).round() as u16 % 16_384,
        })
    }

    /// Its frequency in Hz, for a system clock in Hz.
    pub fn hz(self, system_clock: f64) -> f64 {
        f64::from(self.frequency) * system_clock / 4_294_967_296.0
    }
}

/// The tones of all channels, and for how long they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// One for each channel in use.
    pub tones: Vec<Tone>,
    /// In cycles of the Pico's clock; of no meaning where triggers come from outside.
    pub cycles: u32,
}

/// What the channels do in one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// One for each trigger.
    pub rows: Vec<Row>,
    /// How often the number of rows is measured.
    pub measured: usize,
}

/// What a table has to keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) channels: usize,
    pub(crate) rows: usize,
    pub(crate) shortest: u32,
    pub(crate) pico_hz: u32,
    pub(crate) system_clock: f64,
}

impl Table {
    /// The table of a program.
    pub(crate) fn of(program: &Program, limits: Limits) -> Result<Self, Problem> {
        let mut table = Self::default();
        let mut tones = vec![Tone::default(); limits.channels];
        for (index, instruction) in program.instructions.iter().enumerate() {
            let problem = |what: String| Problem::of_instruction(index, instruction.name.as_str(), what);
            match instruction.name.as_str() {
                "tone" => {
                    let channel = channel(instruction, limits.channels).map_err(problem)?;
                    tones[channel] = tone(instruction, limits.system_clock).map_err(problem)?;
                }
                "hold" => {
                    let cycles = hold(instruction, limits).map_err(problem)?;
                    if table.rows.len() >= limits.rows {
                        return Err(problem(format!("too long; allowed: {} times hold", limits.rows)));
                    }
                    table.rows.push(Row { tones: tones.clone(), cycles });
                }
                "measure" => {
                    channel(instruction, 1).map_err(problem)?;
                    table.measured += 1;
                }
                "barrier" => {}
                _ => return Err(problem(format!("unknown instruction; allowed: {}", INSTRUCTIONS.join(", ")))),
            }
        }
        if table.rows.is_empty() {
            return Err(Problem::of_program("nothing is held; allowed: at least one hold"));
        }
        Ok(table)
    }
}

fn channel(instruction: &Instruction, channels: usize) -> Result<usize, String> {
    match instruction.wires[..] {
        [wire] if (wire as usize) < channels => Ok(wire as usize),
        _ => Err(format!("wires {:?} not allowed; allowed: one of 0 to {}", instruction.wires, channels - 1)),
    }
}

fn tone(instruction: &Instruction, system_clock: f64) -> Result<Tone, String> {
    match instruction.params[..] {
        [hz, amplitude, degrees] => Tone::new(hz, amplitude, degrees, system_clock),
        _ => Err(format!("params {:?} not allowed; allowed: frequency, amplitude, phase", instruction.params)),
    }
}

fn hold(instruction: &Instruction, limits: Limits) -> Result<u32, String> {
    if !instruction.wires.is_empty() {
        return Err(format!("wires {:?} not allowed; it has none", instruction.wires));
    }
    match instruction.params[..] {
        [seconds] => cycles::count(seconds, limits.shortest, limits.pico_hz),
        _ => Err(format!("params {:?} not allowed; allowed: a time in s", instruction.params)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_written_in_the_units_of_the_ad9959() {
        let tone = |hz, amplitude, degrees| Tone::new(hz, amplitude, degrees, 5e8);
        // Half of the system clock would be 2^31; the resolution is 0.1164 Hz.
        assert_eq!(tone(125e6, 1.0, 90.0), Ok(Tone { frequency: 1 << 30, amplitude: 1023, phase: 4096 }));
        assert_eq!(tone(0.1165, 0.0, 360.0), Ok(Tone { frequency: 1, amplitude: 0, phase: 0 }));
        for (hz, amplitude, degrees) in [(250e6, 1.0, 0.0), (-1.0, 1.0, 0.0), (1.0, 1.1, 0.0), (1.0, 1.0, -1.0)] {
            tone(hz, amplitude, degrees).expect_err("not allowed");
        }
        tone(f64::NAN, 1.0, 0.0).expect_err("not allowed");
    }
}
