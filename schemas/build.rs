//! A new migration is compiled in without being asked twice.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
