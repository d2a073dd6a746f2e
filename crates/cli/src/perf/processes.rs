//! What the brokers' processes spend, as the kernel accounts for it.

use super::report::Report;
use crate::up::control;
use crate::up::layout::Layout;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;

/// Which processes are the brokers.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Brokers {
    /// A broker's process id; once for each. Without any, and without --data, costs are not told.
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    /// The directory of an `ottla up` cluster, whose nodes are the brokers.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "pids")]
    data: Option<PathBuf>,
}

impl Brokers {
    /// The processes.
    pub(crate) async fn find(&self) -> Result<Processes> {
        let pids = match &self.data {
            None => self.pids.clone(),
            Some(directory) => {
                let shown = directory.display();
                let layout = Layout::find(directory)?
                    .with_context(|| format!("--data {shown}: no cluster is there"))?;
                control::processes(&layout).await?.into_values().collect()
            }
        };
        let processes = Processes(pids);
        processes.cpu_seconds()?;
        Ok(processes)
    }
}

/// The brokers' processes; none when costs are not to be told.
#[derive(Clone, Debug)]
pub(crate) struct Processes(Vec<u32>);

impl Processes {
    /// CPU seconds that they have spent since they started, in user and kernel; `None` when there are none.
    ///
    /// Counted in clock ticks, 10 ms on most systems.
    pub(crate) fn cpu_seconds(&self) -> Result<Option<f64>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut ticks = 0;
        for pid in &self.0 {
            let path = format!("/proc/{pid}/stat");
            let stat =
                fs::read_to_string(&path).with_context(|| format!("--pid {pid}: cannot read {path}"))?;
            ticks += cpu_ticks(&stat).with_context(|| format!("{path}: cannot be understood"))?;
        }
        Ok(Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// CPU seconds that they have spent since `cpu_seconds` said `before`; not a number when there are none.
    pub(crate) fn cpu_since(&self, before: Option<f64>) -> Result<f64> {
        Ok(self.cpu_seconds()?.zip(before).map_or(f64::NAN, |(after, before)| after - before))
    }

    /// What they hold in memory, in MB: pages shared by several count for each by its part (PSS).
    fn memory_mb(&self) -> Result<Option<f64>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut kb = 0;
        for pid in &self.0 {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text =
                fs::read_to_string(&path).with_context(|| format!("--pid {pid}: cannot read {path}"))?;
            let Some(pss) = pss_kb(&text) else { bail!("{path}: has no Pss") };
            kb += pss;
        }
        Ok(Some(kb as f64 * 1024.0 / 1e6))
    }

    /// Adds what they hold now.
    pub(crate) fn report_memory(&self, report: &mut Report) -> Result<()> {
        if let Some(mb) = self.memory_mb()? {
            report.add("memory_mb", "brokers' memory (PSS)", mb, "MB");
        }
        Ok(())
    }
}

/// User and system time from `/proc/PID/stat`. The second field is the program's name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn pss_kb(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "17 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 41 0 0 20 0 8 0 1 2 3";

        assert_eq!(cpu_ticks(stat), Some(291));
        assert_eq!(cpu_ticks("17 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_spent_and_holds_something() {
        let processes = Processes(vec![std::process::id()]);

        assert!(processes.cpu_seconds().unwrap().is_some());
        assert!(processes.memory_mb().unwrap().unwrap() > 0.1);
        assert!(Processes(vec![u32::MAX]).cpu_seconds().is_err());
        assert_eq!(pss_kb("Rss: 5 kB\nPss:      12 kB\nPss_Dirty: 3 kB\n"), Some(12));
    }
}
