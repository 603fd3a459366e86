//! `bench`: what it says of itself, and where its results go; `bench report`: from a file of results to a page, or to one
//! line that says what is wrong with the file.

mod common;

use common::run;

#[test]
fn a_file_of_results_becomes_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let (results, html) = (folder.path().join("results.jsonl"), folder.path().join("page.html"));
    let row = r#"{"contender":"multiplane-native","scenario":"one_to_one","payload_bytes":100,"rate_per_s":5000.0}"#;
    std::fs::write(&results, row).expect("a file");
    let command = format!("bench report {} --out {}", results.display(), html.display());
    let ended = run(&command);
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
    assert_eq!(ended.stdout.trim_end(), html.display().to_string());
    let page = std::fs::read_to_string(&html).expect("a page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("multiplane-native"));

    std::fs::write(&results, format!("{row}\n{{}}\n")).expect("a file");
    let ended = run(&command);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("results.jsonl:2: `contender` is missing"), "{ended:?}");
    std::fs::write(&results, b"\n\xff").expect("a file");
    assert!(run(&command).stderr.contains("line 2 is not UTF-8"));
    let absent = run(&format!("bench report {}", folder.path().join("absent").display()));
    assert_eq!(absent.code, Some(2), "{absent:?}");
    assert!(absent.stderr.contains("absent"), "{absent:?}");
}

#[test]
fn help_names_every_contender() {
    let help = run("bench --help").stdout;
    let told = run("bench --contender nobody").stderr;
    let (_, all) = told.split_once("there are ").expect("who there is");
    let all = all.trim_end().trim_end_matches("; `--help` says more");
    assert!(all.contains("multiplane-native, ") && all.contains(" builds "), "{all}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&help).contains(&words(all)), "{help}");
}

#[test]
fn json_goes_to_a_file_or_stands_alone_on_standard_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("results.jsonl");
    let bench = "bench --seconds 0.05 --rounds 1 --scenario local:1 --contender base-memory --json";
    let is_row = |text: &str| {
        let row: serde_json::Value = serde_json::from_str(text).expect("one line of JSON, and nothing else");
        assert_eq!(row["contender"], "base-memory");
        assert!(row["received"].as_u64() > Some(0), "{row}");
    };
    for stdout in ["", " -"] {
        let ended = run(&format!("{bench}{stdout}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        is_row(&ended.stdout);
        assert!(ended.stderr.contains("messages/s"), "the table: {ended:?}");
    }
    let ended = run(&format!("{bench} {}", file.display()));
    assert!(ended.stdout.contains("messages/s") && !ended.stdout.contains('{'), "{ended:?}");
    is_row(&std::fs::read_to_string(&file).expect("a file"));
}
