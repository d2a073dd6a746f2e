//! How much a directory has on the disk, day by day.

use ottla_storage::{Disk, SimDisk};
use std::path::Path;

/// What a directory's files had, at the end of each day.
#[derive(Debug, Default)]
pub(super) struct Sizes(Vec<u64>);

impl Sizes {
    /// Takes note of what all files of a directory have now, those that are about to be removed too.
    pub(super) fn note(&mut self, disk: &SimDisk, dir: &Path) {
        let size = |name: &str| disk.open(&dir.join(name)).unwrap().size().unwrap();
        self.0.push(disk.list(dir).unwrap().iter().map(|entry| size(&entry.name)).sum());
    }

    /// The most in any of these days.
    fn most(days: &[u64]) -> u64 {
        days.iter().copied().max().unwrap_or(0)
    }

    /// Checks that there never were more bytes than `bytes_max`, and that the last quarter had no more than the second did, but
    /// for a tenth: what begins with everything empty needs a while until it is as large as it gets.
    ///
    /// # Errors
    /// What grows.
    pub(super) fn check(&self, bytes_max: u64) -> Result<(), String> {
        let most = Sizes::most(&self.0);
        if most > bytes_max {
            return Err(format!("{most} bytes after {} days, {bytes_max} were allowed", self.0.len()));
        }
        let quarter = self.0.len() / 4;
        let early = Sizes::most(&self.0[quarter..2 * quarter]);
        let late = Sizes::most(&self.0[3 * quarter..]);
        if late > early + early / 10 {
            return Err(format!("it grows: {early} bytes in the second quarter, {late} in the last"));
        }
        Ok(())
    }

    /// The most there ever was.
    pub(super) fn peak(&self) -> u64 {
        Sizes::most(&self.0)
    }
}

#[test]
fn what_grows_slowly_is_noticed_though_it_is_small() {
    let steady = Sizes((0..100).map(|day| 1000 + day % 7 * 100).collect());
    let growing = Sizes((0..100).map(|day| 1000 + day * 10).collect());

    assert_eq!(steady.check(1600), Ok(()));
    assert!(steady.check(1599).is_err());
    assert!(growing.check(1_000_000).unwrap_err().starts_with("it grows"));
}
