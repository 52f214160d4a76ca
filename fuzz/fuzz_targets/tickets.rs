//! Refresh tokens, challenges, devices and enrolments.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gateway::fuzzing::tickets(data);
});
