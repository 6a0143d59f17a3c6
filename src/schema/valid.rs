//! The mark of what has passed its schema.

use std::ops::Deref;

/// A `T` that has passed its backend's schema. Only this room makes one, so nothing else can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Valid<T>(T);

impl<T> Valid<T> {
    pub(super) fn new(checked: T) -> Self {
        Self(checked)
    }
}

impl<T> Deref for Valid<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
