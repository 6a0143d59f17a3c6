//! `qspool demo`: the daemon at work on a storage of its own, shown with a telling job for each backend.

use std::collections::BTreeMap;
use std::f64::consts::{FRAC_PI_2, PI, TAU};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::chart::{Bar, chart};
use super::failure::{Exit, Failure};
use super::outcome::{ShownResult, real};
use super::output::{self, GOOD, NAME, styled};
use super::plan::plan_of;
use super::submit::{submit, user_of_this_process};
use super::wait::wait_for_end;
use crate::backend::{BackendOptions, SchemaSet};
use crate::job::{BackendName, Document, JobState, StorageName};
use crate::service::{Signal, Signals};
use crate::spooler::{Source, Spooler, SpoolerOptions};
use crate::storage::{Provider, StorageContext, StorageOptions};

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Go on serving afterwards, until interrupted.
    #[arg(long)]
    keep: bool,
    /// Keep the storage in this directory, which has to be empty or new [default: a temporary one].
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// One job of the demonstration: an experiment per value of `x`, and what its shots say.
struct Demonstration {
    backend: &'static str,
    title: &'static str,
    /// What the rows and the bars are.
    legend: &'static str,
    xs: Vec<f64>,
    num_wires: u32,
    wire_order: &'static str,
    instructions: fn(f64) -> Value,
    /// The number drawn, from the values of all shots.
    value: fn(&[Vec<f64>]) -> f64,
    /// What theory says of that number, where it says it in one line.
    theory: Option<fn(f64) -> f64>,
}

const SHOTS: u32 = 2000;

/// The longest that a job of the demonstration may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Atoms of the squeezed ensemble.
const ATOMS: f64 = 40.0;

pub(super) async fn run(arguments: DemoArguments) -> Result<(), Failure> {
    let signals =
        Signals::take_over().map_err(|error| Failure::new(Exit::Failed, "cannot listen for signals").because(error))?;
    let place = Place::find(arguments.directory)?;
    // The defaults, whatever the user has configured: the demonstration touches nothing but its own directory.
    let options = SpoolerOptions::default();
    let context = StorageContext { lease: options.lease(), max_job_bytes: options.max_job_bytes() };
    let name: StorageName = "local".parse()?;
    let provider = Provider::open(name.clone(), &StorageOptions::local(place.path()), context).await?;
    let schemas = SchemaSet::load(None)?;
    let backends = schemas.names().map(|name| (name.clone(), BackendOptions::default())).collect();
    let plan =
        plan_of(backends, &BTreeMap::new(), &schemas, None, vec![(name, Source::Open(provider.clone()))], options)?;

    let shown = place.path().display().to_string();
    output::note(format!("serving four simulators from {}", styled(NAME, &shown)));
    let spooler = Spooler::start(plan);
    let demonstrated = demonstrate(&provider).await;
    if demonstrated.is_ok() && arguments.keep {
        output::note(format!(
            "\nstill serving; in another terminal:\n  QSPOOL_STORAGE_LOCAL_BASE_PATH={shown} qspool submit rydberg JOB.json --wait\n\
             end with Ctrl-C"
        ));
        wait_for_stop(signals).await;
    }
    spooler.drain().await;
    demonstrated
}

async fn wait_for_stop(mut signals: Signals) {
    while signals.next().await == Signal::Reload {}
}

/// Where the demonstration keeps its storage.
enum Place {
    Temporary(tempfile::TempDir),
    Given(PathBuf),
}

impl Place {
    fn find(given: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = given else {
            let directory = tempfile::Builder::new().prefix("qspool-demo-").tempdir();
            return directory
                .map(Self::Temporary)
                .map_err(|error| Failure::new(Exit::Failed, "cannot make a temporary directory").because(error));
        };
        let shown = path.display();
        std::fs::create_dir_all(&path)
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot make {shown}")).because(error))?;
        let is_empty = std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
        if is_empty {
            Ok(Self::Given(path))
        } else {
            Err(Failure::new(Exit::Usage, format!("{shown} is not an empty directory")))
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Temporary(directory) => directory.path().to_owned(),
            Self::Given(path) => path.clone(),
        }
    }
}

