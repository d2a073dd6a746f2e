//! Tasks with names and owners.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// A running task. Dropping it ends the task at its next suspension: whoever starts one owns it.
#[derive(Debug)]
pub struct Task<T = ()>(JoinHandle<T>);

impl<T> Task<T> {
    /// Waits for the task's end; `None` when it was aborted or panicked.
    pub async fn join(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }

    /// Waits for the task's end, without giving it up. Not again once it has ended.
    pub async fn ended(&mut self) {
        let _ = (&mut self.0).await;
    }

    /// Ends the task at its next suspension.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// The task's end, without giving it up: for `poll_fn`. `None` when it was aborted or panicked.
    pub fn poll_task(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }

    /// Returns whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts `future` on the current runtime under `name`, which its log lines carry.
#[expect(clippy::disallowed_methods, reason = "this is the file that spawns")]
pub fn spawn<F>(name: &'static str, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Task(tokio::spawn(future.instrument(tracing::debug_span!("task", name))))
}

/// Starts `future` on the runtime behind `handle`.
pub fn spawn_on<F>(handle: &tokio::runtime::Handle, name: &'static str, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Task(handle.spawn(future.instrument(tracing::debug_span!("task", name))))
}

/// Starts `future` on the current runtime, which alone ends it: for what must be done even when nobody waits for it.
#[expect(clippy::disallowed_methods, reason = "this is the file that spawns")]
pub fn detach<F>(name: &'static str, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(future.instrument(tracing::debug_span!("task", name)));
}
