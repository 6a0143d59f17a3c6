//! What stands in for the box: lamps whose light is their time in ms.

use qspool_serial::{Lines, SimulatedDevice, SimulatedLine};

/// The box as it behaves on its serial port.
#[derive(Default)]
pub(crate) struct LampBox {
    lines: Lines,
    programmed: [i64; 2],
    seen: [i64; 2],
}

impl SimulatedDevice for LampBox {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        for command in self.lines.feed(bytes, b'\n') {
            let reply = self.answer(&command);
            line.reply(format!("{reply}\n"));
        }
    }
}

impl LampBox {
    fn answer(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let lamp = |word: &str| word.parse::<usize>().ok().filter(|lamp| *lamp < 2);
        match words[..] {
            ["who"] => "lampbox 1.4".into(),
            ["dark"] => "ok".into(),
            ["clear"] => {
                (self.programmed, self.seen) = ([0; 2], [0; 2]);
                "ok".into()
            }
            ["lamp", which, time] => match (lamp(which), time.parse::<i64>()) {
                (Some(which), Ok(time)) => {
                    self.programmed[which] += time;
                    "ok".into()
                }
                _ => "error".into(),
            },
            ["shot"] => {
                self.seen = self.programmed;
                "ok".into()
            }
            ["light", which] => lamp(which).map_or("error".into(), |which| self.seen[which].to_string()),
            ["lamps"] => "off off".into(),
            _ => "error".into(),
        }
    }
}
