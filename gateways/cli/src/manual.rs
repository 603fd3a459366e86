//! `multiplane completions` and `multiplane man`: made from the same source as `--help`.

use crate::Cli;
use crate::failure::Failure;
use clap::CommandFactory;
use std::io::{self, Write};
use std::path::PathBuf;

/// Print the completions for a shell
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  multiplane completions bash > ~/.local/share/bash-completion/completions/multiplane"
)]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// Print the manual page, or write one per command into a directory
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  multiplane man | man -l -\n  multiplane man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The directory to write into; it is made if it is missing
    directory: Option<PathBuf>,
}

pub(crate) fn completions(args: &Completions) -> Result<(), Failure> {
    // The generator panics where its output is refused, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "multiplane", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

pub(crate) fn man(args: &Man) -> Result<(), Failure> {
    let Some(directory) = &args.directory else {
        return Ok(clap_mangen::Man::new(Cli::command()).render(&mut io::stdout())?);
    };
    let written =
        std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    written.map_err(|error| {
        Failure::Failed(format!(
            "cannot write manual pages to {}: {error}; name a directory of yours",
            directory.display()
        ))
    })
}
