//! The program as its users run it.
#![allow(clippy::unwrap_used, unreachable_pub)] // a test program

mod bad_input;
mod brokers;
mod events;
mod faults;
mod interrupt;
mod kept;
mod keyed;
mod latency;
mod own_mles;
mod proxy;
mod scenarios;
mod started;
mod support;
mod tampering;
mod tampering_scenarios;
mod units;
