//! `cargo xtask figures`: what Ottla costs and how fast it is, beside another Kafka if one runs.
//!
//! Three nodes of Ottla are started on this machine; `ottla perf` puts the same load on them and on the other, row by
//! row in turns, so that whatever else the machine does meets both.

use crate::steps::run;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const USAGE: &str = "usage: cargo xtask figures [options]

  --profile NAME          the cargo profile of the measured binary (default dist)
  --base-port PORT        the first port of Ottla's three nodes (default 29092)
  --seconds N             how long each row is measured (default 5)
  --beside SERVERS        another Kafka to measure beside, as host:port,host:port
  --beside-pids PID,PID   its brokers' processes
  --fill-memory GB        first fill so much of the page cache: in a virtual machine the first touch of a page
                          costs more than all that brokers do with it";

/// A row of the table.
struct Row {
    name: &'static str,
    /// What `ottla perf` is told.
    arguments: &'static str,
    /// The figures in its answer, and their units.
    figures: &'static [(&'static str, &'static str)],
}

const ROWS: &[Row] = &[
    Row {
        name: "idle: share of a core; memory",
        arguments: "idle --seconds 20",
        figures: &[("cpu_share", "%"), ("memory_mb", "MB")],
    },
    Row {
        name: "memory after a million records",
        arguments: "produce --topic figures-16 --warm-up-seconds 0 --seconds 60 --bytes 100000000",
        figures: &[("memory_mb", "MB")],
    },
    Row {
        name: "produce 100 B x 150, 16 partitions, CPU a GB",
        arguments: "produce --topic figures-16 --bytes 3000000000",
        figures: &[("cpu_s_per_gb", "s"), ("mb_per_s", "MB/s")],
    },
    Row {
        name: "produce 1 KB x 64, 16 partitions, CPU a GB",
        arguments: "produce --topic figures-16 --record-size 1024 --records-per-batch 64 --bytes 3000000000",
        figures: &[("cpu_s_per_gb", "s"), ("mb_per_s", "MB/s")],
    },
    Row {
        name: "consume, CPU a GB",
        arguments: "consume --topic figures-16",
        figures: &[("cpu_s_per_gb", "s"), ("mb_per_s", "MB/s")],
    },
    Row {
        name: "one record a request, 1 partition, CPU each",
        arguments: "produce --topic figures-1 --partitions 1 --records-per-batch 1",
        figures: &[("cpu_us_per_request", "us"), ("requests_per_s", "/s")],
    },
    Row {
        name: "one record a request, 16 partitions, CPU each",
        arguments: "produce --topic figures-16 --records-per-batch 1",
        figures: &[("cpu_us_per_request", "us"), ("requests_per_s", "/s")],
    },
    Row {
        name: "produce at 5 MB/s, p50, p99",
        arguments: "latency --topic figures-16",
        figures: &[("p50_ms", "ms"), ("p99_ms", "ms")],
    },
    Row {
        name: "end to end at 1,000 records a second, p50, p99",
        arguments: "end-to-end --topic figures-16",
        figures: &[("p50_ms", "ms"), ("p99_ms", "ms")],
    },
    Row {
        name: "produce 100 B x 150, 256 partitions, CPU a GB",
        arguments: "produce --topic figures-256 --partitions 256 --bytes 3000000000",
        figures: &[("cpu_s_per_gb", "s"), ("mb_per_s", "MB/s")],
    },
    Row {
        name: "produce 1 KB x 64, 256 partitions, CPU a GB",
        arguments: "produce --topic figures-256 --record-size 1024 --records-per-batch 64 --bytes 3000000000",
        figures: &[("cpu_s_per_gb", "s"), ("mb_per_s", "MB/s")],
    },
    Row {
        name: "produce 1 KB x 64, flush.messages=1, CPU a GB",
        arguments: "produce --topic figures-flush --topic-config flush.messages=1 --record-size 1024 \
                    --records-per-batch 64 --bytes 1000000000",
        figures: &[("cpu_s_per_gb", "s"), ("mb_per_s", "MB/s")],
    },
    Row {
        name: "transactions of 10 producers, 3 partitions each",
        arguments: "transactions --topic figures-16",
        figures: &[
            ("transactions_per_s", "/s"),
            ("cpu_ms_per_transaction", "ms"),
            ("p50_ms", "ms"),
            ("p99_ms", "ms"),
        ],
    },
    Row {
        name: "one more of 100 members, 1,000 partitions (KIP-848)",
        arguments: "rebalance --topic figures-1000 --partitions 1000",
        figures: &[("p50_ms", "ms"), ("max_ms", "ms"), ("cpu_ms_per_rebalance", "ms")],
    },
    Row {
        name: "one record a request, 256 partitions, CPU each",
        arguments: "produce --topic figures-256 --records-per-batch 1",
        figures: &[("cpu_us_per_request", "us"), ("requests_per_s", "/s")],
    },
];

