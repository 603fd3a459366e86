//! The page: well-formed, in need of nothing, with every contender and every loss on it, and harmless whatever the
//! files say.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bench::page::{Source, page};
use roxmltree::{Document, Node, ParsingOptions};

/// One row, with more fields.
fn row(contender: &str, scenario: &str, bytes: u32, more: &str) -> String {
    format!(
        "{{\"contender\":{contender:?},\"scenario\":{scenario:?},\"payload_bytes\":{bytes},\"machine\":\"a machine\",\
         \"kernel\":\"6.1\",\"rustc\":\"rustc 1\",\"commit\":\"abc\",\"date\":\"2026-11-22T03:17:50Z\"{more}}}\n"
    )
}

fn source(text: String) -> Source {
    Source { name: "results.jsonl".to_owned(), text }
}

/// The page of one file, which must be well-formed.
#[track_caller]
fn made(text: String) -> String {
    let html = page(&[source(text)]).unwrap();
    document(&html);
    html
}

/// The page keeps to the rules of XML, which are stricter than those of HTML, so that a parser can judge it.
#[track_caller]
fn document(html: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(html, options).unwrap()
}

/// What is wrong with a file.
#[track_caller]
fn wrong(text: &str) -> String {
    page(&[source(text.to_owned())]).unwrap_err().to_string()
}

const FULL: &str = ",\"rate_per_s\":1000.0,\"rate_per_s_min\":900.0,\"rate_per_s_max\":1100.0,\
    \"cpu_s_per_million\":1.5,\"p50_us\":20.0,\"p99_us\":90.0,\"max_us\":400.0,\"rounds\":5,\"sent\":90,\"received\":75,\
    \"percentiles\":[[0.0,10.0],[0.5,20.0],[0.9,50.0],[0.99,90.0],[1.0,400.0]]";

/// Ours, a loser, the machine, and something unknown, in all kinds of scenarios.
fn everything() -> String {
    let lossy = FULL.to_owned() + ",\"lost\":25,\"reordered\":7";
    let mut text = String::new();
    for scenario in ["one_to_one", "fan_out:1", "fan_out:4", "ping_pong", "of_tomorrow:x"] {
        for bytes in [16, 65_536] {
            text += &row("multiplane-native", scenario, bytes, FULL);
            text += &row("loser", scenario, bytes, &lossy);
            text += &row("base-tcp", scenario, bytes, &FULL.replace("1000.0", "1050.0"));
        }
    }
    text + &row("absent", "one_to_one", 16, ",\"error\":\"is not installed\"")
}

/// The text of all elements of this class.
fn texts<'a>(html: &'a Document<'_>, class: &str) -> Vec<String> {
    let has = |node: &Node<'_, '_>| {
        node.attribute("class").is_some_and(|classes| classes.split(' ').any(|it| it == class))
    };
    let text =
        |node: Node<'a, '_>| node.descendants().filter(Node::is_text).filter_map(|it| it.text()).collect();
    html.descendants().filter(has).map(text).collect()
}

#[test]
fn each_contender_and_each_loss_is_shown() {
    let html = made(everything());
    let html = document(&html);
    for class in ["bars", "keys"] {
        for list in texts(&html, class) {
            for name in ["multiplane-native", "loser", "base-tcp"] {
                assert!(list.contains(name), "no {name} among the {class}: {list}");
            }
        }
    }
    // Two sizes of one to one and of the unknown scenario; rate and processor time.
    assert_eq!(texts(&html, "bars").len(), 8);
    // Latency of five scenarios in two sizes, and how rate and cost of the fan-out grow.
    assert_eq!(texts(&html, "keys").len(), 14);
    for bars in texts(&html, "bars") {
        assert!(bars.contains("lost 25.0 %, reordered 7"), "{bars}");
        assert_eq!(bars.matches("lost").count(), 1, "the others lost nothing: {bars}");
    }
    assert!(texts(&html, "keys").iter().all(|keys| keys.contains("loser loses")));
    assert!(texts(&html, "why").contains(&"not measured: is not installed".to_owned()));
    let rows = html.descendants().filter(|it| it.has_tag_name("tr")).count();
    assert_eq!(rows, 1 + 10 + 31 + 2, "head, groups, rows, and the table of runs");
}

#[test]
fn the_limit_is_drawn_once_and_through_all_bars() {
    let html = made(everything());
    let html = document(&html);
    let limits = html.descendants().filter(|it| it.attribute("class") == Some("limit"));
    // Three rows in each of four panels of throughput; none where less is better.
    assert_eq!(limits.count(), 12);
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = made(everything());
    for loader in ["http:", "https:", "src=", "@import", "<script", "url(//"] {
        assert!(!html.contains(loader), "{loader}");
    }
    let page = document(&html);
    let links = page.descendants().filter_map(|it| it.attribute("href"));
    for link in links {
        assert!(link.starts_with('#') || link == "data:,", "{link}");
        if let Some(target) = link.strip_prefix('#') {
            assert!(
                page.descendants().any(|it| it.attribute("id") == Some(target)),
                "nothing is called {target}"
            );
        }
    }
}

