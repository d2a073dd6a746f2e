//! TXN-4: programs that commit their offsets in transactions, one after the other.
//!
//! The transaction coordinator and the log's own refusals (`crates/storage`) are models: a transaction is decided once, its
//! marker is sent until it is committed, and what a producer sends after its transaction was decided is refused.

use super::super::bench::Logged;
use super::super::client::{GROUP, fetch};
use super::World;
use crate::{ConnectionToken, GroupReply, ReplyToken, RequestContext, records};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequest;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_types::ProducerId;

pub(super) const COPIERS: usize = 2;

/// What copiers read. No consumer does.
const SOURCE: &str = "source";

/// How long a copier waits for an answer before it gives its transaction up.
const PATIENCE_MS: u64 = 4_000;

/// A program that reads a partition of [`SOURCE`], its own, and commits how far in transactions.
#[derive(Debug)]
pub(super) struct Copier {
    partition: i32,
    /// How far all its transactions that have ended have come.
    position: i64,
    transaction: Option<ProducerId>,
    turn: u64,
    /// The request whose answer it waits for.
    open: Option<ReplyToken>,
}

impl Copier {
    pub(super) fn new(index: usize) -> Copier {
        let partition = i32::try_from(index).unwrap();
        Copier { partition, position: -1, transaction: None, turn: 0, open: None }
    }
}

/// What the transaction coordinator knows.
#[derive(Debug)]
pub(super) struct Transaction {
    copier: usize,
    offset: i64,
    /// Whether the copier was told that its offset is stored.
    is_stored: bool,
    /// Whether it is committed, once that is decided.
    pub(super) outcome: Option<bool>,
    /// Up to where the log must be committed for the marker to be, where it is appended.
    marker_end: Option<usize>,
}

/// A request of a copier.
#[derive(Clone, Debug)]
pub(super) enum CopierCall {
    Commit(ProducerId, TxnOffsetCommitRequest),
    Fetch(OffsetFetchRequest),
}

impl World {
    /// Begins a transaction, or decides about the one that is open.
    pub(super) fn wake_copier(&mut self, index: usize, turn: u64) {
        if self.copiers[index].turn != turn {
            return;
        }
        match self.copiers[index].transaction {
            None => self.begin(index),
            Some(transaction) => {
                let known = &self.transactions[&transaction];
                if known.outcome.is_none() {
                    let committed = known.is_stored && self.random.chance(600);
                    self.transactions.get_mut(&transaction).unwrap().outcome = Some(committed);
                    self.after_ms(0, 200, super::Event::Marker { transaction });
                }
                // It looks how far it is meanwhile, as one that takes over for it would.
                self.look(index);
            }
        }
    }

    fn begin(&mut self, index: usize) {
        let transaction = ProducerId(self.transactions.len() as i64);
        let offset = self.copiers[index].position.max(0) + 1 + self.random.below(9) as i64;
        let known = Transaction { copier: index, offset, is_stored: false, outcome: None, marker_end: None };
        self.transactions.insert(transaction, known);
        self.copiers[index].transaction = Some(transaction);
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: self.copiers[index].partition,
            committed_offset: offset,
            ..Default::default()
        };
        let topic = TxnOffsetCommitRequestTopic {
            name: SOURCE.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        self.send_of(index, CopierCall::Commit(transaction, request), PATIENCE_MS);
    }

    fn look(&mut self, index: usize) {
        let mut request = fetch(vec![self.copiers[index].partition]);
        request.groups[0].topics.as_mut().unwrap()[0].name = SOURCE.into();
        self.send_of(index, CopierCall::Fetch(request), 1_000);
    }

    fn send_of(&mut self, index: usize, call: CopierCall, patience_ms: u64) {
        let copier = &mut self.copiers[index];
        copier.turn += 1;
        copier.open = None;
        let turn = copier.turn;
        self.after_ms(patience_ms, patience_ms + 1, super::Event::Copier { index, turn });
        if self.has_faults() && self.random.chance(50) {
            return; // lost
        }
        // What arrives late was given up by then.
        let delay = if self.has_faults() && self.random.chance(100) { 10_000 } else { 20 };
        self.after_ms(0, delay, super::Event::OfCopier { index, turn, call });
    }

