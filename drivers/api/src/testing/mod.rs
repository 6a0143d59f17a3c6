//! For the tests of drivers, and of those who use them: a [`Fake`] without hardware, and the [`Conformance`] suite that
//! every driver passes.

mod conformance;
mod fake;
mod rules;

pub use conformance::{Bench, Broken, Conformance, TestDevice, program};
pub use fake::{Defect, Fake, FakeDevice, FakeSettings, Fault, Request};
