//! Bars: one panel per payload size, one row per contender, the machine's limit as a line through all of them.

use super::classes::Classes;
use super::record::{Record, Spread};
use super::text;
use std::fmt::{self, Write};

/// What the bars tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    /// Messages a second: more is better, and the bare transport is the limit.
    Rate,
    /// Processor seconds per million messages: less is better.
    Cpu,
}

impl Figure {
    pub(super) fn of(self, record: &Record) -> Option<Spread> {
        match self {
            Figure::Rate => record.rate,
            Figure::Cpu => record.cpu,
        }
    }

    pub(super) fn told(self, figure: f64) -> String {
        match self {
            Figure::Rate => text::amount(figure),
            Figure::Cpu => text::cpu(figure),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Figure::Rate => "messages a second",
            Figure::Cpu => "of processor time per million messages",
        }
    }
}

/// The limit stands at its place while that leaves the bars so much of the width, in percent; else beyond a break.
const LEAST: f64 = 50.0;
/// Where the best bar ends, the axis breaks, and the limit stands then.
const BEST: f64 = 76.0;
const BREAK: f64 = 89.0;
const LIMIT: f64 = 98.5;

/// Where figures stand, in percent of the width.
struct Scale {
    /// Of one unit.
    step: f64,
    limit: Option<f64>,
    broken: bool,
}

impl Scale {
    fn of(figures: &[Spread], limit: Option<f64>) -> Self {
        let most = figures.iter().map(|figure| figure.max).fold(1e-12, f64::max);
        let Some(limit) = limit else { return Scale { step: LIMIT / most, limit: None, broken: false } };
        let step = LIMIT / limit.max(most);
        if most * step >= LEAST {
            return Scale { step, limit: Some(limit * step), broken: false };
        }
        Scale { step: BEST / most, limit: Some(LIMIT), broken: true }
    }
}

/// One payload size of one scenario. Nothing when nothing was measured.
pub(super) fn panel(
    html: &mut String,
    title: &str,
    figure: Figure,
    records: &[&Record],
    classes: &Classes<'_>,
) -> fmt::Result {
    let measured = |base: bool| {
        let wanted = records.iter().filter(move |record| record.is_base() == base);
        wanted.filter_map(|record| Some((*record, figure.of(record)?))).collect::<Vec<_>>()
    };
    let (mut bars, mut bases) = (measured(false), measured(true));
    if bars.is_empty() && bases.is_empty() {
        return Ok(());
    }
    let order = |a: &Spread, b: &Spread| match figure {
        Figure::Rate => b.median.total_cmp(&a.median),
        Figure::Cpu => a.median.total_cmp(&b.median),
    };
    bars.sort_by(|(_, a), (_, b)| order(a, b));
    bases.sort_by(|(_, a), (_, b)| order(a, b));
    let spreads: Vec<Spread> = bars.iter().map(|(_, spread)| *spread).collect();
    // Of several bare transports the slowest that is still faster than all contenders says what can be reached.
    let best = spreads.iter().map(|spread| spread.median).fold(0.0, f64::max);
    let limits = bases.iter().map(|(_, spread)| spread.median).filter(|limit| *limit >= best);
    let limit = limits.reduce(f64::min).filter(|_| figure == Figure::Rate);
    let scale = Scale::of(&spreads, limit);

    write!(html, "<figure class=\"panel\"><figcaption>{title}</figcaption><ul class=\"bars\">")?;
    for (record, spread) in &bases {
        let is_limit = limit == Some(spread.median);
        row(html, &Row { record, spread, figure, scale: &scale, best, is_limit, classes })?;
    }
    for (record, spread) in &bars {
        row(html, &Row { record, spread, figure, scale: &scale, best, is_limit: false, classes })?;
    }
    html.push_str("</ul>");
    missing(html, records)?;
    html.push_str("</figure>\n");
    Ok(())
}

/// Who has no figure, and why: there for those who ask.
fn missing(html: &mut String, records: &[&Record]) -> fmt::Result {
    let missing: Vec<_> = records.iter().filter_map(|it| Some((&it.contender, it.error.as_ref()?))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    write!(html, "<details><summary>{} not measured</summary><ul>", missing.len())?;
    for (contender, why) in missing {
        let named = if why.starts_with(&**contender) { String::new() } else { format!("{contender}: ") };
        write!(html, "<li>{named}{why}</li>")?;
    }
    html.push_str("</ul></details>");
    Ok(())
}

struct Row<'a> {
    record: &'a Record,
    spread: &'a Spread,
    figure: Figure,
    scale: &'a Scale,
    classes: &'a Classes<'a>,
    /// The best median of the contenders.
    best: f64,
    is_limit: bool,
}

