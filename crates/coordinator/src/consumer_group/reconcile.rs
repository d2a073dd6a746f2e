//! A member is brought nearer to its target: it gives up, then takes over what others have given up
//! (`org.apache.kafka.coordinator.group.modern.consumer.CurrentAssignmentBuilder`).
//!
//! ```text
//!                                   gives something up
//!        ┌──────────── Stable ───────────────────────────▶ UnrevokedPartitions ◀─┐ and there
//!        │                ▲                                   │            └──────┘ is more
//!        │ others still   │ has all                           │ it has said that it did:
//!        │ own some of it │                                   │ it enters the target's epoch
//!        ▼                │                                   ▼
//!   UnreleasedPartitions ─┴──────────────── Stable, or UnreleasedPartitions
//! ```
//!
//! A member stays at its epoch until it has given up all that is not its own any more. So who is at an epoch has nothing that
//! the target of this epoch gives to somebody else.

use super::bug::{Bug, is_made};
use super::member::{Current, Held, MemberState, Partitions};
use ottla_types::TopicIdPartition;

/// What a member is reconciled with.
pub(crate) struct Reconciliation<'a, F: Fn(&TopicIdPartition) -> bool, S: Fn(&TopicIdPartition) -> bool> {
    /// The epoch of the target.
    pub(crate) target_epoch: i32,
    /// What it is to have.
    pub(crate) target: &'a Partitions,
    /// What the member says it owns; `None` when it does not say.
    pub(crate) owned: Option<&'a Partitions>,
    /// Whether anybody owns a partition.
    pub(crate) is_owned: F,
    /// Whether the member is subscribed to a partition's topic. Its target may be older than its subscription.
    pub(crate) is_subscribed: S,
}

