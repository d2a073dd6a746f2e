//! Tests of transactions.

mod simulation;
mod stories;
