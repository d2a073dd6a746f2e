//! Programs of Apache Kafka's that live on brokers work unmodified, each killed once; `cargo xtask clients` kills them oftener.
#![expect(clippy::print_stdout, reason = "what was seen is worth a look")]

use ottla_e2e::clients::Effort;
use ottla_e2e::programs::{Program, show};

fn works(program: Program) {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    show(program, Effort::QUICK, directory.path(), |what| println!("{what}"));
}

#[test]
fn a_streams_application_counts_exactly_once() {
    works(Program::Streams);
}

#[test]
fn connect_copies_a_file_into_a_topic_and_the_topic_into_a_file() {
    works(Program::Connect);
}

#[test]
#[ignore = "minutes on a busy machine: `cargo xtask clients mirrormaker --quick`"]
fn mirrormaker_mirrors_a_topic_and_what_a_group_has_committed() {
    works(Program::MirrorMaker);
}
