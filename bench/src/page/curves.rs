//! Latency over percentiles, and rates and costs over the number of parties.

use super::bars::Figure;
use super::classes::{Classes, in_order};
use super::plot::{Curve, Plot};
use super::record::{PERCENTILES, Record};
use super::scenarios::{Group, families, family_title};
use super::{subtitle, text};
use std::f64::consts::LOG10_2;
use std::fmt::{self, Write};

pub(super) fn latency(html: &mut String, groups: &[Group<'_>], classes: &Classes) -> fmt::Result {
    html.push_str(
        "<section id=\"latency\"><h2>Latency</h2><p>How long the slowest messages take: each step to the right is one \
         nine more, so 99.9 is the slowest in a thousand. Time counts from when a message was <em>due</em>, so that a \
         stall cannot hide by stopping the publisher. Ping-pong is a round trip; elsewhere messages flow at half of \
         the contender's own maximum, but at most a million a second, unless a rate was given: so who is faster is \
         tested at more. The table below tells the rates.</p>\n",
    );
    // All numbers of a family stand together; what everybody asks about first comes first.
    let mut families: Vec<&[Group<'_>]> = groups.chunk_by(|a, b| a.family == b.family).collect();
    families.sort_by_key(|family| family[0].family != "ping_pong");
    for family in families {
        let mut panels = String::new();
        for group in family {
            for (bytes, records) in group.sizes() {
                let size = text::size(bytes);
                let title = group.n.map_or_else(|| size.clone(), |_| format!("{}, {size}", group.title()));
                latency_plot(title, &records, classes).draw(&mut panels)?;
            }
        }
        if !panels.is_empty() {
            let (title, about) = family_title(&family[0]);
            subtitle(html, &title, about)?;
            write!(html, "<div class=\"panels\">\n{panels}</div>\n")?;
        }
    }
    html.push_str("</section>\n");
    Ok(())
}

fn latency_plot(title: String, records: &[&Record], classes: &Classes) -> Plot {
    let nines = records.iter().flat_map(|record| &record.curve).map(|(nines, _)| *nines).fold(2.0, f64::max);
    let curve = |record: &&Record| Curve {
        name: record.contender.to_string(),
        class: classes.class(record),
        told: told_latencies(record),
        faulty: !record.faults().is_empty(),
        points: record.curve.iter().map(|(at, micros)| (at / nines, micros.max(1e-3))).collect(),
    };
    let labels = ["50", "90", "99", "99.9", "99.99", "99.999", "99.9999"];
    let places = [LOG10_2, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let ticks = places.into_iter().zip(labels).filter(|(at, _)| *at <= nines);
    Plot {
        title,
        axes: "time over percentile",
        dots: false,
        x: ticks.map(|(at, label)| (at / nines, label.to_owned())).collect(),
        y_label: text::duration_tick,
        curves: in_order(records).iter().map(curve).collect(),
    }
}

fn told_latencies(record: &Record) -> String {
    let known = PERCENTILES.iter().zip(&record.percentiles);
    let known =
        known.filter_map(|((name, ..), value)| Some(format!("{name} {}", text::duration((*value)?.median))));
    known.collect::<Vec<_>>().join(", ")
}

pub(super) fn scaling(html: &mut String, groups: &[Group<'_>], classes: &Classes) -> fmt::Result {
    html.push_str(
        "<section id=\"scaling\"><h2>Scaling</h2><p>What becomes of rate and cost as the number of parties grows. Flat \
         is free; the rate counts what all subscribers receive together.</p>\n",
    );
    let families = families(groups);
    if families.is_empty() {
        html.push_str("<p class=\"note\">Nothing was measured at more than one number.</p>\n");
    }
    for family in families {
        let (title, about) = family_title(family[0]);
        subtitle(html, &title, about)?;
        html.push_str("<div class=\"panels\">\n");
        let mut sizes: Vec<u64> =
            family.iter().flat_map(|group| group.sizes()).map(|(bytes, _)| bytes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        for bytes in sizes {
            for figure in [Figure::Rate, Figure::Cpu] {
                scaling_plot(&family, bytes, figure, classes).draw(html)?;
            }
        }
        html.push_str("</div>\n");
    }
    html.push_str("</section>\n");
    Ok(())
}

fn scaling_plot(family: &[&Group<'_>], bytes: u64, figure: Figure, classes: &Classes) -> Plot {
    let numbers: Vec<f64> = family.iter().filter_map(|group| group.n).map(|n| n as f64).collect();
    let (first, last) = (numbers.first().copied().unwrap_or(1.0), numbers.last().copied().unwrap_or(2.0));
    let place = |n: f64| (n / first).ln() / (last / first).ln();
    let rows: Vec<(f64, &Record)> = numbers
        .iter()
        .zip(family)
        .flat_map(|(n, group)| group.records.iter().map(move |record| (*n, *record)))
        .filter(|(_, record)| record.bytes == bytes && !record.superseded)
        .collect();
    let mut whose: Vec<&Record> = Vec::new();
    for (_, record) in &rows {
        if !whose.iter().any(|known| known.contender == record.contender) {
            whose.push(record);
        }
    }
    let value = |record: &Record| figure.of(record).map(|spread| spread.median).filter(|value| *value > 0.0);
    let curve = |who: &&Record| {
        let own = rows.iter().filter(|(_, record)| record.contender == who.contender);
        let points: Vec<_> =
            own.filter_map(|(n, record)| Some((*n, value(record)?, record.faults()))).collect();
        let told = points.iter().map(|(n, value, faults)| {
            let faults = if faults.is_empty() { String::new() } else { format!(" ({})", faults.join(", ")) };
            format!("{} at {}{faults}", figure.told(*value), text::amount_tick(*n))
        });
        let faulty = points.iter().any(|(_, _, faults)| !faults.is_empty());
        Curve {
            name: who.contender.to_string(),
            faulty,
            class: classes.class(who),
            told: told.collect::<Vec<_>>().join(", "),
            points: points.iter().map(|(n, value, _)| (place(*n), *value)).collect(),
        }
    };
    Plot {
        title: text::size(bytes),
        axes: match figure {
            Figure::Rate => "messages a second",
            Figure::Cpu => "processor seconds per million messages",
        },
        dots: true,
        x: numbers.iter().map(|n| (place(*n), text::amount_tick(*n))).collect(),
        y_label: match figure {
            Figure::Rate => text::amount_tick,
            Figure::Cpu => text::cpu_tick,
        },
        curves: in_order(&whose).iter().map(curve).collect(),
    }
}