fn row(html: &mut String, row: &Row<'_>) -> fmt::Result {
    let Row { record, spread, figure, scale, .. } = row;
    let faults = record.faults();
    let kind = row.classes.class(record);
    let faulty = if faults.is_empty() { "" } else { " faulty" };
    write!(html, "<li class=\"{kind}{faulty}\"><span class=\"name\">{}", record.contender)?;
    if row.is_limit {
        html.push_str(" <small>the limit</small>");
    }
    if !faults.is_empty() {
        write!(html, " <strong class=\"fault\">{}</strong>", faults.join(", "))?;
    }
    html.push_str("</span>");
    drawing(html, row)?;
    let (min, max) = (figure.told(spread.min), figure.told(spread.max));
    write!(
        html,
        "<span class=\"value\" title=\"{min} to {max}\">{}<span class=\"unseen\"> {}, from {min} to {max} in \
         {} rounds</span>",
        figure.told(spread.median),
        figure.unit(),
        record.rounds
    )?;
    if row.is_limit && scale.broken && row.best > 0.0 {
        write!(html, " <small>{:.1}× best</small>", spread.median / row.best)?;
    }
    html.push_str("</span></li>");
    Ok(())
}

/// The row's share of the panel: bar, spread, and its piece of the limit's line. All of it is told in words beside it.
fn drawing(html: &mut String, row: &Row<'_>) -> fmt::Result {
    let Row { record, spread, figure, scale, is_limit, .. } = row;
    let at = |value: f64| (value * scale.step).clamp(0.0, 100.0);
    html.push_str("<svg class=\"bar\" aria-hidden=\"true\">");
    // A bare transport beyond the limit has no place; the limit itself is a line.
    let beyond = record.is_base() && *figure == Figure::Rate && spread.median >= row.best;
    if !beyond {
        let width = at(spread.median).max(0.4);
        write!(html, "<rect class=\"fill\" y=\"24%\" width=\"{width:.2}%\" height=\"52%\" rx=\"2\"/>")?;
        if !record.faults().is_empty() {
            write!(html, "<rect class=\"hatch\" y=\"24%\" width=\"{width:.2}%\" height=\"52%\" rx=\"2\"/>")?;
        }
        let (min, max) = (at(spread.min), at(spread.max));
        write!(html, "<line class=\"spread\" x1=\"{min:.2}%\" x2=\"{max:.2}%\" y1=\"50%\" y2=\"50%\"/>")?;
    }
    if let Some(limit) = scale.limit {
        let top = if *is_limit { "50%" } else { "0" };
        if *is_limit {
            write!(html, "<line class=\"lead\" x1=\"0\" x2=\"{limit:.2}%\" y1=\"50%\" y2=\"50%\"/>")?;
        }
        if !beyond || *is_limit {
            write!(
                html,
                "<line class=\"limit\" x1=\"{limit:.2}%\" x2=\"{limit:.2}%\" y1=\"{top}\" y2=\"100%\"/>"
            )?;
        }
    }
    if scale.broken && *is_limit {
        write!(
            html,
            "<svg x=\"{BREAK}%\" y=\"50%\" overflow=\"visible\"><path class=\"gap\" d=\"M0 -6V6\"/>\
             <path class=\"break\" d=\"M-5 7L-1 -7M1 7L5 -7\"/></svg>"
        )?;
    }
    html.push_str("</svg>");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_stands_in_its_place_or_beyond_a_break() {
        let spread = |median| Spread { median, min: median, max: median };
        let near = Scale::of(&[spread(60.0)], Some(100.0));
        assert!(!near.broken);
        assert!((60.0 * near.step / near.limit.unwrap() - 0.6).abs() < 1e-9, "to scale");
        let far = Scale::of(&[spread(10.0)], Some(100.0));
        assert!(far.broken && (10.0 * far.step - BEST).abs() < 1e-9);
        assert!(Scale::of(&[spread(0.0)], None).step.is_finite());
    }
}
