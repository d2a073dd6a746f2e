//! Hosts: each runs a program on a runtime and a clock of its own, a millisecond at a time.

use anyhow::Result;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::{Builder, RngSeed, Runtime};
use tokio::task::JoinHandle;

/// How long each host runs before the next one does. Messages take at least as long.
pub const TICK: Duration = Duration::from_millis(1);

/// A program: started anew each time its process is.
pub type Program = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>>>;

thread_local! {
    static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
    static SKEW_MS: Cell<i64> = const { Cell::new(0) };
}

/// How many milliseconds the time of day is wrong on the host that is running.
pub fn skew_ms() -> i64 {
    SKEW_MS.get()
}

/// Says how wrong the time of day is on the host that is about to run.
pub fn set_skew_ms(skew_ms: i64) {
    SKEW_MS.set(skew_ms);
}

/// How long the simulation on this thread has lasted; `None` when there is none.
pub fn now() -> Option<Duration> {
    NOW.get()
}

/// Says how long the simulation on this thread has lasted.
pub fn set_now(now: Option<Duration>) {
    NOW.set(now);
}

/// Lets the next task have a number that can be divided by eight: a runtime that ends drops its tasks in an order that
/// depends on their numbers, which go on from one simulation of a process to the next.
pub fn align_tasks() {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    loop {
        let number = runtime.spawn(async {}).id().to_string();
        if number.parse().is_ok_and(|number: u64| number % 8 == 7) {
            return;
        }
    }
}

/// A host.
pub struct Host {
    /// Its name.
    pub name: String,
    program: Program,
    process: Option<Process>,
    /// How many thousandths faster its timers are than those of others.
    pace: i64,
    /// How far they have come beyond those of others, in thousandths of a tick.
    ahead: i64,
}

struct Process {
    runtime: Runtime,
    main: JoinHandle<Result<()>>,
    /// How long it has been stopped (SIGSTOP), if it is.
    frozen_for: Option<Duration>,
}

impl Host {
    /// A host whose process does not run yet.
    pub fn new(name: String, program: Program) -> Host {
        Host { name, program, process: None, pace: 0, ahead: 0 }
    }

    /// Starts the process. The seed decides what its runtime leaves to chance.
    ///
    /// # Panics
    /// When it runs already.
    pub fn start(&mut self, seed: u64) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&seed.to_be_bytes()))
            .build()
            .expect("a runtime");
        // Timers are exact to the millisecond: begin at one.
        runtime.block_on(async { tokio::time::sleep(TICK).await });
        let main = runtime.spawn((self.program)());
        self.process = Some(Process { runtime, main, frozen_for: None });
    }

    /// Lets timers go so many thousandths faster than those of others.
    pub fn set_pace(&mut self, faster: i64) {
        self.pace = faster;
    }

    /// Ends the process: everything it has is dropped.
    pub fn end(&mut self) {
        self.process = None;
    }

    /// Returns whether the process runs, or is frozen.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Stops the process, as SIGSTOP does: it has everything, and does nothing.
    pub fn freeze(&mut self) {
        if let Some(process) = &mut self.process {
            process.frozen_for.get_or_insert(Duration::ZERO);
        }
    }

    /// Lets the process go on: its clocks have gone on meanwhile.
    pub fn thaw(&mut self) {
        if let Some(process) = &mut self.process
            && let Some(pause) = process.frozen_for.take()
        {
            process.runtime.block_on(async { tokio::time::advance(pause).await });
        }
    }

    /// How many ticks its own clock goes on during one of everybody's.
    fn own_ticks(&mut self) -> u32 {
        self.ahead += self.pace;
        let ticks = match self.ahead {
            1000.. => 2,
            ..=-1000 => 0,
            _ => 1,
        };
        self.ahead -= 1000 * (i64::from(ticks) - 1);
        ticks
    }

    /// Lets the process run for a [`TICK`], as its own clock has it. Returns whether its program has ended in order.
    ///
    /// # Errors
    /// What the program ends with.
    pub fn tick(&mut self) -> Result<bool> {
        let passes = TICK * self.own_ticks();
        let Some(process) = &mut self.process else { return Ok(false) };
        if let Some(frozen) = &mut process.frozen_for {
            *frozen += passes;
            return Ok(false);
        }
        if !passes.is_zero() {
            process.runtime.block_on(async { tokio::time::sleep(passes).await });
        }
        if !process.main.is_finished() {
            return Ok(false);
        }
        let ended = process.runtime.block_on(&mut process.main);
        self.process = None;
        // A program that panicked is found by its panic.
        ended.unwrap_or_else(|error| Err(error.into()))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many milliseconds a host's own clock goes on in ten seconds.
    fn passes(pace: i64) -> u32 {
        let mut host = Host::new("node".to_owned(), Box::new(|| Box::pin(std::future::pending())));
        host.set_pace(pace);
        (0..10_000).map(|_| host.own_ticks()).sum()
    }

    #[test]
    fn timers_are_as_fast_as_they_are_set() {
        assert_eq!([passes(0), passes(10), passes(-10)], [10_000, 10_100, 9_900]);
    }
}
