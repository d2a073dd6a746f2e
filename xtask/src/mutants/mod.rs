//! `cargo xtask mutants`: requests that are made from the schemas and then made wrong, sent to Ottla and to Apache Kafka.
//!
//! Reading order: [`requests`] (what is right), [`mutation`] (what is made wrong), [`codec`] (bytes, by a schema alone),
//! [`side`] (a node, and what becomes of a request there), [`report`], then here.

mod chance;
mod codec;
mod mutation;
mod records;
mod report;
mod requests;
mod side;

use crate::codegen::{SCHEMAS, parse, schema};
use anyhow::{Context, Result, bail};
use chance::Chance;
use report::Report;
use requests::{Maker, Round};
use side::{Outcome, Side};
use std::collections::BTreeMap;
use std::fs;

pub(crate) const USAGE: &str = "usage: cargo xtask mutants [N [SEED]] --ottla HOST:PORT [OPTIONS]

  N                      how many requests, 10000 unless told otherwise
  SEED                   which, 1 unless told otherwise
  --kafka HOST:PORT      compares with this node of Apache Kafka; without it, looks only that each is answered or closed
  --controllers OTTLA KAFKA  sends them to these listeners of controllers
  --only API[,API]       of these APIs only
  --verbose              tells each mutant that differs

docs/bad-input.md says how to start the two.";

const MUTANTS: usize = 10_000;

/// The report of the last run.
const REPORT: &str = "target/mutants.md";

/// Mutants that share a world, which is then made anew.
const ROUND: usize = 20;

/// The same, of APIs that change the world.
const SHORT_ROUND: usize = 4;

/// APIs that change groups or transactions.
const OF_GROUPS: [&str; 11] = [
    "JoinGroup",
    "SyncGroup",
    "LeaveGroup",
    "Heartbeat",
    "ConsumerGroupHeartbeat",
    "DeleteGroups",
    "OffsetDelete",
    "AddPartitionsToTxn",
    "AddOffsetsToTxn",
    "EndTxn",
    "TxnOffsetCommit",
];

/// APIs that change topics.
const OF_TOPICS: [&str; 7] = [
    "CreateTopics",
    "DeleteTopics",
    "CreatePartitions",
    "AlterConfigs",
    "IncrementalAlterConfigs",
    "DeleteRecords",
    "WriteTxnMarkers",
];

/// What is asked for.
struct Options<'a> {
    count: usize,
    seed: u64,
    ottla: &'a str,
    kafka: Option<&'a str>,
    controllers: Option<(&'a str, &'a str)>,
    only: Vec<&'a str>,
    verbose: bool,
}

/// All APIs, as the schemas say.
struct Schemas(BTreeMap<i16, schema::Api>);

impl Schemas {
    fn read() -> Result<Schemas> {
        let mut apis = BTreeMap::new();
        for entry in fs::read_dir(SCHEMAS).context(SCHEMAS)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "schema")
                && let schema::File::Api(api) = parse::parse(&fs::read_to_string(&path)?)?
            {
                apis.insert(api.key, *api);
            }
        }
        Ok(Schemas(apis))
    }

    fn api(&self, key: i16) -> Result<&schema::Api> {
        self.0.get(&key).with_context(|| format!("no API has the key {key}"))
    }

    fn named(&self, name: &str) -> Result<&schema::Api> {
        self.0.values().find(|api| api.name == name).with_context(|| format!("no API is called {name}"))
    }
}

