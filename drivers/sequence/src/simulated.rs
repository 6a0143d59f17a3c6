//! Atoms behind simulated boards: what the outputs and the sweeper do moves them, and a counter counts them.
//!
//! They are loaded with a time constant, N (1 - exp(-t / tau)). A pulse of duration t turns each of them, which begins in
//! state 0, about an axis in the frame of the drive: with the Rabi frequency W (at the amplitude of the tone), the
//! detuning D and the phase p of the tone about (W cos p, W sin p, D), by sqrt(W^2 + D^2) t. Imaging finds each of them in
//! state 1 with the probability that this gives. Between pulses nothing happens to them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use num_complex::Complex64;
use qspool_dds_sweeper::{Reference, SimulatedDdsSweeper, Tone};
use qspool_driver::{DriverError, ErrorClass};
use qspool_prawndo::SimulatedPrawnDo;
use qspool_serial::{Lines, SimulatedDevice, SimulatedLine, SimulatedPort};
use rand::RngExt as _;

use crate::driver::Simulation;
use crate::file::{SequenceFile, Simulate};

/// The counter; the boards belong to whoever talks to them.
pub(crate) struct Apparatus {
    pub(crate) counter: SimulatedPort,
}

impl Apparatus {
    /// Connects the boards, and the atoms.
    pub(crate) fn connect(file: &SequenceFile, boards: &Simulation) -> Result<Self, DriverError> {
        let counter = SimulatedPort::start(Counter::connect(file, boards)?);
        let failed = |error| DriverError::new(ErrorClass::Configuration, format!("no simulated port: {error}"));
        Ok(Self { counter: counter.map_err(failed)? })
    }
}

impl Counter {
    /// Connects the triggers of the boards to the clock, and the atoms to the boards.
    pub(crate) fn connect(file: &SequenceFile, boards: &Simulation) -> Result<Self, DriverError> {
        let counter = Self::at(file, boards)?;
        let (outputs, sweeper) = (Arc::clone(&boards.outputs), Arc::clone(&boards.sweeper));
        let wire = move |edges: &[Instant]| {
            lock(&outputs).trigger(edges);
            lock(&sweeper).trigger(edges);
        };
        lock(&boards.clock).connect(0, Box::new(wire));
        Ok(counter)
    }

    /// Atoms at boards that are connected.
    pub(crate) fn at(file: &SequenceFile, boards: &Simulation) -> Result<Self, DriverError> {
        let failed = |what: String| DriverError::new(ErrorClass::Configuration, what);
        let Some(atoms) = file.simulate.clone() else {
            return Err(failed(format!(
                "{}: nothing is simulated: the file has no table `simulate`",
                file.device.name
            )));
        };
        let bit = |name: &String| file.outputs.levels([name]).map_err(failed);
        Ok(Self {
            outputs: Arc::clone(&boards.outputs),
            sweeper: Arc::clone(&boards.sweeper),
            load: bit(&atoms.load)?,
            drive: bit(&atoms.drive)?,
            image: bit(&atoms.image)?,
            atoms,
            lines: Lines::default(),
            armed: None,
            counts: None,
        })
    }
}

fn lock<T>(shared: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the atoms in both states when an imaging pulse has ended after it was armed.
pub(crate) struct Counter {
    outputs: Arc<Mutex<SimulatedPrawnDo>>,
    sweeper: Arc<Mutex<SimulatedDdsSweeper>>,
    atoms: Simulate,
    load: u16,
    drive: u16,
    image: u16,
    lines: Lines,
    armed: Option<Instant>,
    counts: Option<[u64; 2]>,
}

impl SimulatedDevice for Counter {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        for command in self.lines.feed(bytes, b'\n') {
            let reply = self.answer(&command);
            line.reply(format!("{reply}\n"));
        }
    }
}

impl Counter {
    fn answer(&mut self, command: &str) -> String {
        match command {
            "*IDN?" => "Example Instruments,AC-2,SIM0001,1.0".into(),
            "OFF" => {
                self.armed = None;
                "ok".into()
            }
            "ARM" => {
                (self.armed, self.counts) = (Some(Instant::now()), None);
                "ok".into()
            }
            "STAT?" => {
                self.look();
                match (self.counts, self.armed) {
                    (Some(_), _) => "done",
                    (None, Some(_)) => "armed",
                    (None, None) => "off",
                }
                .into()
            }
            "READ? 0" => self.counts.map_or("error: nothing was counted".into(), |[_, up]| up.to_string()),
            "READ? 1" => self.counts.map_or("error: nothing was counted".into(), |[down, _]| down.to_string()),
            _ => "error: unknown command".into(),
        }
    }

    fn look(&mut self) {
        let Some(armed) = self.armed.filter(|_| self.counts.is_none()) else { return };
        let switched = lock(&self.outputs).history().to_vec();
        let is_imaged = switched.windows(2).any(|step| step[0].1 & self.image > 0 && step[1].1 & self.image == 0);
        if is_imaged && switched.first().is_some_and(|(begin, _)| *begin >= armed) {
            let tones: Vec<(Instant, Tone)> =
                lock(&self.sweeper).history().iter().map(|(at, tones)| (*at, tones[0])).collect();
            self.counts = Some(self.count(&switched, &tones));
        }
    }

    /// The atoms in state 0 and in state 1.
    fn count(&self, switched: &[(Instant, u16)], tones: &[(Instant, Tone)]) -> [u64; 2] {
        let mut loaded = Duration::ZERO;
        let mut spin = [Complex64::ONE, Complex64::ZERO];
        for step in switched.windows(2) {
            let ((begin, levels), (end, _)) = (step[0], step[1]);
            let time = end - begin;
            if levels & self.load > 0 {
                loaded += time;
            }
            if levels & self.drive > 0 {
                let tone = tones.iter().rev().find(|(at, _)| *at <= begin).map(|(_, tone)| *tone).unwrap_or_default();
                spin = self.turn(spin, tone, time.as_secs_f64());
            }
        }
        let all = self.atoms.atoms * -(-loaded.as_secs_f64() / self.atoms.loading_s).exp_m1();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no more than the file says")]
        let all = all.round().clamp(0.0, 1e7) as u64;
        let mut random = rand::rng();
        let excited = spin[1].norm_sqr().clamp(0.0, 1.0);
        let up = (0..all).filter(|_| random.random_bool(excited)).count() as u64;
        [all - up, up]
    }

    fn turn(&self, [down, up]: [Complex64; 2], tone: Tone, seconds: f64) -> [Complex64; 2] {
        let turn = 2.0 * std::f64::consts::PI;
        let rabi = turn * self.atoms.rabi_hz * f64::from(tone.amplitude) / 1023.0;
        let detuning = turn * (tone.hz(Reference::PICO.system_clock()) - self.atoms.resonance_hz);
        let whole = rabi.hypot(detuning);
        if whole * seconds < 1e-12 {
            return [down, up];
        }
        let phase = turn * f64::from(tone.phase) / 16_384.0;
        let (sin, cos) = (whole * seconds / 2.0).sin_cos();
        // cos - i sin (n . sigma)
        let along = Complex64::new(0.0, -sin * detuning / whole);
        let across = Complex64::new(0.0, -sin * rabi / whole) * Complex64::from_polar(1.0, -phase);
        let back = Complex64::new(0.0, -sin * rabi / whole) * Complex64::from_polar(1.0, phase);
        [(cos + along) * down + across * up, back * down + (cos - along) * up]
    }
}
