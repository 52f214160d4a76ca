//! Who may do what, and why.

pub mod explain;
