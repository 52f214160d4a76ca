//! Password policies, and passwords judged by them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gateway::fuzzing::password_policy(data);
});
