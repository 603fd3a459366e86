//! Feeds each target with inputs for a while. Nothing is left to chance: the seed and an input's number give the input.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]
#![allow(clippy::print_stderr, reason = "failures go there")]

#[path = "../../../codec/tests/counting/mod.rs"]
mod counting;
mod mutation;

use clap::Parser;
use multiplane_fuzzing::{TARGETS, Target};
use mutation::{Random, make};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// No input takes that long.
const HANG: Duration = Duration::from_secs(10);

/// Feeds the fuzz targets with inputs: no crash, no hang, no leak, and no more memory than the input explains.
#[derive(Parser, Debug)]
struct Options {
    /// Inputs for all targets together.
    #[arg(long, default_value_t = 200_000)]
    inputs: u64,
    /// What the inputs are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this target; it gets all inputs.
    #[arg(long)]
    target: Option<String>,
    /// The number of the first input, to see one again.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// Which input is being tried.
static NOW: Mutex<Option<(&'static str, u64)>> = Mutex::new(None);

fn now() -> Option<(&'static str, u64)> {
    *NOW.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn set_now(input: Option<(&'static str, u64)>) {
    *NOW.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = input;
}

/// Says how to see the input again when its target panics.
struct Culprit<'a>(&'a [u8], u64);

impl Drop for Culprit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some((target, number)) = now()
        {
            let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("the culprit: {hex}\nagain: {}", again(target, self.1, number));
        }
    }
}

fn again(target: &str, seed: u64, number: u64) -> String {
    format!("tests/fuzz --target {target} --seed {seed} --first {number} --inputs 1")
}

fn corpus(target: &Target) -> Result<Vec<Vec<u8>>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let files = folder.read_dir().and_then(|entries| {
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        // The order must not depend on the file system, or a seed would mean something else elsewhere.
        paths.sort();
        paths.iter().map(std::fs::read).collect::<std::io::Result<Vec<_>>>()
    });
    match files {
        Ok(files) if !files.is_empty() => Ok(files),
        Ok(_) => Err(format!("{}: no file", folder.display())),
        Err(error) => Err(format!("{}: {error}", folder.display())),
    }
}

/// What one target took.
struct Cost {
    most: isize,
    slowest: Duration,
    took: Duration,
}

#[allow(clippy::disallowed_methods, reason = "how long an input takes is what is measured")]
fn feed(target: &Target, corpus: &[Vec<u8>], options: &Options, inputs: u64) -> Cost {
    // What is made once and kept is made before anything is counted.
    corpus.iter().for_each(|input| (target.run)(input));
    let mut cost = Cost { most: 0, slowest: Duration::ZERO, took: Duration::ZERO };
    let (mut input, begun) = (Vec::new(), Instant::now());
    let mut last = begun;
    for number in options.first..options.first + inputs {
        make(&mut Random::of(options.seed, number), corpus, &mut input);
        set_now(Some((target.name, number)));
        let culprit = Culprit(&input, options.seed);
        let before = counting::live();
        let limit = target.memory.0 + target.memory.1 * input.len();
        let ((), most) = counting::measured(limit, target.name, || (target.run)(&input));
        let kept = counting::live() - before;
        assert!(kept <= 0, "{}: {kept} bytes were not given back", target.name);
        drop(culprit);
        cost.most = cost.most.max(most);
        let now = Instant::now();
        cost.slowest = cost.slowest.max(now - last);
        last = now;
    }
    set_now(None);
    cost.took = last - begun;
    cost
}

fn run(options: &Options) -> Result<(), String> {
    let chosen: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| options.target.as_deref().is_none_or(|name| name == target.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!("no such target; there are {}", names.join(", ")));
    }
    println!("seed {}", options.seed);
    let (mut total, shares) = (0, chosen.iter().map(|target| u64::from(target.share)).sum::<u64>());
    for target in chosen {
        let inputs = (options.inputs * u64::from(target.share)).div_ceil(shares);
        let corpus = corpus(target)?;
        let cost = feed(target, &corpus, options, inputs);
        println!(
            "{:18} {inputs:>9} inputs in {:6.1} s from {:>3} files; most memory {:>7} bytes, longest {:?}",
            target.name,
            cost.took.as_secs_f64(),
            corpus.len(),
            cost.most,
            cost.slowest,
        );
        total += inputs;
    }
    println!("{total} inputs: no crash, no hang, no leak, no memory that the input does not explain");
    Ok(())
}

/// Ends the process when one input takes too long.
fn watch(seed: u64, stop: &std::sync::mpsc::Receiver<()>) {
    let mut before = None;
    while stop.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
        let input = now();
        if let Some((target, number)) = input.filter(|_| input == before) {
            eprintln!(
                "{target}: an input takes longer than {HANG:?}\nagain: {}",
                again(target, seed, number)
            );
            std::process::exit(1);
        }
        before = input;
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (running, stop) = channel();
    let seed = options.seed;
    let watcher = std::thread::spawn(move || watch(seed, &stop));
    let outcome = run(&options);
    drop(running);
    match outcome {
        Err(error) => {
            eprintln!("multiplane-fuzzing: {error}");
            ExitCode::from(2)
        }
        Ok(()) if watcher.join().is_ok() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
    }
}
