//! `ottla install-tools`: links by which Kafka's tools are called under their own names.

use crate::output;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the links go; made if it does not exist.
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = crate::program::path();
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut count = 0;
    for name in super::names() {
        for link in [name.to_owned(), format!("{name}.sh")] {
            replace_link(binary, &directory.join(link))?;
            count += 1;
        }
    }
    output::line(format_args!("{count} links in {}", directory.display()));
    Ok(())
}

/// Makes `link` point to `binary`. Only links are replaced, never files.
fn replace_link(binary: &Path, link: &Path) -> Result<()> {
    match std::fs::symlink_metadata(link) {
        Ok(there) if there.file_type().is_symlink() => {
            std::fs::remove_file(link).with_context(|| link.display().to_string())?;
        }
        Ok(_) => bail!("{} is there already and is no link", link.display()),
        Err(_) => {}
    }
    std::os::unix::fs::symlink(binary, link).with_context(|| link.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (link, file) = (directory.path().join("link"), directory.path().join("file"));
        std::fs::write(&file, "mine").unwrap();

        replace_link(Path::new("/old"), &link).unwrap();
        replace_link(Path::new("/new"), &link).unwrap();

        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("/new"));
        assert!(replace_link(Path::new("/new"), &file).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    }
}