/// What the command line says.
struct Options {
    profile: String,
    base_port: u16,
    seconds: String,
    beside: Option<(String, Vec<String>)>,
    fill_memory_gb: u64,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Options> {
        let mut options = Options {
            profile: "dist".to_owned(),
            base_port: 29092,
            seconds: "5".to_owned(),
            beside: None,
            fill_memory_gb: 0,
        };
        let (mut servers, mut pids) = (None, None);
        let mut arguments = arguments.iter();
        while let Some(&name) = arguments.next() {
            let value = *arguments.next().with_context(|| format!("{name} needs a value\n\n{USAGE}"))?;
            match name {
                "--profile" => options.profile = value.to_owned(),
                "--base-port" => {
                    options.base_port = value.parse().with_context(|| format!("{name} {value}"))?
                }
                "--seconds" => options.seconds = value.to_owned(),
                "--beside" => servers = Some(value.to_owned()),
                "--beside-pids" => pids = Some(value.split(',').map(str::to_owned).collect()),
                "--fill-memory" => {
                    options.fill_memory_gb = value.parse().with_context(|| format!("{name} {value}"))?;
                }
                other => bail!("unknown option {other}\n\n{USAGE}"),
            }
        }
        options.beside = match (servers, pids) {
            (Some(servers), Some(pids)) => Some((servers, pids)),
            (None, None) => None,
            _ => bail!("--beside and --beside-pids belong together\n\n{USAGE}"),
        };
        Ok(options)
    }
}

/// One of the clusters that are measured.
struct Side {
    servers: String,
    accounting: Vec<String>,
}

/// Measures every row, and prints it as soon as it is measured: a run takes half an hour, and the last row may fail.
pub(crate) fn print(arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments)?;
    run("cargo", &["build", "--profile", &options.profile, "-p", "ottla-cli"])?;
    let ottla = PathBuf::from("target").join(&options.profile).join("ottla");
    let data = PathBuf::from("target").join("figures");
    let (program, directory) = (text(&ottla)?, text(&data)?);
    let base_port = options.base_port.to_string();
    let servers = servers(options.base_port);
    let up = ["up", "--data", directory, "--detach"];
    // Formatted, and with the topic that the first record goes to.
    run(program, &[&up[..], &["--fresh", "--base-port", &base_port]].concat())?;
    let topic = ["--bootstrap-server", &servers, "--topic", "figures-16"];
    let made = answer(
        &ottla,
        &[&["perf", "produce", "--warm-up-seconds", "0", "--bytes", "1"], &topic[..]].concat(),
    );
    run(program, &["down", "--data", directory])?;
    made?;

    let started = answer(&ottla, &[&["perf", "--json", "start"], &topic[..], &["--", program], &up].concat());
    let measured = started.and_then(|started| {
        let seconds = figure(&started, "first_record_s")?;
        say(&format!("{:<50} {:>14} {:>14} {:>8}", "", "Ottla", "beside", "ratio"))?;
        say(&format!("{:<50} {seconds:>9.3} s", "start to the first acknowledged record"))?;
        measure(&options, &ottla, directory)
    });
    run(program, &["down", "--data", directory])?;
    measured
}