/// Readers who see no drawing: each has a name or is told in words beside it.
#[test]
fn drawings_have_names() {
    let html = made(everything());
    let html = document(&html);
    for svg in html.descendants().filter(|it| it.has_tag_name("svg")) {
        let inside = svg.ancestors().skip(1).any(|it| it.has_tag_name("svg"));
        let named = svg.attribute("aria-label").is_some_and(|label| !label.trim().is_empty());
        assert!(inside || named || svg.attribute("aria-hidden") == Some("true"), "{svg:?}");
    }
    let scrolled = html.descendants().filter(|it| it.attribute("class") == Some("scroll"));
    assert!(scrolled.clone().count() > 0);
    assert!(scrolled.into_iter().all(|it| it.attribute("tabindex") == Some("0")), "by keyboard");
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "<script>alert(1)</script>\\\"'&amp;\\u0000\\u202e]]>--><style>";
    let fields = ["machine", "kernel", "rustc", "commit", "date"];
    let mut text = String::new();
    for (scenario, more) in [(hostile, FULL.to_owned()), ("one_to_one", format!(",\"error\":\"{hostile}\""))]
    {
        let origin: String = fields.map(|field| format!(",\"{field}\":\"{hostile}\"")).concat();
        text += &format!(
            "{{\"contender\":\"{hostile}\",\"scenario\":\"{scenario}\",\"payload_bytes\":16,\
             \"lossless_by\":\"{hostile}\"{origin}{more}}}\n"
        );
    }
    let html = page(&[Source { name: "<img src=x>".to_owned(), text }]).unwrap();
    let page = document(&html);
    for tag in ["script", "img"] {
        assert!(!page.descendants().any(|it| it.has_tag_name(tag)), "{tag}");
    }
    assert_eq!(page.descendants().filter(|it| it.has_tag_name("style")).count(), 1);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;amp;"));
    assert!(!html.contains('\u{202e}'));
}

#[test]
fn missing_fields_leave_gaps() {
    let html = made(row("multiplane-native", "one_to_one", 16, ""));
    assert!(html.contains("multiplane-native"));
    made(
        row("other", "fan_out:0", 16, ",\"rate_per_s\":0.0")
            + &row("other", "fan_out:2", 16, ",\"p50_us\":null"),
    );
    made(row("other", "ping_pong", 0, ",\"rate_per_s\":1e308,\"p50_us\":0,\"percentiles\":[]"));
    made(row(
        "other",
        "ping_pong",
        7,
        ",\"cpu_s_per_million\":5e-324,\"percentiles\":[[0.5,5e-324],[0.9,1e308]]",
    ));
}

#[test]
fn what_was_measured_again_replaces_the_older() {
    let old = row("multiplane-native", "one_to_one", 16, ",\"rate_per_s\":123000.0");
    let new = row("multiplane-native", "one_to_one", 16, ",\"rate_per_s\":456000.0").replace("T03", "T04");
    for text in [old.clone() + &new, new + &old] {
        let html = made(text);
        let html = document(&html);
        let bars = texts(&html, "bars").concat();
        assert!(bars.contains("456") && !bars.contains("123"), "{bars}");
        assert_eq!(texts(&html, "superseded").len(), 1, "still among all figures");
    }
}

#[test]
fn what_cannot_be_compared_says_so() {
    let here = row("multiplane-native", "one_to_one", 16, FULL);
    let there = row("libzmq-proxy", "one_to_one", 16, FULL).replace("a machine", "another");
    assert!(made(here.clone() + &there).contains("Different machines"));
    assert!(!made(here.clone()).contains("Different machines"));
    assert!(made(row("x", "direct", 16, ",\"optimised\":false")).contains("Not optimised"));
    assert!(!made(here).contains("Not optimised"));
}

#[test]
fn errors_name_file_and_line() {
    let good = row("multiplane-native", "one_to_one", 16, FULL);
    assert_eq!(wrong("\n"), "no results in results.jsonl: make some with `multiplane bench --json FILE`");
    assert!(
        wrong(&(good.clone() + "\n{\"contender\":"))
            .starts_with("results.jsonl:3: column 13: not a JSON object")
    );
    assert!(wrong("[1]").starts_with("results.jsonl:1: column "));
    assert_eq!(wrong("{}"), "results.jsonl:1: `contender` is missing");
    let field = |more: &str| wrong(&(good.clone() + &row("x", "direct", 16, more)));
    assert_eq!(
        field(",\"rate_per_s\":\"fast\""),
        "results.jsonl:2: `rate_per_s` is \"fast\"; wanted is a number that is not negative"
    );
    assert!(field(",\"lost\":-1").contains("results.jsonl:2: `lost` is -1; wanted is a whole number"));
    assert!(field(",\"rate_per_s\":1e999").contains("results.jsonl:2: column"));
    assert!(field(",\"percentiles\":[[2.0,1.0]]").contains("`percentiles` is [[2.0,1.0]]; wanted is a list"));
    assert!(
        field(",\"rate_per_s\":5,\"rate_per_s_min\":6").contains("not between its minimum 6 and maximum 5")
    );
    assert!(field(&format!(",\"error\":\"{}\"", "x".repeat(600))).contains("a text of at most 500 bytes"));
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(wrong(&deep).contains("recursion limit"));
}
