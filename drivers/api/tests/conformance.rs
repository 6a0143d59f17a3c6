//! The suite finds each way to break the contract.

use std::thread;
use std::time::Duration;

use qspool_driver::StopSupport;
use qspool_driver::testing::{Bench, Conformance, Defect, Fake, FakeDevice, FakeSettings, Fault, TestDevice, program};

struct Hand(FakeDevice);

impl TestDevice for Hand {
    fn unplug(&mut self) -> bool {
        self.0.unplug();
        true
    }

    fn replug(&mut self) {
        self.0.replug();
    }

    fn silence(&mut self) -> bool {
        self.0.break_down(None, Fault::Silence);
        true
    }

    fn end_silence(&mut self) {
        self.0.mend();
    }

    fn is_safe(&mut self) -> Option<bool> {
        Some(self.0.is_safe())
    }
}

fn suite(settings: FakeSettings, is_long: bool) -> Conformance<'static> {
    let good = program(2, &[("rx", &[0], &[1.0]), ("measure", &[0], &[]), ("measure", &[1], &[])]);
    Conformance {
        bench: Box::new(move || {
            let driver = Fake::new(settings.clone());
            let device = Box::new(Hand(driver.device()));
            Bench { driver: Box::new(driver), device }
        }),
        long: is_long.then(|| good.clone()),
        bad: vec![
            (program(2, &[("rx", &[0], &[1.0]), ("ry", &[0], &[1.0])]), Some(1)),
            (program(2, &[("rx", &[4], &[1.0])]), Some(0)),
            (program(2, &[("rx", &[0], &[501.0])]), Some(0)),
        ],
        good,
        many: 10,
        patience: Duration::from_secs(10),
    }
}

fn broken_by(defect: Defect) -> Vec<&'static str> {
    let settings = FakeSettings { defect: Some(defect), ..FakeSettings::default() };
    suite(settings, false).check().iter().map(|broken| broken.rule).collect()
}

#[test]
fn the_fake_passes_however_it_can_be_stopped() {
    for stop in [StopSupport::AtEnd, StopSupport::AfterShot, StopSupport::Now] {
        let mut settings = FakeSettings::default();
        settings.capabilities.stop = stop;
        suite(settings, false).assert();
    }
}

#[test]
fn a_slow_fake_passes_and_is_stopped_in_the_middle_of_a_shot() {
    let settings = FakeSettings { shot_time: Duration::from_millis(300), ..FakeSettings::default() };
    Conformance { many: 4, ..suite(settings, true) }.assert();
}

#[test]
fn each_defect_breaks_its_rule() {
    let expected = [
        (Defect::SafeStateComesLate, "the safe state may come first, and again"),
        (Defect::IdentityChanges, "identify says the same each time"),
        (Defect::LimitsNeedTheDevice, "limits are known without the device"),
        (Defect::ProblemsWithoutInstruction, "a problem names its instruction"),
        (Defect::NothingIsChecked, "a problem names its instruction"),
        (Defect::RunsUnprepared, "a run that was not prepared is an error"),
        (Defect::LosesAShot, "exactly the shots that were asked for come, each whole"),
        (Defect::LosesAValue, "exactly the shots that were asked for come, each whole"),
        (Defect::ValueTooLarge, "exactly the shots that were asked for come, each whole"),
        (Defect::KeepsTheProgram, "the program that was prepared last is run"),
        (Defect::IgnoresStops, "a run stops after its shot"),
        (Defect::StopsUnsafely, "a run stops after its shot"),
        (Defect::IgnoresDeadlines, "no request takes longer than its deadline"),
        (Defect::StaysAway, "a device that is away is an error of the class Device, and is welcome back"),
        (Defect::WrongClass, "a device that is away is an error of the class Device, and is welcome back"),
        (Defect::StaysClosed, "a driver that was closed can be used again"),
    ];
    thread::scope(|scope| {
        for (defect, rule) in expected {
            scope.spawn(move || {
                let broken = broken_by(defect);
                assert!(broken.contains(&rule), "{defect:?} breaks {broken:?}");
            });
        }
    });
}
