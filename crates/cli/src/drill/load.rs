//! The producer of a drill: idempotent, `acks=all`, at a steady rate, one partition after the other.

use super::workload::Shared;
use ottla_client::producer::{Delivery, Producer, ProducerRecord, SendError};
use ottla_net::{Task, task};
use ottla_types::Monotonic;
use ottla_verify::{Outcome, Stamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Records of a partition that wait for their answers, at most.
const UNDER_WAY_MAX: usize = 1 << 16;

/// How large a record is, in bytes.
pub(super) const RECORD_BYTES: usize = 100;

/// A record that was handed to the producer, when, and where its answer comes.
type Sent = (Stamp, Monotonic, Result<Delivery, SendError>);

/// Sends until it is told to stop, and then until everything has its answer.
pub(super) async fn run(shared: Arc<Shared>, producer: Producer, rate: u32, stop: watch::Receiver<bool>) {
    let (mut queues, mut listening) = (Vec::new(), Vec::<Task>::new());
    for _ in &shared.partitions {
        // Each by itself: a partition that is silent must not hide what another one says.
        let (queue, answers) = mpsc::channel(UNDER_WAY_MAX);
        queues.push(queue);
        listening.push(task::spawn("answers", listen(shared.clone(), answers)));
    }
    send(&shared, &producer, rate, &queues, stop).await;
    drop(queues);
    producer.flush().await;
    for listener in listening {
        // One that panicked has left records without an answer: nobody knows about them.
        let _ = listener.join().await;
    }
}

async fn send(
    shared: &Shared,
    producer: &Producer,
    rate: u32,
    queues: &[mpsc::Sender<Sent>],
    mut stop: watch::Receiver<bool>,
) {
    let period = Duration::from_secs(1) / rate;
    let mut due = shared.clock.monotonic();
    for at in (0..shared.partitions.len()).cycle() {
        tokio::select! {
            biased;
            // An error means that nobody waits for it any more.
            _ = stop.wait_for(|&stop| stop) => return,
            () = shared.clock.sleep_until(Some(due)) => {}
        }
        due = due + period;
        let stamp = shared.history.lock().send(shared.producer, shared.partitions[at]);
        let record = ProducerRecord {
            partition: Some(stamp.partition),
            ..ProducerRecord::of(&shared.topic, stamp.value(RECORD_BYTES))
        };
        let sent = shared.clock.monotonic();
        let accepted = producer.send(record).await;
        if queues[at].send((stamp, sent, accepted)).await.is_err() {
            return;
        }
    }
}

/// Notes what is said of each record of a partition, in the order of sending.
async fn listen(shared: Arc<Shared>, mut answers: mpsc::Receiver<Sent>) {
    while let Some((stamp, sent, accepted)) = answers.recv().await {
        let told = match accepted {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        match told {
            Ok(written) => {
                shared.history.lock().told(stamp, Outcome::Acknowledged(written.offset));
                shared.watch.acknowledged(stamp.partition, sent, shared.clock.monotonic());
            }
            Err(error) if error.was_never_sent() => shared.history.lock().told(stamp, Outcome::Refused),
            Err(_) => {}
        }
    }
}