impl<F: Fn(&TopicIdPartition) -> bool, S: Fn(&TopicIdPartition) -> bool> Reconciliation<'_, F, S> {
    /// The next that a member is to have, or what it has while it cannot go on. It must have no unknown state.
    pub(crate) fn of(&self, current: &Current) -> Current {
        match current.state {
            MemberState::Stable if current.epoch == self.target_epoch => self.strip(current),
            MemberState::UnrevokedPartitions if self.still_owns(&current.revoking) => self.strip(current),
            MemberState::Stable | MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                self.advance(current, current.epoch)
            }
            // It has just said that it owns nothing.
            MemberState::Unknown => self.advance(current, self.target_epoch),
        }
    }

    /// Takes away topics that the member is not subscribed to any more; its target comes later.
    fn strip(&self, current: &Current) -> Current {
        let (kept, mut revoking): (Held, Held) =
            current.assigned.iter().partition(|(partition, _)| (self.is_subscribed)(partition));
        if revoking.is_empty() {
            return current.clone();
        }
        // All or nothing: a member that is giving something up may not have taken yet what it was given with that.
        revoking.extend(&current.revoking);
        let gives_up = self.still_owns(&revoking);
        if gives_up {
            return Current {
                state: MemberState::UnrevokedPartitions,
                previous_epoch: current.epoch,
                assigned: kept,
                revoking,
                ..*current
            };
        }
        Current {
            previous_epoch: current.epoch,
            assigned: kept,
            revoking: current.revoking.clone(),
            ..*current
        }
    }

    fn advance(&self, current: &Current, epoch: i32) -> Current {
        let is_target =
            |partition: &TopicIdPartition| self.target.contains(partition) && (self.is_subscribed)(partition);
        let (mut assigned, revoking): (Held, Held) =
            current.assigned.iter().partition(|(partition, _)| is_target(partition));
        if self.still_owns(&revoking) {
            let state = MemberState::UnrevokedPartitions;
            return Current { state, epoch, previous_epoch: current.epoch, assigned, revoking };
        }
        let mut state = MemberState::Stable;
        for partition in self.target.iter().filter(|partition| is_target(partition)) {
            if assigned.contains_key(partition) {
                continue;
            }
            // What it has just given up itself is free.
            let is_its_own = current.revoking.contains_key(partition);
            if (self.is_owned)(partition) && !is_its_own && !is_made(Bug::ReleaseNotAwaited) {
                state = MemberState::UnreleasedPartitions;
            } else {
                assigned.insert(*partition, self.target_epoch);
            }
        }
        let epoch = self.target_epoch;
        Current { state, epoch, previous_epoch: current.epoch, assigned, revoking: Held::new() }
    }

    /// Returns whether the member may own some of these, as far as it has said.
    fn still_owns(&self, revoked: &Held) -> bool {
        if revoked.is_empty() {
            return false;
        }
        match self.owned {
            Some(owned) => owned.iter().any(|partition| revoked.contains_key(partition)),
            None => !is_made(Bug::SilenceTakenForRevocation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Uuid;

    fn partitions(numbers: &[i32]) -> Partitions {
        let topic = Uuid::from_u128(7);
        numbers.iter().map(|&number| TopicIdPartition::new(topic, number)).collect()
    }

    fn held(numbers: &[i32], epoch: i32) -> Held {
        partitions(numbers).into_iter().map(|partition| (partition, epoch)).collect()
    }

    /// Reconciles with a target at epoch 6; `elsewhere` is owned by others.
    fn next(current: &Current, target: &[i32], owned: Option<&[i32]>, elsewhere: &[i32]) -> Current {
        let (target, elsewhere) = (partitions(target), partitions(elsewhere));
        let owned = owned.map(partitions);
        Reconciliation {
            target_epoch: 6,
            target: &target,
            owned: owned.as_ref(),
            is_owned: |partition| {
                elsewhere.contains(partition) || current.owned().any(|own| own == partition)
            },
            is_subscribed: |_| true,
        }
        .of(current)
    }

    fn stable(numbers: &[i32]) -> Current {
        Current { epoch: 5, previous_epoch: 4, assigned: held(numbers, 5), ..Current::default() }
    }

    #[test]
    fn what_is_free_is_given_at_once() {
        let is = next(&stable(&[0]), &[0, 1], None, &[]);

        assert_eq!((is.state, is.epoch, is.previous_epoch), (MemberState::Stable, 6, 5));
        assert_eq!(
            is.assigned.into_iter().map(|(p, epoch)| (p.partition, epoch)).collect::<Vec<_>>(),
            [(0, 5), (1, 6)]
        );
    }

    #[test]
    fn what_is_to_be_given_up_holds_the_member_at_its_epoch() {
        let asked = next(&stable(&[0, 1]), &[0, 2], None, &[]);

        assert_eq!((asked.state, asked.epoch), (MemberState::UnrevokedPartitions, 5));
        assert_eq!((&asked.assigned, &asked.revoking), (&held(&[0], 5), &held(&[1], 5)));
        assert_eq!(next(&asked, &[0, 2], None, &[]), asked, "silence says nothing");
        assert_eq!(next(&asked, &[0, 2], Some(&[0, 1]), &[]), asked, "it still has it");

        let done = next(&asked, &[0, 2], Some(&[0]), &[]);

        assert_eq!((done.state, done.epoch, done.revoking.len()), (MemberState::Stable, 6, 0));
        assert_eq!(done.assigned.len(), 2);
    }

    #[test]
    fn what_others_own_is_waited_for() {
        let waiting = next(&stable(&[0]), &[0, 1, 2], None, &[1]);

        assert_eq!((waiting.state, waiting.epoch), (MemberState::UnreleasedPartitions, 6));
        assert_eq!(waiting.assigned.keys().map(|p| p.partition).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(next(&waiting, &[0, 1, 2], None, &[]).state, MemberState::Stable);
    }

    #[test]
    fn what_was_given_up_can_be_had_again_at_once() {
        let asked =
            Current { state: MemberState::UnrevokedPartitions, revoking: held(&[1], 5), ..stable(&[0]) };

        let done = next(&asked, &[0, 1], Some(&[0]), &[]);

        assert_eq!((done.state, done.assigned.len()), (MemberState::Stable, 2));
    }

    #[test]
    fn a_topic_that_is_not_subscribed_to_is_taken_away_before_there_is_another_target() {
        let current = Current { epoch: 6, ..stable(&[0]) };
        let target = partitions(&[0]);
        let stripped = |owned: Option<&Partitions>| {
            Reconciliation {
                target_epoch: 6,
                target: &target,
                owned,
                is_owned: |_| true,
                is_subscribed: |_| false,
            }
            .of(&current)
        };

        assert_eq!(stripped(None).state, MemberState::UnrevokedPartitions);
        assert_eq!(stripped(None).revoking, held(&[0], 5));
        assert_eq!(stripped(Some(&Partitions::new())).state, MemberState::Stable);
        assert!(stripped(Some(&Partitions::new())).assigned.is_empty());
    }
}
