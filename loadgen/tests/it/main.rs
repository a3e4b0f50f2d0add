//! The program as its users run it.
#![allow(clippy::unwrap_used, unreachable_pub)] // a test program

mod bad_input;
mod brokers;
mod faults;
mod interrupt;
mod kept;
mod latency;
mod proxy;
mod started;
mod support;
mod tampering;
mod units;
