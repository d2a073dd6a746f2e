//! `meta.properties`: whose log directory this is (version 1; KIP-631, KIP-858).

use crate::disk::{Disk, read_if_exists};
use crate::error::{IoContext, StorageError};
use ottla_types::{NodeId, Uuid};
use std::collections::BTreeMap;
use std::path::Path;

/// The file's name.
pub const META_PROPERTIES: &str = "meta.properties";

/// What a formatted log directory says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`: usually 22 characters of base64url, but any text is allowed.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: NodeId,
    /// `directory.id`.
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// Reads the file of a log directory; `None` when the directory is not formatted.
    ///
    /// # Errors
    /// What the device says, or that the file is malformed.
    pub fn read(disk: &dyn Disk, log_dir: &Path) -> Result<Option<MetaProperties>, StorageError> {
        let path = log_dir.join(META_PROPERTIES);
        let Some(bytes) = read_if_exists(disk, &path).at("read", &path)? else { return Ok(None) };
        parse(&bytes).map(Some).map_err(|reason| StorageError::invalid(&path, reason))
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    /// What the device says.
    pub fn write(&self, disk: &dyn Disk, log_dir: &Path) -> Result<(), StorageError> {
        let path = log_dir.join(META_PROPERTIES);
        let text = format!(
            "cluster.id={}\ndirectory.id={}\nnode.id={}\nversion=1\n",
            self.cluster_id, self.directory_id, self.node_id
        );
        disk.write_atomically(&path, text.as_bytes()).at("write", &path)
    }
}

fn parse(bytes: &[u8]) -> Result<MetaProperties, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    let mut properties = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once('=').ok_or_else(|| format!("`{line}` is no property"))?;
        properties.insert(name.trim(), value.trim());
    }
    let property = |name: &str| properties.get(name).copied().ok_or_else(|| format!("{name} is missing"));
    if property("version")? != "1" {
        return Err("its version is not 1".to_owned());
    }
    Ok(MetaProperties {
        cluster_id: property("cluster.id")?.to_owned(),
        node_id: NodeId(property("node.id")?.parse().map_err(|_| "node.id is no number")?),
        directory_id: property("directory.id")?.parse().map_err(|_| "directory.id is no id")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::SimDisk;

    #[test]
    fn kafkas_file_is_read() {
        let kafka = include_bytes!("../tests/golden/meta.properties");

        let meta = parse(kafka).unwrap();

        assert_eq!(meta.cluster_id, "5L6g3nShT-eMCtK--X86sw");
        assert_eq!(meta.node_id, NodeId(1));
        assert_eq!(meta.directory_id.to_string(), "JjIW29rjEFvvpx9XQr9aEg");
    }

    #[test]
    fn what_is_written_is_read() {
        let disk = SimDisk::new();
        let meta = MetaProperties {
            cluster_id: "any text".to_owned(),
            node_id: NodeId(3),
            directory_id: Uuid::from_u128(1 << 100),
        };
        meta.write(&disk, Path::new("d")).unwrap();

        assert_eq!(MetaProperties::read(&disk, Path::new("d")).unwrap(), Some(meta));
        assert_eq!(MetaProperties::read(&disk, Path::new("e")).unwrap(), None);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "version=0\ncluster.id=a\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAZA", "version=1\nx"]
        {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
