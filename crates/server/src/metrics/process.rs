//! What the system says of this process. Empty where there is no `/proc`.

use rustix::param::{clock_ticks_per_second, page_size};
use std::fs;

/// A figure of the process, by its usual name.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) value: f64,
}

/// The figures that Prometheus' own clients give.
pub(super) fn figures() -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name, help, value: Option<f64>| {
        figures.extend(value.map(|value| Figure { name, help, value }));
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold spaces; what follows it does not.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    // Numbered as in proc(5), where the first of these is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let ticks = clock_ticks_per_second() as f64;
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    add("process_cpu_seconds", "Processor time used, in seconds.", cpu);
    let resident = field(24).map(|pages| pages * page_size() as f64);
    add("process_resident_memory_bytes", "Memory in use, in bytes.", resident);
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    add("process_open_fds", "Open file descriptors.", open);
    figures
}
