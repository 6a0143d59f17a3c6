//! The result document, written experiment by experiment.
//!
//! A million shots are megabytes of text made of a few different strings. Each different row of an outcome is rendered
//! once and copied, and no second form of the document is ever held.

use std::collections::TryReserveError;
use std::io::Write;

use qspool_driver::{Outcome, Program};
use serde::Serialize;

use super::{BackendName, Document, JobId};

/// Writes the result document of one job.
pub struct ResultWriter {
    text: Vec<u8>,
    has_experiment: bool,
}

/// Which device ran an experiment. Readers of the reference pass over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceMark {
    /// The name of its driver in the configuration.
    pub driver: String,
    /// What it is.
    pub model: String,
    /// Its serial number; may be empty.
    pub serial: String,
    /// Its firmware; may be empty.
    pub firmware: String,
    /// Which calibration turned parameters into levels and times.
    pub calibration: Option<String>,
    /// Whether a simulated device stood in its place.
    pub simulated: bool,
}

/// The fields before `results`, in the order of the contract.
#[derive(Serialize)]
struct Head<'a> {
    backend_name: Option<&'a str>,
    display_name: &'a str,
    backend_version: &'a str,
    job_id: &'a str,
    qobj_id: Option<&'a str>,
    success: bool,
    status: &'a str,
    header: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct ReportedInstruction<'a> {
    name: &'a str,
    wires: &'a [u32],
    params: &'a [f64],
}

