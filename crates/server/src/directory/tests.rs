use super::*;
use crate::config::Properties;
use crate::format::{Beginning, Formatted, format};
use ottla_metadata::MetadataVersion;
use ottla_storage::SimDisk;
use ottla_types::{Random, Timestamp};
use std::io::ErrorKind;

const DIRECTORIES: &str = "/a,/b,/c";

fn config(dirs: &str) -> NodeConfig {
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.quorum.voters=1@localhost:9093\nlog.dirs={dirs}\n"
    );
    NodeConfig::new(Properties::parse("test", text.as_bytes()).unwrap()).unwrap()
}

fn format_as(disk: &SimDisk, dirs: &str, cluster: &str, seed: u64) {
    let mut random = Random::new(seed);
    let (beginning, now) = (Beginning::at(MetadataVersion::LATEST), Timestamp(0));
    let disk = Arc::new(disk.clone());
    format(disk, &config(dirs), cluster, &beginning, Formatted::Ignore, now, &mut random).unwrap();
}

fn formatted() -> SimDisk {
    let disk = SimDisk::new();
    format_as(&disk, DIRECTORIES, "c", 1);
    disk
}

fn open(disk: &SimDisk) -> Result<NodeDirectories, DirectoryError> {
    disk.release_locks();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    NodeDirectories::open(&disk, &config(DIRECTORIES))
}

fn incarnation(epoch: i64) -> Incarnation {
    Incarnation { epoch: BrokerEpoch(epoch), registering: None }
}

#[test]
fn all_are_opened_and_the_first_has_the_metadata() {
    let found = open(&formatted()).unwrap();
    assert_eq!((found.data.len(), found.unusable.len()), (3, 0));
    assert_eq!(found.metadata.id(), found.data[0].id());
}

#[test]
fn one_that_is_not_there_is_done_without_but_not_the_metadata_logs() {
    let disk = formatted();
    disk.remove_dir_all(Path::new("/b")).unwrap();
    let found = open(&disk).unwrap();
    assert_eq!((found.data.len(), found.unusable), (2, vec![PathBuf::from("/b")]));
    disk.remove_dir_all(Path::new("/a")).unwrap();
    assert!(matches!(open(&disk), Err(DirectoryError::NotFormatted(path)) if path == Path::new("/a")));
}

#[test]
fn copies_and_directories_of_other_clusters_are_refused() {
    let disk = formatted();
    disk.remove_dir_all(Path::new("/b")).unwrap();
    format_as(&disk, "/b", "another", 2);
    let error = open(&disk).unwrap_err();
    assert!(matches!(&error, DirectoryError::OtherCluster { found, .. } if found == "another"), "{error}");

    let copy = MetaProperties::read(&disk, Path::new("/c")).unwrap().unwrap();
    copy.write(&disk, Path::new("/b")).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, DirectoryError::SameId { .. }), "{error}");
}

#[test]
fn one_that_another_process_has_is_no_failed_disk() {
    let disk = formatted();
    let held: Arc<dyn Disk> = Arc::new(disk.clone());
    let _held = LogDirectory::open(held.clone(), PathBuf::from("/b")).unwrap();
    let error = NodeDirectories::open(&held, &config(DIRECTORIES)).unwrap_err();
    assert!(matches!(&error, DirectoryError::Unusable { source: StorageError::Io { source, .. }, .. }
        if source.kind() == ErrorKind::WouldBlock));
}

/// ACK-1: a broker that says that it has everything may lead what others have acknowledged with it.
#[test]
fn everything_is_there_only_if_all_directories_say_so() {
    let disk = formatted();
    let found = open(&disk).unwrap();
    assert_eq!(complete_since(&found.data, false), incarnation(-1), "none has been used");
    let note = |found: &NodeDirectories, count: usize, epoch: i64| {
        for directory in &found.data[..count] {
            directory.directory.write_incarnation(incarnation(epoch)).unwrap();
        }
    };
    note(&found, 3, 7);
    let found = open(&disk).unwrap();
    assert_eq!(complete_since(&found.data, false), incarnation(7));
    assert_eq!(complete_since(&found.data, true), incarnation(-1));

    note(&found, 2, 9);
    let found = open(&disk).unwrap();
    assert_eq!(complete_since(&found.data, false), incarnation(-1), "one was away meanwhile");

    note(&found, 3, 11);
    disk.remove_dir_all(Path::new("/c")).unwrap();
    format_as(&disk, DIRECTORIES, "c", 3);
    let found = open(&disk).unwrap();
    assert_eq!(complete_since(&found.data, false), incarnation(-1), "one is new");
}
