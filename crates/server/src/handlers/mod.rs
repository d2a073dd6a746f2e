//! One file an API, by family. Each file's header says which versions it serves and what it does not.

mod authorized_operations;
pub mod cluster;
pub mod groups;
pub mod quorum;
pub mod records;
pub mod topics;
pub mod transactions;
