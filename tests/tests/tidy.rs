//! What holds everywhere in the tree: who may name what, how long a file and a function may be, who depends on whom.
//!
//! Lists of exceptions here only ever get shorter.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_tests::programs::root;
use std::collections::BTreeSet;
use std::path::Path;

/// A file of the tree: its path from the root, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    /// Lines of code with their numbers: no blank lines, no comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_code = |line: &str| !line.trim_start().starts_with("//") && !line.trim().is_empty();
        self.text.lines().enumerate().map(|(n, line)| (n + 1, line)).filter(move |(_, line)| is_code(line))
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || place.ends_with('/') && self.path.starts_with(place))
    }
}

/// All text files but what tools make.
fn files() -> Vec<File> {
    fn walk(folder: &Path, files: &mut Vec<File>) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if ["target", ".git", "__pycache__", "proptest-regressions"].contains(&name) {
                continue;
            } else if path.is_dir() {
                walk(&path, files);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.push(File { path, text });
            }
        }
    }
    let mut files = Vec::new();
    walk(root(), &mut files);
    assert!(files.iter().any(|file| file.path == "bus/src/lib.rs"), "this is not the tree");
    files
}

fn rust() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// Where `word` stands by itself in a line.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name))
}

/// Fails with all offences at once.
#[track_caller]
fn none(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}:\n    {}", offences.join("\n    "));
}

/// Lines of code with one of these words, outside of the places that may say them.
fn lines_with(wanted: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in rust().iter().filter(|file| !file.is_in(allowed)) {
        for (number, line) in file.code() {
            if wanted.iter().any(|word| words(line, word).next().is_some()) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    found
}

/// One day there is another engine: the rest of the bus must not notice.
#[test]
fn few_files_name_libzmq() {
    let allowed = [
        "bus/src/io/zmq/",
        "bus/src/worker.rs",
        "bus/src/backplane/libzmq.rs",
        // Where libzmq is the peer, and the one to compare with.
        "bus/tests/backplane/",
        "tests/src/foreign/",
        "bench/",
        "tests/tests/tidy.rs",
    ];
    let mut offences = lines_with(&["zmq_sys"], &allowed);
    // `io::zmq` is our own face of it.
    let names_crate = |line: &str| {
        let uses =
            words(line, "zmq").any(|at| !line[..at].ends_with("::") && line[at..].starts_with("zmq::"));
        uses || line.trim_start().starts_with("use zmq;")
    };
    for file in rust().iter().filter(|file| !file.is_in(&allowed)) {
        let lines = file.code().filter(|(_, line)| names_crate(line));
        offences.extend(lines.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("only the sockets, the worker's poll and the libzmq backplane name the crate zmq", offences);
}

/// The library may have to make way for another one day.
#[test]
fn one_file_names_the_mqtt_library() {
    let allowed = ["gateways/mqtt/src/client.rs", "tests/tests/tidy.rs"];
    none("only the client names the crate mqtt_protocol_core", lines_with(&["mqtt_protocol_core"], &allowed));
}

#[test]
fn unsafe_code_has_its_places() {
    let allowed = [
        "bus/ring/",
        "bus/src/io/zmq/options.rs",
        // Counting allocators.
        "tests/tests/alloc.rs",
        "codec/tests/counting/mod.rs",
    ];
    none("code that the compiler cannot check", lines_with(&[concat!("un", "safe")], &allowed));
}

/// Who sleeps guesses. The one place that may is the rig's clock, for windows that are measured and counters that tell
/// nobody when they change.
#[test]
fn nobody_sleeps() {
    none("wait for the event itself", lines_with(&[concat!("thread::", "sleep")], &["tests/src/clock.rs"]));
}

#[test]
fn files_are_rooms() {
    const LIMIT: usize = 500;
    let lengths = rust().into_iter().map(|file| (file.code().count(), file.path));
    let long =
        lengths.filter(|(length, _)| *length > LIMIT).map(|(length, path)| format!("{path}: {length}"));
    none("files of more than 500 lines of code", long.collect());
}

/// Functions of more than 70 lines: those that are, with the reason why splitting would make them worse.
const LONG_FUNCTIONS: [&str; 0] = [];

#[test]
fn functions_are_short() {
    const LIMIT: usize = 70;
    let mut long = BTreeSet::new();
    for file in rust() {
        let lines: Vec<&str> = file.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(name) = function(line) else { continue };
            // The tree is formatted, so a function ends at the first brace that is indented as it is.
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = lines[start..].iter().position(|line| line.strip_prefix(indent) == Some("}"));
            if end.is_some_and(|end| end + 1 > LIMIT) {
                long.insert(format!("{}: {name}", file.path));
            }
        }
    }
    let known: BTreeSet<String> = LONG_FUNCTIONS.iter().map(ToString::to_string).collect();
    none("functions of more than 70 lines", long.difference(&known).cloned().collect());
    none("no longer long: take them off the list", known.difference(&long).cloned().collect());
}

/// The name of the function that begins in `line`.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_word = |word: &str| {
        ["pub", "const", "async", "extern", "\"C\"", concat!("un", "safe")].contains(&word)
            || word.starts_with("pub(")
    };
    let ends_elsewhere = line.trim_end().ends_with([';', '}']);
    (before.split_whitespace().all(is_word) && !ends_elsewhere)
        .then(|| after.split(['(', '<']).next().unwrap())
}

#[test]
fn a_function_is_recognised() {
    assert_eq!(function("    pub(crate) async fn name<T>(x: T) {"), Some("name"));
    assert_eq!(function("fn main("), Some("main"));
    assert_eq!(function("// a fn of x"), None);
    assert_eq!(function("    fn short() {}"), None);
    assert_eq!(function("    let fn_name = 1;"), None);
}

/// Names of ours under `[dependencies]` of one crate.
fn dependencies(krate: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
    let lines = text.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter_map(|name| name.strip_prefix("multiplane-")).map(str::to_owned).collect()
}

/// Gateways see the bus and the codec; the bus sees codec, core and ring; these do not see each other.
#[test]
fn dependencies_point_one_way() {
    for leaf in ["codec", "bus/core", "bus/ring"] {
        assert_eq!(dependencies(leaf), BTreeSet::new(), "{leaf} depends on nobody of ours");
    }
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(dependencies("bus"), set(&["codec", "core", "ring"]));
    for gateway in root().join("gateways").read_dir().unwrap() {
        let path = gateway.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        // `multiplane bench` is the one command whose work is done elsewhere.
        let measures = name == "gateways/cli";
        let hidden = |dependency: &str| match dependency {
            "core" | "ring" | "tests" => true,
            "bench" => !measures,
            _ => false,
        };
        let seen: Vec<_> = dependencies(name).into_iter().filter(|dependency| hidden(dependency)).collect();
        none(&format!("{name} may see the bus and the codec"), seen);
    }
}

/// The tree runs wherever it is.
#[test]
fn no_path_of_one_machine() {
    let roots = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    let mut offences = Vec::new();
    for file in files().iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            let begins_path =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
            let found = |root: &str| line.match_indices(root).any(|(at, _)| begins_path(at));
            if roots.iter().any(|root| found(root)) {
                offences.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("an absolute path of some machine", offences);
}
