//! A process of either protocol.

use super::classic::{Call, Classic};
use super::client::Client;
use crate::consumer_group::member::Partitions;
use crate::consumer_group::records::flat;
use crate::consumer_group::regex;
use crate::consumer_group::topics::Topics;
use crate::{GroupCoordinator, GroupDecision, GroupReply, ReplyToken, RequestContext};
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_types::{Monotonic, Now, Random, Timestamp};

#[derive(Clone, Debug)]
pub(super) enum Consumer {
    Modern(Client),
    Classic(Classic),
}

/// When a request was sent and answered, and when the answer is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) sent_at: Monotonic,
    pub(super) answered_at: Monotonic,
    pub(super) now: Monotonic,
}

/// What a process sends.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Lives(ConsumerGroupHeartbeatRequest),
    Classic(Call),
    Leave(LeaveGroupRequest),
}

impl Request {
    pub(super) fn version(&self) -> i16 {
        match self {
            Request::Lives(_) => 1,
            Request::Classic(Call::Join(_)) => 9,
            Request::Classic(Call::Sync(_)) | Request::Leave(_) => 5,
            Request::Classic(Call::Heartbeat(_)) => 4,
        }
    }

    pub(super) fn handle(
        &self,
        machine: &mut GroupCoordinator,
        context: &RequestContext,
        topics: &dyn Topics,
        now: Now,
    ) -> GroupDecision {
        match self {
            Request::Lives(request) => machine.handle_consumer_group_heartbeat(request, context, topics, now),
            Request::Classic(Call::Join(request)) => machine.handle_join_group(request, context, topics, now),
            Request::Classic(Call::Sync(request)) => machine.handle_sync_group(request, context, topics, now),
            Request::Classic(Call::Heartbeat(request)) => {
                machine.handle_heartbeat(request, context, topics, now)
            }
            Request::Leave(request) => machine.handle_leave_group(request, context, now),
        }
    }
}

/// What a dynamic member of the classic protocol says when it goes. A static one says nothing.
pub(super) fn farewell(client: &Classic) -> Option<Request> {
    if client.instance_id.is_some() || client.generation < 0 {
        return None;
    }
    let member = MemberIdentity { member_id: client.member_id.clone(), ..Default::default() };
    let request = LeaveGroupRequest { group_id: "g".to_owned(), members: vec![member], ..Default::default() };
    Some(Request::Leave(request))
}

impl Consumer {
    /// The process that takes over from this one.
    pub(super) fn restarted(&self, member_id: String, is_classic: bool, is_cooperative: bool) -> Consumer {
        let (instance_id, mut names) = match self {
            Consumer::Modern(client) => (client.instance_id.clone(), client.names.clone()),
            Consumer::Classic(client) => (client.instance_id.clone(), client.names.clone()),
        };
        if is_classic {
            // It has to be subscribed to something, and has no expressions.
            names.push("a".to_owned());
            names.sort_unstable();
            names.dedup();
            return Consumer::Classic(Classic::new(instance_id, names, is_cooperative));
        }
        match self {
            Consumer::Modern(client) => {
                let mut client = client.clone();
                client.restart(member_id);
                Consumer::Modern(client)
            }
            Consumer::Classic(_) => {
                let mut client = Client::new(member_id, instance_id);
                client.names = names;
                Consumer::Modern(client)
            }
        }
    }

    pub(super) fn member_id(&self) -> &str {
        match self {
            Consumer::Modern(client) => &client.member_id,
            Consumer::Classic(client) => &client.member_id,
        }
    }

    pub(super) fn owned(&self) -> &Partitions {
        match self {
            Consumer::Modern(client) => &client.owned,
            Consumer::Classic(client) => &client.owned,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        match self {
            Consumer::Modern(client) => client.is_running,
            Consumer::Classic(client) => client.is_running,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        match self {
            Consumer::Modern(client) => client.is_settled(),
            Consumer::Classic(client) => client.is_settled(),
        }
    }

    /// The topics that it is subscribed to.
    pub(super) fn topics(&self, topics: &dyn Topics) -> Vec<String> {
        match self {
            Consumer::Modern(client) => {
                let mut names = client.names.clone();
                if !client.regex.is_empty() {
                    names.extend(regex::resolve(&client.regex, topics, Timestamp(0)).topics);
                }
                names
            }
            Consumer::Classic(client) => client.names.clone(),
        }
    }

    pub(super) fn waits_for(&self) -> Option<(ReplyToken, Monotonic)> {
        match self {
            Consumer::Modern(client) => client.waits_for,
            Consumer::Classic(client) => client.waits_for,
        }
    }

    pub(super) fn wait_for(&mut self, token: ReplyToken, now: Monotonic) {
        match self {
            Consumer::Modern(client) => client.waits_for = Some((token, now)),
            Consumer::Classic(client) => client.waits_for = Some((token, now)),
        }
    }

    /// Stops waiting, which closes its connection.
    pub(super) fn give_up(&mut self, now: Monotonic) -> Option<(ReplyToken, Monotonic)> {
        let waited = self.waits_for()?;
        match self {
            Consumer::Modern(client) => {
                client.waits_for = None;
                client.tells_all = true;
            }
            Consumer::Classic(client) => client.lose_connection(now),
        }
        Some(waited)
    }

    pub(super) fn tick(&mut self, now: Monotonic) {
        match self {
            Consumer::Modern(client) => client.tick(now),
            Consumer::Classic(client) => client.tick(now),
        }
    }

    /// What it sends next, and what it says to own by that.
    pub(super) fn request(&mut self, topics: &dyn Topics) -> (Request, Option<Partitions>) {
        match self {
            Consumer::Modern(client) => {
                let request = client.request();
                let owned = request.topic_partitions.as_ref();
                let owned =
                    owned.map(|owned| flat(owned.iter().map(|topic| (topic.topic_id, &topic.partitions))));
                (Request::Lives(request), owned)
            }
            Consumer::Classic(client) => (Request::Classic(client.call(topics)), None),
        }
    }

    /// Takes the answer that it waits for.
    pub(super) fn hear(
        &mut self,
        reply: &GroupReply,
        reported: Option<Partitions>,
        times: Times,
        topics: &dyn Topics,
        random: &mut Random,
    ) {
        match self {
            Consumer::Modern(client) => {
                client.waits_for = None;
                let GroupReply::ConsumerGroupHeartbeat(response) = reply else { panic!("{reply:?}") };
                client.hear(response, reported, times.sent_at, times.now, random);
            }
            Consumer::Classic(client) => {
                client.waits_for = None;
                client.hear(reply, times, topics);
            }
        }
    }
}
