//! All figures as a table, and where they come from.

use super::record::{Origin, PERCENTILES, Record, Spread};
use super::scenarios::Group;
use super::text::{self, grouped};
use std::fmt::{self, Write};
use std::rc::Rc;

/// The origins of all rows, each once.
pub(super) fn origins(records: &[Record]) -> Vec<Rc<Origin>> {
    let mut origins: Vec<Rc<Origin>> = Vec::new();
    for record in records {
        if !origins.contains(&record.origin) {
            origins.push(Rc::clone(&record.origin));
        }
    }
    origins
}

/// Every row of every file.
pub(super) fn table(html: &mut String, groups: &[Group<'_>], origins: &[Rc<Origin>]) -> fmt::Result {
    html.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of all figures\">\
         <table><thead><tr><th scope=\"col\">contender</th><th scope=\"col\">messages/s</th>\
         <th scope=\"col\">min to max</th><th scope=\"col\">lost</th><th scope=\"col\">reordered</th>\
         <th scope=\"col\">duplicate</th><th scope=\"col\">CPU s per million</th><th scope=\"col\">at rate/s</th>",
    );
    for (title, ..) in PERCENTILES {
        write!(html, "<th scope=\"col\">{title}</th>")?;
    }
    html.push_str("<th scope=\"col\">max</th>");
    for title in ["received", "rounds", "lossless by", "run"] {
        write!(html, "<th scope=\"col\">{title}</th>")?;
    }
    let columns = 8 + PERCENTILES.len() + 1 + 4;
    html.push_str("</tr></thead>\n");
    for group in groups {
        for (bytes, _) in group.sizes() {
            writeln!(
                html,
                "<tbody><tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{columns}\"><span>{}, {}</span></th></tr>",
                group.title(),
                text::size(bytes)
            )?;
            for record in group.records.iter().filter(|record| record.bytes == bytes) {
                row(html, record, origins, columns)?;
            }
            html.push_str("</tbody>\n");
        }
    }
    html.push_str("</table></div>\n");
    Ok(())
}

fn row(html: &mut String, record: &Record, origins: &[Rc<Origin>], columns: usize) -> fmt::Result {
    let mut kind = if record.is_ours() { "ours" } else { "peer" }.to_owned();
    if record.superseded {
        kind += " superseded";
    }
    write!(html, "<tr class=\"{kind}\"><th scope=\"row\">{}", record.contender)?;
    if record.superseded {
        html.push_str(" <small>superseded</small>");
    }
    html.push_str("</th>");
    let run = origins.iter().position(|origin| *origin == record.origin).map_or(0, |at| at + 1);
    if let Some(why) = &record.error {
        writeln!(
            html,
            "<td class=\"why\" colspan=\"{}\">not measured: {why}</td><td>{run}</td></tr>",
            columns - 2
        )?;
        return Ok(());
    }
    let mut cell = |shown: Option<String>| match shown {
        Some(shown) => write!(html, "<td>{shown}</td>"),
        None => html.write_str("<td class=\"none\">–</td>"),
    };
    let whole = |figure: f64| grouped(figure.round() as u64);
    cell(record.rate.map(|rate| whole(rate.median)))?;
    cell(record.rate.map(|rate| format!("{} to {}", whole(rate.min), whole(rate.max))))?;
    for count in [record.lost, record.reordered, record.duplicates] {
        cell(Some(match count {
            0 => "0".to_owned(),
            _ => format!("<strong class=\"fault\">{}</strong>", grouped(count)),
        }))?;
    }
    cell(record.cpu.map(|cpu| format!("{:.2}", cpu.median)))?;
    cell(record.latency_rate.map(whole))?;
    for percentile in record.percentiles {
        cell(percentile.map(|Spread { median, .. }| text::duration(median)))?;
    }
    cell(record.max.map(text::duration))?;
    cell(Some(grouped(record.received)))?;
    cell(Some(grouped(record.rounds)))?;
    cell(record.lossless_by.as_ref().map(|by| match record.credit_window {
        Some(window) => format!("{by} of {}", grouped(window)),
        None => by.to_string(),
    }))?;
    cell(Some(run.to_string()))?;
    html.push_str("</tr>\n");
    Ok(())
}

/// Machine, kernel, compiler, commit, date and file of each run.
pub(super) fn provenance(html: &mut String, origins: &[Rc<Origin>]) -> fmt::Result {
    html.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of runs\"><table class=\"words\">\
         <thead><tr><th scope=\"col\">run</th><th scope=\"col\">machine</th><th scope=\"col\">kernel</th>\
         <th scope=\"col\">compiler</th><th scope=\"col\">commit</th><th scope=\"col\">date</th>\
         <th scope=\"col\">file</th></tr></thead><tbody>\n",
    );
    for (number, origin) in origins.iter().enumerate() {
        let Origin { file, machine, kernel, rustc, commit, date, optimised } = &**origin;
        let debug = if *optimised { "" } else { " <strong class=\"fault\">not optimised</strong>" };
        writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{machine}</td><td>{kernel}</td><td>{rustc}{debug}</td><td>{commit}</td>\
             <td>{date}</td><td>{file}</td></tr>",
            number + 1
        )?;
    }
    html.push_str("</tbody></table></div>\n");
    Ok(())
}
