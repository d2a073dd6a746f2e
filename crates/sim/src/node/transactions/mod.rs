//! Producers that write by transactions, and who looks at the end whether all of them are whole.

pub mod transactor;
pub mod transfers;
