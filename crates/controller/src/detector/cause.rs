//! Why a broker is fenced, told so that an operator can follow it.

use super::{ClosedBy, ProbeEndpoint, ProbeOutcome};
use ottla_types::BrokerEpoch;
use std::fmt;
use std::time::Duration;

/// How a broker came to have no connection with this controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It had some; the last one was closed by its side.
    Closed,
    /// It has had none since this controller became the active one.
    NeverConnected,
}

/// The rule by which a broker is fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody listens where it was proven to listen.
    Gone {
        /// The endpoint that refused twice.
        endpoint: ProbeEndpoint,
        /// Why it has no connection.
        absence: Absence,
        /// Since when, up to the verdict.
        absent: Duration,
    },
    /// It closed its connections, and neither answers nor reconnects.
    Left {
        /// From the close of its last connection to the verdict.
        absent: Duration,
        /// How long it was asked in vain, this node's own stalls subtracted.
        unanswered: Duration,
        /// How many times it was dialled since.
        dials: u32,
    },
    /// It has not been heard of for too long.
    Silent {
        /// Since its last contact, this node's own stalls subtracted.
        silence: Duration,
        /// How long it might have been silent.
        allowed: Duration,
        /// The longest gap between its contacts in the last five minutes, if two were seen.
        longest_gap: Option<Duration>,
        /// How many of its connections are still open.
        connections: usize,
    },
}

impl Cause {
    /// The rule's name, as the story begins with it.
    pub fn rule(&self) -> &'static str {
        match self {
            Cause::Gone { .. } => "gone",
            Cause::Left { .. } => "left",
            Cause::Silent { .. } => "silent",
        }
    }

    /// How long the broker had been away at the verdict: since its last connection closed, or since its last contact.
    pub fn absent(&self) -> Duration {
        match self {
            Cause::Gone { absent, .. } | Cause::Left { absent, .. } => *absent,
            Cause::Silent { silence, .. } => *silence,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Gone { endpoint, absence: Absence::Closed, absent } => {
                write!(f, "gone: its connections closed {} ago, {endpoint} refused twice", Readable(*absent))
            }
            Cause::Gone { endpoint, absence: Absence::NeverConnected, absent } => write!(
                f,
                "gone: it has not connected to this controller for {}, {endpoint} refused twice",
                Readable(*absent)
            ),
            Cause::Left { absent, unanswered, dials } => write!(
                f,
                "left: its connections closed {} ago, for {} it neither answered {dials} dials nor reconnected",
                Readable(*absent),
                Readable(*unanswered)
            ),
            Cause::Silent { silence, allowed, longest_gap, connections } => {
                let (silence, allowed) = (Readable(*silence), Readable(*allowed));
                write!(f, "silent: not heard of for {silence}, {allowed} allowed")?;
                if let Some(gap) = longest_gap {
                    write!(f, ", its longest gap before was {}", Readable(*gap))?;
                }
                match connections {
                    0 => f.write_str("; it has no connection open"),
                    1 => f.write_str("; its connection is still open"),
                    n => write!(f, "; {n} of its connections are still open"),
                }
            }
        }
    }
}

/// Something seen of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A connection of its ended.
    ConnectionClosed(ClosedBy),
    /// A dial of its ended.
    Probed(ProbeEndpoint, ProbeOutcome),
    /// A process spoke under this broker's id and an epoch that is not the registered one.
    OtherEpoch(BrokerEpoch),
    /// This node did nothing for so long.
    Stalled(Duration),
    /// This node became the active controller.
    Activated,
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observation::ConnectionClosed(ClosedBy::Peer) => f.write_str("a connection closed by its side"),
            Observation::ConnectionClosed(ClosedBy::Us) => f.write_str("a connection closed by this side"),
            Observation::Probed(endpoint, outcome) => write!(f, "{endpoint} {outcome}"),
            Observation::OtherEpoch(epoch) => write!(f, "a process spoke with epoch {epoch}"),
            Observation::Stalled(duration) => {
                write!(f, "this controller stalled for {}", Readable(*duration))
            }
            Observation::Activated => f.write_str("this controller became active"),
        }
    }
}

/// The last things seen of a broker before a verdict, oldest first: how long before it, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence(pub Vec<(Duration, Observation)>);

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (ago, what)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} before: {what}", Readable(*ago))?;
        }
        Ok(())
    }
}

/// A duration as people say it: `7 ms`, `1.25 s`, `40 s`.
struct Readable(Duration);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0..1_000 => write!(f, "{millis} ms"),
            1_000..10_000 => write!(f, "{}.{:02} s", millis / 1000, millis % 1000 / 10),
            _ => write!(f, "{} s", millis / 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::EndpointKind;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_cause_is_a_line_of_a_story() {
        let endpoint = ProbeEndpoint { host: "localhost".to_owned(), port: 9093, kind: EndpointKind::Broker };
        let cases = [
            (
                Cause::Gone {
                    endpoint: endpoint.clone(),
                    absence: Absence::Closed,
                    absent: Duration::from_micros(6_900),
                },
                "gone: its connections closed 6 ms ago, localhost:9093 refused twice",
            ),
            (
                Cause::Gone { endpoint, absence: Absence::NeverConnected, absent: millis(12) },
                "gone: it has not connected to this controller for 12 ms, localhost:9093 refused twice",
            ),
            (
                Cause::Left { absent: millis(3250), unanswered: millis(250), dials: 9 },
                "left: its connections closed 3.25 s ago, for 250 ms it neither answered 9 dials nor reconnected",
            ),
            (
                Cause::Silent {
                    silence: millis(1000),
                    allowed: millis(1000),
                    longest_gap: Some(millis(210)),
                    connections: 1,
                },
                "silent: not heard of for 1.00 s, 1.00 s allowed, its longest gap before was 210 ms; \
                 its connection is still open",
            ),
            (
                Cause::Silent {
                    silence: millis(60_000),
                    allowed: millis(9000),
                    longest_gap: None,
                    connections: 0,
                },
                "silent: not heard of for 60 s, 9.00 s allowed; it has no connection open",
            ),
        ];
        for (cause, story) in cases {
            assert_eq!(cause.to_string(), story);
            assert!(story.starts_with(&format!("{}: ", cause.rule())), "{story}");
        }
    }

    #[test]
    fn evidence_is_told_from_the_oldest_on() {
        let evidence = Evidence(vec![
            (millis(7), Observation::ConnectionClosed(ClosedBy::Peer)),
            (millis(0), Observation::OtherEpoch(BrokerEpoch(41))),
        ]);

        assert_eq!(
            evidence.to_string(),
            "7 ms before: a connection closed by its side, 0 ms before: a process spoke with epoch 41"
        );
    }
}
