//! `ottla completion`: what completes command lines in a shell.

use crate::output;
use anyhow::Result;
use clap_complete::Shell;

/// Prints what completes Ottla's command lines in a shell.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The shell. bash: eval "$(ottla completion bash)"; zsh and fish read it from a file among their completions.
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, mut program: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "ottla", &mut script);
    output::bytes(&script);
    Ok(())
}
