//! Client libraries that others wrote work unmodified: a little of everything; `cargo xtask clients` does more of it.
#![expect(clippy::print_stdout, reason = "what was seen is worth a look")]

use ottla_e2e::clients::{Effort, Library, show, skipped};

fn works(library: Library) {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    show(library, Effort::QUICK, directory.path(), |what| println!("{what}"));
}

#[test]
fn franz_go_works() {
    works(Library::FranzGo);
}

#[test]
fn kafka_python_works() {
    works(Library::KafkaPython);
}

#[test]
fn kafkajs_works() {
    works(Library::KafkaJs);
}

#[test]
fn sarama_works() {
    works(Library::Sarama);
}

#[test]
fn confluent_kafka_works() {
    works(Library::ConfluentKafka);
}

#[test]
fn aiokafka_works() {
    works(Library::Aiokafka);
}

#[test]
fn the_java_client_of_2_8_works() {
    works(Library::Java28);
}

#[test]
fn the_oldest_java_client_works() {
    works(Library::Java21);
}

#[test]
fn rskafka_works() {
    works(Library::Rskafka);
}

#[test]
fn what_is_skipped_is_written_down() {
    let document = include_str!("../../../docs/clients.md");
    assert_eq!(skipped::missing(document), Vec::<String>::new());
}
