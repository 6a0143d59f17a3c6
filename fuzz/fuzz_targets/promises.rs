//! What holds for every verdict on every text.

use qspool::job::Job;
use qspool::schema::{Rejection, Valid};

/// Panics if the verdict on a text of `size` bytes breaks a promise.
pub(crate) fn check(verdict: &Result<Valid<Job>, Rejection>, size: usize) {
    match verdict {
        Ok(job) => check_job(job, size),
        Err(rejection) => {
            let message = rejection.to_string();
            assert!(!message.is_empty() && message.len() <= 400, "{} bytes: {message}", message.len());
            assert!(!message.chars().any(char::is_control), "{message:?}");
            assert!((1..=20).contains(&rejection.problems().len()), "{message}");
        }
    }
}

fn check_job(job: &Job, size: usize) {
    assert!(!job.experiments.is_empty());
    let mut parts = 0;
    for experiment in &job.experiments {
        let program = &experiment.program;
        assert!(experiment.name.starts_with("experiment_"));
        assert!(program.num_wires >= 1 && program.shots >= 1 && !program.instructions.is_empty());
        for instruction in &program.instructions {
            assert!(instruction.params.iter().all(|param| param.is_finite()));
            parts += 1 + instruction.wires.len() + instruction.params.len();
        }
    }
    assert!(parts <= size);
}
