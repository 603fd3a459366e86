//! `multiplane bench report`: result files as one page.

use crate::failure::Failure;
use multiplane_bench::page::{Source, page};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// No file of results is larger.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Make a web page of result files: bars, latency and scaling curves, all figures
///
/// One file of HTML that needs no network and no script. Of what was measured again, the later result is drawn.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane bench --json results.jsonl
  multiplane bench report results.jsonl --out results.html")]
pub(crate) struct Args {
    /// What `multiplane bench --json` wrote
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Where to write the page
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let sources = args.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let html = page(&sources)?;
    std::fs::write(&args.out, html).map_err(|error| {
        Failure::Failed(format!("cannot write the page to {}: {error}", args.out.display()))
    })?;
    writeln!(io::stdout(), "{}", args.out.display())?;
    Ok(())
}

fn read(path: &Path) -> Result<Source, Failure> {
    let cannot = |why: String| Failure::Misuse(format!("cannot read results from {}: {why}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| cannot(error.to_string()))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| cannot(error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(cannot(format!("it is larger than {} MiB", LARGEST / (1024 * 1024))));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        cannot(format!("line {line} is not UTF-8"))
    })?;
    Ok(Source { name: path.display().to_string(), text })
}