impl ResultWriter {
    /// Begins the result of `job_id` on `backend`, with room for `size_bound` bytes of text; fails where the machine
    /// has no such room.
    pub fn new(
        backend: &BackendName,
        backend_version: &str,
        job_id: &JobId,
        size_bound: usize,
    ) -> Result<Self, TryReserveError> {
        let mut text = Vec::new();
        text.try_reserve_exact(size_bound)?;
        let head = Head {
            backend_name: None,
            display_name: backend.as_str(),
            backend_version,
            job_id: job_id.as_str(),
            qobj_id: None,
            success: true,
            status: "DONE",
            header: serde_json::Map::new(),
        };
        write_json(&mut text, &head);
        text.pop();
        text.extend_from_slice(br#","results":["#);
        Ok(Self { text, has_experiment: false })
    }

    /// Appends the result of one experiment. `with_instructions` says whether the instructions are reported, `device`
    /// what ran them, if a device did.
    pub fn push(
        &mut self,
        name: &str,
        program: &Program,
        outcome: &Outcome,
        with_instructions: bool,
        device: Option<&DeviceMark>,
    ) {
        let text = &mut self.text;
        if self.has_experiment {
            text.push(b',');
        }
        self.has_experiment = true;
        text.extend_from_slice(br#"{"header":{"name":"#);
        write_json(text, &name);
        text.extend_from_slice(br#","extra metadata":"text""#);
        if let Some(device) = device {
            text.extend_from_slice(br#","device":"#);
            write_json(text, device);
        }
        text.extend_from_slice(br#"},"shots":"#);
        write_json(text, &program.shots);
        text.extend_from_slice(br#","success":true,"data":{"memory":["#);
        push_memory(text, outcome);
        text.extend_from_slice(br#"],"instructions":"#);
        if with_instructions {
            write_json(text, &reported(program));
        } else {
            text.extend_from_slice(b"null");
        }
        text.extend_from_slice(b"}}");
    }

    /// The finished document.
    pub fn finish(mut self) -> Document {
        self.text.extend_from_slice(b"]}");
        Document::from_text(self.text)
    }
}

/// An upper bound for the bytes that [`ResultWriter::push`] appends for `program`, if each measured value has at most
/// `value_digits` characters.
pub fn result_size_bound(name: &str, program: &Program, value_digits: u64, with_instructions: bool) -> u64 {
    const FIXED: u64 = 160;
    // The longest f64 that serde_json writes has 24 characters.
    const NUMBER: u64 = 25;
    let measured = program.measured_values() as u64;
    let per_shot = if measured == 0 { 0 } else { measured * (value_digits + 1) + 2 };
    let reported = if with_instructions {
        let numbers = |list: usize| list as u64 * NUMBER;
        let one = |i: &qspool_driver::Instruction| 40 + i.name.len() as u64 + numbers(i.wires.len() + i.params.len());
        program.instructions.iter().map(one).sum()
    } else {
        0
    };
    FIXED + name.len() as u64 + u64::from(program.shots) * per_shot + reported
}

/// One string per shot: the values of the measured wires with a space between them.
fn push_memory(text: &mut Vec<u8>, outcome: &Outcome) {
    let (mut rendered, mut ends) = (Vec::new(), vec![0]);
    for row in outcome.rows() {
        render_row(row, &mut rendered);
        ends.push(rendered.len());
    }
    for &shot in outcome.shots() {
        let row = shot as usize;
        text.extend_from_slice(&rendered[ends[row]..ends[row + 1]]);
    }
    if !outcome.shots().is_empty() {
        text.pop();
    }
}

/// Appends the JSON string of one row, with the comma that follows it.
fn render_row(row: &[i64], text: &mut Vec<u8>) {
    text.push(b'"');
    for (place, value) in row.iter().enumerate() {
        if place > 0 {
            text.push(b' ');
        }
        match u8::try_from(*value) {
            Ok(digit @ 0..=9) => text.push(b'0' + digit),
            _ => write!(text, "{value}").expect("writing to memory cannot fail"),
        }
    }
    text.extend_from_slice(b"\",");
}

fn reported(program: &Program) -> Vec<ReportedInstruction<'_>> {
    program
        .instructions
        .iter()
        .map(|i| ReportedInstruction { name: &i.name, wires: &i.wires, params: &i.params })
        .collect()
}

fn write_json(text: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(text.by_ref(), value).expect("writing finite numbers and text to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use qspool_driver::{Instruction, WireOrder};

    use super::*;

    fn program(shots: u32) -> Program {
        let instruction = |name: &str, wires: &[u32], params: &[f64]| Instruction {
            name: name.into(),
            wires: wires.into(),
            params: params.into(),
        };
        Program {
            instructions: vec![
                instruction("rlx", &[0], &[3.0]),
                instruction("measure", &[1], &[]),
                instruction("measure", &[0], &[]),
            ],
            num_wires: 2,
            shots,
            wire_order: WireOrder::Sequential,
            seed: None,
        }
    }

    fn document(experiments: &[(&str, Program, Outcome)], with_instructions: bool) -> Document {
        let backend = "rydberg".parse().expect("a name");
        let job_id = "a1".parse().expect("an id");
        let mut writer = ResultWriter::new(&backend, "0.3", &job_id, 0).expect("room for nothing");
        for (name, program, outcome) in experiments {
            let before = writer.text.len();
            writer.push(name, program, outcome, with_instructions, None);
            let written = (writer.text.len() - before) as u64;
            let allowed = result_size_bound(name, program, 3, with_instructions);
            assert!(written <= allowed, "{written} > {allowed}");
        }
        writer.finish()
    }

    #[test]
    fn a_result_has_the_form_of_the_contract() {
        let mut outcome = Outcome::default();
        outcome.push(&[1, 0]);
        outcome.push(&[120, 7]);
        let result = document(&[("experiment_0", program(2), outcome)], true);
        let expected = concat!(
            r#"{"backend_name":null,"display_name":"rydberg","backend_version":"0.3","job_id":"a1","qobj_id":null,"#,
            r#""success":true,"status":"DONE","header":{},"results":[{"header":{"name":"experiment_0","#,
            r#""extra metadata":"text"},"shots":2,"success":true,"data":{"memory":["1 0","120 7"],"instructions":["#,
            r#"{"name":"rlx","wires":[0],"params":[3.0]},{"name":"measure","wires":[1],"params":[]},"#,
            r#"{"name":"measure","wires":[0],"params":[]}]}}]}"#
        );
        assert_eq!(String::from_utf8_lossy(result.text()), expected);
    }

    #[test]
    fn what_a_device_has_run_names_it() {
        let (backend, job_id) = ("rydberg".parse().expect("a name"), "a1".parse().expect("an id"));
        let mut writer = ResultWriter::new(&backend, "0.3", &job_id, 0).expect("room for nothing");
        let mark = DeviceMark {
            driver: "apparatus".into(),
            model: "counter".into(),
            serial: "7".into(),
            firmware: "1.2".into(),
            calibration: Some("coils 2026-11".into()),
            simulated: true,
        };
        writer.push("experiment_0", &program(1), &Outcome::default(), false, Some(&mark));
        let value: serde_json::Value = serde_json::from_slice(writer.finish().text()).expect("JSON");
        let header = &value["results"][0]["header"];
        assert_eq!((&header["name"], &header["extra metadata"]), (&"experiment_0".into(), &"text".into()));
        assert_eq!(header["device"]["calibration"], "coils 2026-11");
        assert_eq!(header["device"]["simulated"], true);
    }

    #[test]
    fn a_measurement_that_names_no_wire_counts_as_one_value() {
        let mut program = program(2);
        program.instructions.truncate(1);
        program.instructions.push(Instruction { name: "measure".into(), wires: vec![], params: vec![] });
        let mut outcome = Outcome::default();
        outcome.push(&[500]);
        outcome.push(&[499]);
        let result = document(&[("experiment_0", program, outcome)], true);
        assert!(String::from_utf8_lossy(result.text()).contains(r#"["500","499"]"#));
    }

    #[test]
    fn an_experiment_without_measurement_has_an_empty_memory() {
        let result = document(&[("experiment_0", program(2), Outcome::default())], false);
        let value: serde_json::Value = serde_json::from_slice(result.text()).expect("JSON");
        assert_eq!(value["results"][0]["data"], serde_json::json!({"memory": [], "instructions": null}));
    }
}
