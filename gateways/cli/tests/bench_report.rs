//! `bench report`: from a file of results to a page, or to one line that says what is wrong with the file.

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
