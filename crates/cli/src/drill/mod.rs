//! `ottla drill`: nodes are killed under load, and what clients saw is judged, for anyone to see.
//!
//! A producer writes records that say who they are, and a group reads and commits them, while a scenario hits one node
//! after the other. How long clients waited is told after each fault. In the end everything is read back and compared,
//! by the judges of `ottla_verify`. It works on the cluster of `ottla up`, which says why it did what it did, and on any other Kafka whose
//! processes a file describes.
//!
//! Reading order: [`scenario`] (who is hit), [`nodes`] and [`processes_file`] (how), [`cluster`] (what it is asked);
//! [`workload`], [`load`], [`group`], [`watch`] (what clients do and see); [`drive`], [`strike`], [`plant`] (a drill);
//! [`report`], [`figures`], [`replicas`], [`chronicle`], [`story`], [`page`] (what is told); [`commands`].

mod chronicle;
mod cluster;
pub(crate) mod commands;
mod drive;
mod figures;
mod group;
mod load;
mod nodes;
mod page;
mod plant;
mod processes_file;
mod replicas;
mod report;
mod scenario;
mod story;
mod strike;
mod watch;
mod workload;
