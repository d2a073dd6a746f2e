//! Losses of power, of one host or of all at once, on a topic with `flush.messages=1`; and the syncs without which
//! they would cost records.

use super::world::World;
use crate::Effects;

impl World {
    /// Something of what only happens where power may fail.
    pub(super) fn power_step(&mut self, index: usize) {
        match self.random.below(1000) {
            0..480 => self.begin_flush(index),
            480..988 => self.end_flush(index),
            988..994 => self.lose_power(index),
            994..997 => (0..self.nodes.len()).for_each(|index| self.lose_power(index)),
            _ => self.write_checkpoint(index),
        }
    }

    /// Takes what there is to sync: for a leader that asked for it, or for a follower that is about to fetch on. One
    /// sync at a time, as the driver does it.
    pub(super) fn begin_flush(&mut self, index: usize) {
        let Some(running) = &mut self.nodes[index].running else { return };
        let fetches_on = running.partition.followed().is_some() && running.partition.is_flush_due();
        if running.flush.is_some() || !(running.wants_flush || fetches_on) {
            return;
        }
        running.wants_flush = false;
        running.flush = running.partition.log().records_target();
        let end = running.flush.as_ref().map(|target| target.end_offset());
        self.note(("flush", index, end));
    }

    /// The sync that was begun is over: it covers what was appended before it began, and nothing later.
    pub(super) fn end_flush(&mut self, index: usize) {
        let now = self.now.monotonic;
        let Some(running) = &mut self.nodes[index].running else { return };
        let Some(target) = running.flush.take() else { return };
        target.sync().expect("the disk works");
        let mut effects = Effects::default();
        running.partition.handle_flushed(&target, now, &mut effects);
        self.note(("flushed", index, target.end_offset()));
        self.carry_out(index, effects);
    }

    /// The host goes, and with it what was not synced; it is looked at what is left.
    pub(super) fn lose_power(&mut self, index: usize) {
        self.kill(index);
        self.nodes[index].disk.lose_power(&mut self.random);
        let log = self.open_log(index);
        let end = log.log_end_offset();
        let node = self.nodes[index].id;
        self.judge.lost(node, end);
        self.note(("lose power", index, end));
    }

    /// How often records were lost, acknowledged or not: power losses that cost nothing prove nothing.
    pub(super) fn lost_count(&self) -> usize {
        self.judge.lost_count()
    }
}
