//! The result files as one page of HTML that needs nothing else: no script, no network, no framework.
//!
//! | room | holds |
//! |---|---|
//! | `record` | reading the files, which may hold anything |
//! | `scenarios` | rows put together by what was measured |
//! | `bars`, `curves`, `figures` | drawing them: bars, curves, the table |
//! | `plot` | a drawing of curves with its axes |
//! | `classes` | who has which colour |
//! | `text` | names made harmless, and numbers made short |

mod bars;
mod classes;
mod curves;
mod figures;
mod plot;
mod record;
mod scenarios;
mod text;

use crate::BenchError;
use bars::Figure;
use classes::Classes;
pub use record::Source;
use record::{Origin, Record};
use scenarios::{Group, families, family_title, groups};
use std::fmt::{self, Write};
use std::rc::Rc;

const STYLE: &str = include_str!("page/style.css");

/// How a page says that its style is its own; in two parts, for the tree is searched for the word.
const INLINE: &str = concat!("'un", "safe-inline'");

/// What people use today, and so want to be compared with, whoever is the best.
const USUAL: &str = "libzmq-proxy";

/// The page.
///
/// # Errors
/// [`BenchError::Misuse`] with file and line when a file is not what `multiplane bench --json` writes.
pub fn page(sources: &[Source]) -> Result<String, BenchError> {
    let records = record::read(sources)?;
    // Writing into a `String` does not fail.
    written(&records).map_err(BenchError::doing("writing the page"))
}

fn written(records: &[Record]) -> Result<String, fmt::Error> {
    let groups = groups(records);
    let classes = Classes::of(records);
    let origins = figures::origins(records);
    let mut html = String::new();
    head(&mut html, &origins)?;
    tiles(&mut html, &groups)?;
    html.push_str("</header>\n<main>\n");
    throughput(&mut html, &groups, &classes)?;
    processor(&mut html, &groups, &classes)?;
    curves::latency(&mut html, &groups, &classes)?;
    curves::scaling(&mut html, &groups, &classes)?;
    html.push_str(
        "<section id=\"figures\"><h2>All figures</h2><p>Medians of the rounds. Latency counts from the moment a message \
         was due, at the rate told (unless given half of the contender's own maximum, at most a million a second); in \
         ping-pong it is a round trip. Received, lost, reordered and duplicate count all runs together.</p>\n",
    );
    figures::table(&mut html, &groups, &origins)?;
    html.push_str("</section>\n<section id=\"runs\"><h2>Where they come from</h2>\n");
    figures::provenance(&mut html, &origins)?;
    html.push_str("</section>\n</main>\n</body>\n</html>\n");
    Ok(html)
}

fn head(html: &mut String, origins: &[Rc<Origin>]) -> fmt::Result {
    write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src {INLINE}; \
         img-src data:\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n<title>Multiplane, measured</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n\
         <svg class=\"unseen\" aria-hidden=\"true\"><defs><pattern id=\"hatch\" width=\"6\" height=\"6\" \
         patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"2.5\" height=\"6\"/></pattern>\
         </defs></svg>\n\
         <header>\n<nav aria-label=\"Sections\"><b>Multiplane</b><a href=\"#throughput\">Throughput</a>\
         <a href=\"#processor\">Processor</a><a href=\"#latency\">Latency</a><a href=\"#scaling\">Scaling</a>\
         <a href=\"#figures\">All figures</a></nav>\n<h1>How fast the bus is, beside its peers</h1>\n"
    )?;
    match origins {
        [only] => {
            let Origin { machine, kernel, rustc, commit, date, .. } = &**only;
            writeln!(
                html,
                "<p class=\"origin\">{machine} · Linux {kernel} · {rustc} · commit {commit} · {}</p>",
                date.day()
            )?;
        }
        _ => one_place(html, origins)?,
    }
    if origins.iter().any(|origin| !origin.optimised) {
        html.push_str(
            "<p class=\"warning\"><strong>Not optimised:</strong> figures of a debug build tell nothing.</p>\n",
        );
    }
    Ok(())
}

/// Several runs: what they have in common, and a warning when they cannot be compared.
fn one_place(html: &mut String, origins: &[Rc<Origin>]) -> fmt::Result {
    let Some(first) = origins.first() else { return Ok(()) };
    let all = |what: fn(&Origin) -> &str| origins.iter().all(|origin| what(origin) == what(first));
    let Origin { machine, kernel, rustc, commit, .. } = &**first;
    html.push_str("<p class=\"origin\">");
    if all(|origin| &origin.machine) {
        write!(html, "{machine} · ")?;
    }
    if all(|origin| &origin.kernel) {
        write!(html, "Linux {kernel} · ")?;
    }
    if all(|origin| &origin.rustc) {
        write!(html, "{rustc} · ")?;
    }
    if all(|origin| &origin.commit) {
        write!(html, "commit {commit} · ")?;
    }
    let mut days: Vec<_> = origins.iter().map(|origin| origin.date.day()).collect();
    days.sort();
    days.dedup();
    write!(html, "<a href=\"#runs\">{} runs</a>", origins.len())?;
    match days.as_slice() {
        [first, .., last] => writeln!(html, ", {first} to {last}</p>")?,
        [only] => writeln!(html, ", {only}</p>")?,
        [] => writeln!(html, "</p>")?,
    }
    if !all(|origin| &origin.machine) {
        html.push_str(
            "<p class=\"warning\"><strong>Different machines:</strong> these figures cannot be compared with each \
             other.</p>\n",
        );
    }
    Ok(())
}

