//! What a broker itself writes into partitions that it leads: coordinators' records, and the markers of transactions.

use super::{Replica, ReplicaManager};
use ottla_records::{Origin, validate};
use ottla_replication::{AppendError, Effects, Outcome};
use ottla_storage::Terms;
use ottla_types::{LeaderEpoch, Now};
use tokio::sync::oneshot;

/// Appends batches, one after the other, as a producer with `acks=all`; in this term of leadership only, if one is named.
/// `terms` are those of each. What is returned tells when all of them are committed.
///
/// # Errors
/// When one is not appended. Those before it are then.
pub fn append(
    replicas: &ReplicaManager,
    replica: &Replica,
    batches: &mut [Vec<u8>],
    term: Option<LeaderEpoch>,
    terms: &Terms,
    now: Now,
) -> Result<oneshot::Receiver<Outcome>, AppendError> {
    let rules = replica.log_config().rules(Origin::Coordinator, now.wall);
    let valid: Result<Vec<_>, _> = batches.iter_mut().map(|batch| validate(batch, &rules)).collect();
    let valid = valid.map_err(|error| AppendError::Log(error.into()))?;
    let mut effects = Effects::default();
    let mut partition = replica.lock();
    if term.is_some_and(|term| partition.leader_epoch() != term) {
        return Err(AppendError::NotLeader);
    }
    let appended: Result<Vec<_>, _> =
        valid.into_iter().map(|batch| partition.append_on(batch, true, terms, now, &mut effects)).collect();
    let outcome = appended.map(|_| {
        let (id, outcome) = replicas.waiting().producer();
        let end = partition.log().log_end_offset();
        if let Some(known) = partition.wait_for_commit(end, id) {
            effects.produced.push((id, known));
        }
        outcome
    });
    drop(partition);
    replicas.carry_out(effects);
    outcome
}
