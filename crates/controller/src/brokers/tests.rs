use super::*;
use crate::Settings;
use ottla_metadata::{MetadataDelta, MetadataImage};

/// A controller that took over a log with two active brokers, whose epochs are their ids.
fn controller() -> Controller {
    let mut image = MetadataImage::default();
    for id in [1, 2] {
        let record = register_broker_record::RegisterBrokerRecord {
            broker_id: id,
            broker_epoch: i64::from(id),
            fenced: false,
            ..Default::default()
        };
        image.replay(&MetadataRecord::RegisterBroker(record), &mut MetadataDelta::default()).unwrap();
    }
    image.end.offset = Offset(10);
    Controller::new(Settings::for_tests(), image, 7)
}

fn heartbeat(controller: &mut Controller, id: i32, replayed: i64, leaves: bool) -> BrokerHeartbeatResponse {
    let mut decision = controller.handle_broker_heartbeat(&BrokerHeartbeatRequest {
        broker_id: id,
        broker_epoch: i64::from(id),
        current_metadata_offset: replayed,
        want_shut_down: leaves,
        ..Default::default()
    });
    for record in &decision.records {
        let end = controller.image.end.offset;
        controller.replay(record, end).unwrap();
    }
    decision.replies.pop().unwrap()
}

#[test]
fn an_offset_beyond_all_logs_is_heard_of_and_survived() {
    let answer = heartbeat(&mut controller(), 1, i64::MAX, false);

    assert_eq!(answer.error_code, ErrorCode::None.code());
}

/// The log's end moves on, and the others' heartbeats are always a little behind it.
#[test]
fn a_broker_that_was_leaving_when_the_controller_changed_may_leave_though_the_log_grows() {
    let mut before = controller();
    heartbeat(&mut before, 2, 9, false);
    assert!(!heartbeat(&mut before, 1, 9, true).should_shut_down);
    let mut after = Controller::new(before.settings.clone(), before.image.clone(), 7);

    let end = after.image.end.offset.0;
    heartbeat(&mut after, 2, end - 2, false);
    assert!(!heartbeat(&mut after, 1, 9, true).should_shut_down);
    let reached = after.image.end.offset.0 - 1;
    after.image.end.offset += 5;
    heartbeat(&mut after, 2, reached, false);

    assert!(heartbeat(&mut after, 1, 9, true).should_shut_down);
}
