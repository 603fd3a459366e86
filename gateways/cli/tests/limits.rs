//! `LIMITS.md` says what the program does: each default is that of the flag's help, or of the constant.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::command;
use std::path::Path;

struct Row<'p> {
    /// The words behind `multiplane`; empty where no command is meant.
    command: &'p str,
    what: &'p str,
    default: &'p str,
    place: &'p str,
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let (mut command, mut rows) = ("", Vec::new());
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            command = title.strip_prefix("multiplane ").unwrap_or_default();
        } else if let [_, what, default, place, beyond, _] =
            line.split('|').map(str::trim).collect::<Vec<_>>()[..]
            && !["limit", "---"].contains(&what)
        {
            assert!(!beyond.is_empty(), "{what}: what happens beyond?");
            rows.push(Row { command, what, default, place });
        }
    }
    rows
}

/// `64 MiB`, `10,000` or `2 s` as a number: of bytes, of things, of seconds.
fn number(text: &str) -> f64 {
    let (digits, unit) = text.split_once(' ').unwrap_or((text, ""));
    let scale = match unit {
        "" | "s" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        unit => panic!("what is {unit:?}?"),
    };
    digits.replace(',', "").parse::<f64>().unwrap() * scale
}

/// What `name` is said to be in a file of the tree: a product, a shift, or a `Duration` of seconds.
fn constant(name: &str, path: &str) -> f64 {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let text = std::fs::read_to_string(root.join(path)).unwrap();
    let declared = |line: &str| {
        let (before, value) = line.split_once(" = ")?;
        (before.contains("const ") && before.split([' ', ':']).any(|word| word == name))
            .then(|| value.to_owned())
    };
    // A field of a constant, in its one line.
    let field = |line: &str| {
        let (before, rest) = line.split_once(&format!(" {name}: "))?;
        before.contains("const ").then(|| rest.split([',', '}']).next().unwrap().to_owned())
    };
    let value = text.lines().find_map(|line| declared(line).or_else(|| field(line)));
    let value = value.unwrap_or_else(|| panic!("{path} has no {name}")).replace([';', '_', ' '], "");
    let value =
        value.strip_prefix("Duration::fromsecs(").map_or(&value[..], |rest| rest.trim_end_matches(')'));
    let factor = |factor: &str| match factor.split_once("<<") {
        Some((n, bits)) => n.parse::<f64>().unwrap() * 2_f64.powi(bits.parse().unwrap()),
        None => factor.parse().unwrap(),
    };
    value.split('*').map(factor).product()
}

fn help(words: &str) -> String {
    let output = command(&format!("{words} --help")).output().unwrap();
    assert!(output.status.success(), "{words}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the help says of a flag: up to the next one.
fn described<'h>(help: &'h str, flag: &str) -> &'h str {
    let start = help.find(&format!("{flag} <")).unwrap_or_else(|| panic!("no {flag} in the help"));
    let rest = &help[start..];
    &rest[..rest[2..].find("\n      --").map_or(rest.len(), |end| end + 2)]
}

#[test]
fn the_page_says_what_the_program_does() {
    let page = include_str!("../../../LIMITS.md");
    let rows = rows(page);
    assert!(rows.len() > 40, "the page has lost rows");
    for Row { command, what, default, place } in &rows {
        let quoted: Vec<&str> = place.split('`').skip(1).step_by(2).collect();
        match quoted[..] {
            [flag] if flag.starts_with("--") => {
                let (help, what) = (help(command), format!("{command}, {what}, {flag}"));
                let described = described(&help, flag);
                let shown =
                    described.split_once("[default: ").map(|(_, rest)| rest.split(']').next().unwrap());
                match shown {
                    Some(shown) if shown.starts_with(|c: char| c.is_ascii_digit()) => {
                        assert_eq!(number(default), number(shown), "{what}");
                    }
                    _ => assert_eq!(*default, "none", "{what}: {described}"),
                }
            }
            [name, path] => assert_eq!(number(default), constant(name, path), "{what}"),
            _ => panic!("{what}: neither a flag nor a constant and its file: {place}"),
        }
    }
}

#[test]
fn no_limit_of_a_backplane_is_left_out() {
    let (page, help) = (include_str!("../../../LIMITS.md"), help("backplane"));
    let (_, limits) = help.split_once("\nLimits:\n").expect("the help has a part about limits");
    let flags = limits.lines().filter_map(|line| line.trim().strip_prefix("--"));
    let names: Vec<_> = flags.filter_map(|flag| flag.split(' ').next()).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`--{name}`")), "LIMITS.md does not name --{name}");
    }
}