/// The case that everybody asks about first, in three numbers, each beside the best peer's: also when that is better.
fn tiles(html: &mut String, groups: &[Group<'_>]) -> fmt::Result {
    html.push_str("<ul class=\"tiles\">");
    let usual = |name: &str| {
        let sizes = groups.iter().find(|group| group.family == name)?.sizes();
        let at = sizes.iter().position(|(bytes, _)| *bytes == 100).unwrap_or(0);
        sizes.into_iter().nth(at)
    };
    if let Some((bytes, records)) = usual("one_to_one") {
        let what = format!("one to one, {}", text::size(bytes));
        let rate = |record: &Record| record.rate.map(|rate| rate.median);
        tile(html, &what, "messages a second", &records, &rate, text::amount, true)?;
        let cpu = |record: &Record| record.cpu.map(|cpu| cpu.median);
        tile(html, &what, "CPU time for a million messages", &records, &cpu, text::cpu, false)?;
    }
    if let Some((bytes, records)) = usual("ping_pong") {
        let what = format!("round trip, {}", text::size(bytes));
        let [median, _, p99, ..] = [0, 1, 2]
            .map(|at| move |record: &Record| record.percentiles[at].map(|percentile| percentile.median));
        tile(html, &what, "median latency", &records, &median, text::duration, false)?;
        tile(html, &what, "99th percentile", &records, &p99, text::duration, false)?;
    }
    html.push_str("</ul>\n");
    Ok(())
}

fn tile(
    html: &mut String,
    what: &str,
    unit: &str,
    records: &[&Record],
    figure: &dyn Fn(&Record) -> Option<f64>,
    told: fn(f64) -> String,
    more_is_better: bool,
) -> fmt::Result {
    let best = |ours: bool| {
        let fair =
            records.iter().filter(|it| it.is_ours() == ours && !it.is_base() && it.faults().is_empty());
        let known = fair.filter_map(|record| Some((*record, figure(record).filter(|it| *it > 0.0)?)));
        known.reduce(|a, b| if (a.1 > b.1) == more_is_better { a } else { b })
    };
    let Some((_, ours)) = best(true) else { return Ok(()) };
    write!(html, "<li><span class=\"what\">{what}</span><b>{}</b><span>{unit}</span>", told(ours))?;
    let best_peer = best(false);
    let usual = records.iter().find(|record| *record.contender == *USUAL && record.faults().is_empty());
    let usual = usual.filter(|it| best_peer.is_none_or(|(best, _)| best.contender != it.contender));
    let usual = usual.and_then(|record| Some((*record, figure(record).filter(|it| *it > 0.0)?)));
    for ((peer, theirs), which) in
        best_peer.map(|it| (it, ", the best peer")).into_iter().chain(usual.map(|it| (it, "")))
    {
        let factor = if more_is_better { ours / theirs } else { theirs / ours };
        let (factor, side) = if factor >= 1.0 { (factor, "ahead of") } else { (1.0 / factor, "behind") };
        let theirs = told(theirs);
        write!(
            html,
            "<span class=\"peer\">{}× {side} {}{which} ({theirs})</span>",
            text::short(factor),
            peer.contender
        )?;
    }
    html.push_str("</li>");
    Ok(())
}

/// Groups that are shown as bars: all but those that a curve shows, and ping-pong, whose rate is its latency again.
fn barred<'g, 'a>(groups: &'g [Group<'a>]) -> Vec<&'g Group<'a>> {
    let drawn = families(groups);
    let in_curve = |group: &Group<'_>| drawn.iter().any(|family| family[0].family == group.family);
    groups.iter().filter(|group| !in_curve(group) && group.family != "ping_pong").collect()
}

fn throughput(html: &mut String, groups: &[Group<'_>], classes: &Classes<'_>) -> fmt::Result {
    html.push_str(
        "<section id=\"throughput\"><h2>Throughput</h2><p>Messages a second that arrived, as fast as a contender takes \
         them: median of the rounds, the thin line from the slowest to the fastest. The upright line is the machine's \
         limit, a bare transport that only moves the bytes; it stands behind a break when it is far, and is \
         a dashed bar where a contender passes it. What lost messages is hatched and says so.</p>\n",
    );
    bar_panels(html, groups, Figure::Rate, classes)?;
    html.push_str("</section>\n");
    Ok(())
}

fn processor(html: &mut String, groups: &[Group<'_>], classes: &Classes<'_>) -> fmt::Result {
    html.push_str(
        "<section id=\"processor\"><h2>Processor time</h2><p>Seconds that all processes of a contender together spend on \
         a million received messages: shorter is better.</p>\n",
    );
    bar_panels(html, groups, Figure::Cpu, classes)?;
    html.push_str("</section>\n");
    Ok(())
}

fn bar_panels(html: &mut String, groups: &[Group<'_>], figure: Figure, classes: &Classes<'_>) -> fmt::Result {
    for group in barred(groups) {
        subtitle(html, &group.title(), family_title(group).1)?;
        html.push_str("<div class=\"panels\">\n");
        for (bytes, records) in group.sizes() {
            bars::panel(html, &text::size(bytes), figure, &records, classes)?;
        }
        html.push_str("</div>\n");
    }
    Ok(())
}

fn subtitle(html: &mut String, title: &str, about: &str) -> fmt::Result {
    let dash = if about.is_empty() { "" } else { ": " };
    writeln!(html, "<h3>{title}<small>{dash}{about}</small></h3>")
}
