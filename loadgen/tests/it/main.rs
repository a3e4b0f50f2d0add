//! The program as its users run it.
#![allow(clippy::unwrap_used, unreachable_pub)] // a test program

mod bad_input;
mod broker_process;
mod brokers;
mod events;
mod fault_proxy;
mod interrupt;
mod latency;
mod own_mles;
mod report_files;
mod scenarios;
mod server_key;
mod support;
mod tampering;
mod tampering_proxy;
mod tampering_scenarios;
mod wire_units;