/// Submits all jobs, waits for them, and shows what came out.
async fn demonstrate(provider: &Provider) -> Result<(), Failure> {
    let begin = Instant::now();
    let demonstrations = demonstrations();
    let mut submitted = Vec::new();
    for demonstration in &demonstrations {
        let backend: BackendName = demonstration.backend.parse()?;
        let job_id = submit(provider, &backend, &user_of_this_process(), &demonstration.job(), None).await?;
        submitted.push((demonstration, backend, job_id));
    }
    let bar = ProgressBar::new(submitted.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} jobs  {msg}").expect("the template is valid"));
    let mut charts = Vec::new();
    for (demonstration, backend, job_id) in submitted {
        bar.set_message(demonstration.title);
        let status = wait_for_end(provider, &backend, &job_id, Some(PATIENCE), None).await?;
        if status.status != JobState::Done {
            let what = format!("the job {job_id} on {backend} failed");
            return Err(Failure::new(Exit::Failed, what).because(status.error_message));
        }
        let result = provider.get_result(&backend, &job_id).await?;
        let result: ShownResult = result
            .read("result")
            .map_err(|error| Failure::new(Exit::Failed, "the result cannot be read").because(error))?;
        let title = format!("{} on {}", demonstration.title, demonstration.backend);
        let heading = format!("{}  (job {job_id})\n{}", styled(NAME, &title), demonstration.legend);
        charts.push(format!("{heading}\n{}", demonstration.chart(&result)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    output::print(charts.join("\n\n"))?;
    let experiments: usize = demonstrations.iter().map(|demonstration| demonstration.xs.len()).sum();
    let elapsed = begin.elapsed().as_millis();
    let jobs = demonstrations.len();
    let summary =
        format!("{jobs} jobs, {experiments} experiments of {SHOTS} shots, in {elapsed} ms from queue to DONE");
    output::note(format!("\n{} {summary}", styled(GOOD, "done:")));
    Ok(())
}

/// `count` values from 0 to `end`.
fn scan(end: f64, count: u32) -> Vec<f64> {
    (0..count).map(|step| end * f64::from(step) / f64::from(count - 1)).collect()
}

fn demonstrations() -> [Demonstration; 4] {
    [
        Demonstration {
            backend: "multiqudit",
            title: "Rabi oscillation",
            legend: "pulse area → share of atoms in level 1",
            xs: scan(TAU, 13),
            num_wires: 1,
            wire_order: "sequential",
            instructions: |x| json!([["rlx", [0], [x]], ["measure", [0], []]]),
            value: |shots| mean(shots, |shot| shot[0]),
            theory: Some(|x| (x / 2.0).sin().powi(2)),
        },
        Demonstration {
            backend: "singlequdit",
            title: "One-axis twisting of 40 atoms",
            legend: "angle of the measured quadrature → variance; 1 is the noise of independent atoms, less is squeezed",
            xs: scan(PI, 13),
            num_wires: 1,
            wire_order: "sequential",
            instructions: |x| {
                json!([
                    ["load", [0], [ATOMS]],
                    ["rlx", [0], [FRAC_PI_2]],
                    ["rlz2", [0], [0.06]],
                    // Turns the mean spin onto x, so that the next rotation is about it.
                    ["rlz", [0], [FRAC_PI_2]],
                    ["rlx", [0], [x]],
                    ["measure", [0], []]
                ])
            },
            value: |shots| {
                let average = mean(shots, |shot| shot[0]);
                mean(shots, |shot| (shot[0] - average).powi(2)) / (ATOMS / 4.0)
            },
            theory: None,
        },
        Demonstration {
            backend: "fermions",
            title: "Hopping between two tweezers",
            legend: "hopping strength times time → share of atoms in the second tweezer",
            xs: scan(PI, 13),
            num_wires: 8,
            wire_order: "interleaved",
            instructions: |x| json!([["load", [0], []], ["fhop", [0, 1, 2, 3], [x]], ["measure", [2], []]]),
            value: |shots| mean(shots, |shot| shot[0]),
            theory: Some(|x| x.sin().powi(2)),
        },
        Demonstration {
            backend: "rydberg",
            title: "Rydberg blockade of two atoms",
            legend: "interaction during a π pulse → share of shots with both atoms excited",
            xs: scan(24.0, 13),
            num_wires: 2,
            wire_order: "sequential",
            instructions: |x| {
                json!([["rydberg_full", [0, 1, 2, 3, 4], [PI, 0.0, x]], ["measure", [0], []], ["measure", [1], []]])
            },
            value: |shots| mean(shots, |shot| shot[0] * shot[1]),
            theory: None,
        },
    ]
}

fn mean(shots: &[Vec<f64>], of: impl Fn(&[f64]) -> f64) -> f64 {
    shots.iter().map(|shot| of(shot)).sum::<f64>() / real(shots.len())
}

impl Demonstration {
    fn job(&self) -> Document {
        let experiments = self.xs.iter().enumerate().map(|(number, x)| {
            let experiment = json!({
                "instructions": (self.instructions)(*x),
                "num_wires": self.num_wires,
                "shots": SHOTS,
                "wire_order": self.wire_order,
            });
            (format!("experiment_{number}"), experiment)
        });
        Document::new(&Value::Object(experiments.collect()))
    }

    fn chart(&self, result: &ShownResult) -> String {
        let values: Vec<f64> =
            result.results.iter().map(|experiment| (self.value)(&shots(&experiment.data.memory))).collect();
        let maximum = values.iter().copied().fold(1.0, f64::max);
        let bars: Vec<Bar> = self.xs.iter().zip(values).map(|(&x, value)| self.bar(x, value)).collect();
        chart(&bars, maximum)
    }

    fn bar(&self, x: f64, value: f64) -> Bar {
        let note = match self.theory {
            Some(theory) => format!("{value:.3}  (theory {:.3})", theory(x)),
            None => format!("{value:.3}"),
        };
        Bar { label: format!("{x:.2}"), value, note }
    }
}

/// The measured values of each shot.
fn shots(memory: &[String]) -> Vec<Vec<f64>> {
    let values = |shot: &String| shot.split(' ').filter_map(|value| value.parse().ok()).collect();
    memory.iter().map(values).collect()
}
