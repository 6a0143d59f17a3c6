//! For the tests of drivers.