/// Runs what `arguments` ask for.
///
/// # Errors
/// When a side cannot be reached or ends, when a mutant is neither answered nor closed by Ottla, or when there are
/// differences that are not in the list of those that are meant.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = options(arguments)?;
    let schemas = Schemas::read()?;
    let (our_target, their_target) = options.controllers.unzip();
    let mut ours = Side::connect(&schemas, options.ottla, our_target)?;
    let mut theirs = options.kafka.map(|kafka| Side::connect(&schemas, kafka, their_target)).transpose()?;
    let pairs = pairs(&schemas, &options, &mut ours, theirs.as_mut())?;
    if pairs.is_empty() {
        bail!("no API is served by both");
    }
    let mut report = Report::new()?;
    // Groups of earlier runs may be in any state, so that names are this run's own.
    let mut round = Round(u64::from(std::process::id()) * 10_000);
    let mut unanswered = Vec::new();
    for (number, (api, version)) in pairs.iter().enumerate() {
        let share = options.count / pairs.len() + usize::from(number < options.count % pairs.len());
        let changes_topics = OF_TOPICS.contains(&api.name.as_str());
        let changes = changes_topics || OF_GROUPS.contains(&api.name.as_str());
        for index in 0..share {
            if index % if changes { SHORT_ROUND } else { ROUND } == 0 {
                round.0 += 1;
                let anew = changes_topics || index == 0 && api.request.versions.last == *version;
                ours.renew(&round, anew).with_context(|| format!("Ottla, before {} v{version}", api.name))?;
                if let Some(theirs) = &mut theirs {
                    theirs
                        .renew(&round, anew)
                        .with_context(|| format!("Kafka, before {} v{version}", api.name))?;
                }
            }
            // Each is the same whatever ran before it.
            let mut chance = Chance(
                options.seed ^ (i64::from(api.key) as u64) << 40 ^ (*version as u64) << 32 ^ index as u64,
            );
            chance.next();
            let maker = Maker::new(api, *version, &round, &mut chance);
            let mutant = mutation::make(&maker, index, &mut chance);
            let bytes = ours.bytes(&mutant)?;
            ours.send(&bytes)?;
            let their_bytes = theirs.as_ref().map(|theirs| theirs.bytes(&mutant)).transpose()?;
            if let (Some(theirs), Some(bytes)) = (&mut theirs, &their_bytes) {
                theirs.send(bytes)?;
            }
            let our_outcome = ours.outcome(&mutant, &bytes)?;
            let their_outcome = match (&mut theirs, &their_bytes) {
                (Some(theirs), Some(bytes)) => theirs.outcome(&mutant, bytes)?,
                _ => our_outcome.clone(),
            };
            if matches!(our_outcome, Outcome::Silent | Outcome::Garbled(_))
                && !mutant.frame.has_wrong_length()
            {
                unanswered.push(format!("{} v{version}: {}: {our_outcome:?}", api.name, mutant.what));
            }
            let differences = report.add(
                &api.name,
                *version,
                mutant.kind,
                &mutant.what,
                &bytes,
                &our_outcome,
                &their_outcome,
            );
            if options.verbose {
                for difference in differences {
                    eprintln!("{} v{version} #{index}: {}: {difference:?}", api.name, mutant.what);
                }
            }
        }
    }
    fs::write(REPORT, report.markdown()).context(REPORT)?;
    let (groups, mutants) = report.unexpected();
    eprintln!(
        "{} mutants of {} versions of APIs; {} not answered; {groups} groups of differences ({mutants} mutants): {REPORT}",
        options.count,
        pairs.len(),
        unanswered.len()
    );
    if theirs.is_none() && !unanswered.is_empty() {
        bail!("neither answered nor closed in time:\n  {}", unanswered.join("\n  "));
    }
    if groups > 0 {
        bail!("there are differences that are not in xtask/src/mutants/accepted.txt");
    }
    Ok(())
}

/// The versions of APIs that both sides serve.
fn pairs<'a>(
    schemas: &'a Schemas,
    options: &Options<'_>,
    ours: &mut Side<'_>,
    theirs: Option<&mut Side<'_>>,
) -> Result<Vec<(&'a schema::Api, i16)>> {
    let mine = ours.versions()?;
    let yours = theirs.map_or(Ok(mine.clone()), Side::versions)?;
    let mut pairs = Vec::new();
    for (key, (first, last)) in mine {
        let (Ok(api), Some((their_first, their_last))) = (schemas.api(key), yours.get(&key)) else {
            continue;
        };
        if !options.only.is_empty() && !options.only.contains(&api.name.as_str()) {
            continue;
        }
        let both = first.max(*their_first)..=last.min(*their_last);
        pairs.extend(
            both.filter(|version| api.request.versions.contains(*version)).map(|version| (api, version)),
        );
    }
    Ok(pairs)
}

fn options<'a>(arguments: &[&'a str]) -> Result<Options<'a>> {
    let mut options = Options {
        count: MUTANTS,
        seed: 1,
        ottla: "",
        kafka: None,
        controllers: None,
        only: Vec::new(),
        verbose: false,
    };
    let mut numbers = 0;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().copied().context(USAGE);
        match *argument {
            "--ottla" => options.ottla = value()?,
            "--kafka" => options.kafka = Some(value()?),
            "--controllers" => options.controllers = Some((value()?, value()?)),
            "--only" => options.only = value()?.split(',').collect(),
            "--verbose" => options.verbose = true,
            number if numbers < 2 => {
                let number: u64 = number.parse().context(USAGE)?;
                if numbers == 0 {
                    options.count = usize::try_from(number)?;
                } else {
                    options.seed = number;
                }
                numbers += 1;
            }
            _ => bail!("{USAGE}"),
        }
    }
    if options.ottla.is_empty() {
        bail!("{USAGE}");
    }
    Ok(options)
}
