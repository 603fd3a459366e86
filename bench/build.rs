//! Notes what this crate is built from, for the results: a figure without a compiler and a commit is hearsay.

use std::path::Path;
use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let dirty = says("git", &["status", "--porcelain", "--untracked-files=no"]);
    let commit = says("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = if dirty.is_some() { "+changes" } else { "" };
    let commit = commit.map_or_else(|| "unknown".to_owned(), |commit| commit + changed);
    println!("cargo:rustc-env=MULTIPLANE_COMMIT={commit}");
    let rustc = says(&rustc, &["--version"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=MULTIPLANE_RUSTC={rustc}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src");
    if Path::new("../.git/logs/HEAD").exists() {
        println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    }
}

/// What a program prints, if it does.
fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