fn measure(options: &Options, ottla: &Path, directory: &str) -> Result<()> {
    let mut sides = vec![Side {
        servers: servers(options.base_port),
        accounting: vec!["--data".to_owned(), directory.to_owned()],
    }];
    if let Some((servers, pids)) = &options.beside {
        let accounting = pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.clone()]).collect();
        sides.push(Side { servers: servers.clone(), accounting });
    }
    fill_memory(options.fill_memory_gb)?;
    for row in ROWS {
        eprintln!("== {}", row.name);
        let answers =
            sides.iter().map(|side| row.measure(options, ottla, side)).collect::<Result<Vec<String>>>()?;
        for (key, unit) in row.figures {
            let values = answers.iter().map(|answer| figure(answer, key)).collect::<Result<Vec<f64>>>()?;
            let mut line = format!("{:<50} {:>9.3} {unit:<4}", row.name, values[0]);
            if let Some(beside) = values.get(1) {
                line += &format!(" {beside:>9.3} {unit:<4} {:>7.3}", values[0] / beside);
            }
            say(&line)?;
        }
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

impl Row {
    fn measure(&self, options: &Options, ottla: &Path, side: &Side) -> Result<String> {
        let mut arguments = vec!["perf", "--json"];
        arguments.extend(self.arguments.split(' '));
        if !self.arguments.starts_with("idle") {
            arguments.extend(["--bootstrap-server", &side.servers]);
        }
        let is_as_long_as_it_takes = self.arguments.starts_with("rebalance");
        if !is_as_long_as_it_takes && !self.arguments.contains(" --seconds ") {
            arguments.extend(["--seconds", &options.seconds]);
        }
        arguments.extend(side.accounting.iter().map(String::as_str));
        answer(ottla, &arguments)
    }
}

fn servers(base_port: u16) -> String {
    (base_port..base_port + 3).map(|port| format!("localhost:{port}")).collect::<Vec<_>>().join(",")
}

/// Runs a measurement; returns its JSON.
fn answer(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().context("ottla")?;
    if !output.status.success() {
        bail!("ottla {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A number in a flat JSON object.
fn figure(json: &str, key: &str) -> Result<f64> {
    let field = format!("\"{key}\":");
    let (_, rest) = json.split_once(&field).with_context(|| format!("no {key} in {json}"))?;
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    rest[..end].parse().with_context(|| format!("{key} in {json}"))
}

/// Reads a file of nothing: its pages fill memory, cost no disk, and make room when they must.
fn fill_memory(gb: u64) -> Result<()> {
    if gb == 0 {
        return Ok(());
    }
    let path = PathBuf::from("target").join("nothing");
    let file = File::create(&path)?;
    file.set_len(gb * 1_000_000_000)?;
    // The file stays: with it the pages would go, and be the host's again.
    std::io::copy(&mut File::open(&path)?, &mut std::io::sink()).map(|_| ()).context("--fill-memory")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let json = r#"{"cpu_s":1.5,"cpu_s_per_gb":3.25,"memory_mb":11}"#;

        assert_eq!(figure(json, "cpu_s").unwrap(), 1.5);
        assert_eq!(figure(json, "cpu_s_per_gb").unwrap(), 3.25);
        assert_eq!(figure(json, "memory_mb").unwrap(), 11.0);
        assert!(figure(json, "memory").is_err());
    }

    #[test]
    fn options_that_belong_together_are_asked_for() {
        assert!(Options::parse(&["--beside", "a:1"]).is_err());
        assert!(Options::parse(&["--seconds"]).is_err());
        assert!(Options::parse(&["--speed", "9"]).is_err());
        let options = Options::parse(&["--beside", "a:1", "--beside-pids", "3,4"]).unwrap();
        assert_eq!(options.beside.unwrap().1, ["3", "4"]);
    }
}
