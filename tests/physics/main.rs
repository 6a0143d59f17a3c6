//! The simulators against closed forms, conservation laws, a slow twin, and references for large systems.

#![expect(clippy::cast_precision_loss, reason = "levels are small whole numbers")]

mod closed_forms;
#[path = "../common/dense.rs"]
mod dense;
mod large_systems;
mod laws;
mod programs;
mod shots;
mod stopping;
mod strategies;
mod twin;
mod unchecked;
