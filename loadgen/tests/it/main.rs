//! The program as its users run it.
#![allow(clippy::unwrap_used, unreachable_pub)] // a test program

/// Makes a module for each broker, with a test for each of the functions that take a broker's name.
macro_rules! test_brokers {
    ($tests:tt for $($module:ident: $broker:literal,)*) => {
        $(test_brokers! { @one $module, $broker, $tests })*
    };
    (@one $module:ident, $broker:literal, [$($test:ident,)*]) => {
        mod $module {
            $(#[test]
            fn $test() {
                super::$test($broker);
            })*
        }
    };
}

mod bad_input;
mod broker_process;
mod brokers;
mod drain;
mod events;
mod fault_proxy;
mod interrupt;
mod latency;
mod own_mles;
mod positions;
mod publish;
mod readiness;
mod reconnect;
mod report_files;
mod scenarios;
mod server_key;
mod support;
mod tampering;
mod tampering_proxy;
mod tampering_scenarios;
mod wire_units;