    pub(super) fn serve_copier(&mut self, index: usize, turn: u64, call: CopierCall) {
        let token = ReplyToken(self.tokens);
        self.tokens += 1;
        let context = RequestContext {
            client_id: "copier".into(),
            client_host: "/192.0.2.1".into(),
            version: 9,
            connection: ConnectionToken(1_000_000),
            token,
        };
        let copier = &mut self.copiers[index];
        if copier.turn == turn {
            copier.open = Some(token);
        }
        match call {
            CopierCall::Commit(transaction, request) => {
                if self.transactions[&transaction].outcome.is_some() {
                    return; // the log refuses it
                }
                let decision = self.machine.handle_txn_offset_commit(&request, &context, self.now);
                for record in &decision.records {
                    self.append(Logged::OfTransaction(transaction, records::encode(record).unwrap()));
                }
                self.hold(decision);
            }
            CopierCall::Fetch(request) => {
                let decision = self.machine.handle_offset_fetch(&request, &context);
                let [(_, GroupReply::OffsetFetch(response))] = &decision.replies[..] else {
                    panic!("a fetch is answered")
                };
                let told = &response.groups[0].topics[0].partitions[0];
                self.check_told(index, ErrorCode::from(told.error_code), told.committed_offset);
                self.hold(decision);
            }
        }
    }

    /// TXN-4: until a transaction is decided, and when it is aborted, what was there before; once it is committed, what it
    /// says. Or that there is nothing to tell yet, while its marker is not there.
    fn check_told(&self, index: usize, error: ErrorCode, offset: i64) {
        let copier = &self.copiers[index];
        let open = copier.transaction.and_then(|transaction| self.transactions.get(&transaction));
        let expected = match open {
            Some(Transaction { outcome: Some(true), offset, .. }) => *offset,
            _ => copier.position,
        };
        if error == ErrorCode::UnstableOffsetCommit {
            assert!(open.is_some(), "TXN-4: nothing of copier {index} is pending");
        } else {
            let is_right = (error, offset) == (ErrorCode::None, expected);
            assert!(is_right, "TXN-4: copier {index} was told {error} {offset}, not {expected}: {open:?}");
        }
    }

    /// The leader appends a marker; it is sent again until it is committed.
    pub(super) fn write_marker(&mut self, transaction: ProducerId) {
        let known = &self.transactions[&transaction];
        let committed = known.outcome.expect("a marker follows a decision");
        if known.marker_end.is_some_and(|end| end <= self.committed) {
            return self.complete(transaction);
        }
        self.append(Logged::Marker(transaction, committed));
        let end = self.log.len();
        self.transactions.get_mut(&transaction).unwrap().marker_end = Some(end);
        self.replicate(end);
        self.after_ms(100, 2_000, super::Event::Marker { transaction });
    }

    fn complete(&mut self, transaction: ProducerId) {
        let Transaction { copier: index, offset, outcome, .. } = self.transactions[&transaction];
        let copier = &mut self.copiers[index];
        if outcome == Some(true) {
            copier.position = offset;
        }
        copier.transaction = None;
        copier.turn += 1;
        let turn = copier.turn;
        self.after_ms(0, 500, super::Event::Copier { index, turn });
    }

    /// Answers a copier, if the request is one's. One that has given up does not hear it.
    pub(super) fn answer_copier(&mut self, token: ReplyToken, reply: &GroupReply) -> bool {
        if self.open.contains_key(&token) {
            return false;
        }
        let Some(index) = self.copiers.iter().position(|copier| copier.open == Some(token)) else {
            return true;
        };
        let copier = &mut self.copiers[index];
        copier.open = None;
        if let GroupReply::TxnOffsetCommit(response) = reply {
            let stored = response.topics[0].partitions[0].error_code == 0;
            let transaction = copier.transaction.expect("it waits for an answer");
            self.transactions.get_mut(&transaction).unwrap().is_stored = stored;
            copier.turn += 1;
            let turn = copier.turn;
            self.after_ms(0, 100, super::Event::Copier { index, turn });
        }
        true
    }

    /// A new leader has lost the markers that were not committed.
    pub(super) fn forget_markers(&mut self) {
        let kept = self.log.len();
        for transaction in self.transactions.values_mut() {
            transaction.marker_end = transaction.marker_end.filter(|&end| end <= kept);
        }
    }

    pub(super) fn check_copiers_settled(&self) {
        for copier in &self.copiers {
            assert!(copier.position > 0, "TXN-4: {copier:?} gets on");
        }
        let open = self.transactions.values().filter(|known| known.marker_end.is_none()).count();
        assert!(open <= COPIERS, "every transaction ends: {open}");
    }
}
