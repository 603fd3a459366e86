//! Curves over an axis of nines or of counts, against a logarithmic one.
//!
//! The drawing is stretched to whatever room there is, so lines keep their width (`vector-effect`) and all words stand
//! beside it in HTML: they stay readable on a telephone.

use std::fmt::{self, Write};

/// The drawing's own units, in both directions.
const SIDE: f64 = 1000.0;
/// Of the drawing, and of a line of text beside it, in pixels.
const HEIGHT: f64 = 264.0;
const LINE: f64 = 17.0;

/// One contender's line.
pub(super) struct Curve {
    /// As HTML.
    pub(super) name: String,
    /// Its CSS class: colour and dashes.
    pub(super) class: &'static str,
    /// What it says, in words.
    pub(super) told: String,
    /// Whether messages were lost, swapped or doubled.
    pub(super) faulty: bool,
    /// (place on the x axis from 0 to 1, positive value)
    pub(super) points: Vec<(f64, f64)>,
}

pub(super) struct Plot {
    /// As HTML.
    pub(super) title: String,
    /// What the axes tell.
    pub(super) axes: &'static str,
    /// Whether the points are measurements of their own, to be marked.
    pub(super) dots: bool,
    /// (place from 0 to 1, label)
    pub(super) x: Vec<(f64, String)>,
    pub(super) y_label: fn(f64) -> String,
    pub(super) curves: Vec<Curve>,
}

/// A logarithmic axis that holds all values between two of its ticks.
struct Logarithmic {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Logarithmic {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(a, b), v| (a.min(v), b.max(v)));
        let least = least.min(most);
        let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
        let steps = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power)));
        let all: Vec<f64> = steps.collect();
        let low = all.iter().rposition(|tick| *tick <= least * 1.000_001).unwrap_or(0);
        let high = all.iter().position(|tick| *tick >= most * 0.999_999).unwrap_or(all.len() - 1);
        let (low, high) = if high > low { (low, high) } else { (low.saturating_sub(1), low + 1) };
        let within = all[low..=high].iter().copied();
        // Powers of ten are enough when there are several of them, and every other when there are many.
        let power = |tick: &f64| tick.log10().round() as i32;
        let is_power = |tick: &f64| (tick / 10f64.powi(power(tick)) - 1.0).abs() < 1e-6;
        let powers: Vec<f64> = within.clone().filter(is_power).collect();
        let ticks = match powers.len() {
            ..3 => within.collect(),
            3..8 => powers,
            _ => powers.into_iter().filter(|tick| power(tick) % 2 == 0).collect(),
        };
        Logarithmic { low: all[low], high: all[high], ticks }
    }

    /// From 0 at the top to 1 at the bottom.
    fn place(&self, value: f64) -> f64 {
        1.0 - ((value / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }
}

impl Plot {
    /// Nothing when there is nothing to draw.
    pub(super) fn draw(mut self, html: &mut String) -> fmt::Result {
        self.curves.retain(|curve| !curve.points.is_empty());
        if self.curves.is_empty() {
            return Ok(());
        }
        let y = Logarithmic::of(self.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1));
        let height = HEIGHT.max(self.curves.len() as f64 * LINE);
        write!(
            html,
            "<figure class=\"panel\"><figcaption>{} <small>{}</small></figcaption>\
             <div class=\"plot\" style=\"--height:{height}px\"><div class=\"y\" aria-hidden=\"true\">",
            self.title, self.axes
        )?;
        for tick in &y.ticks {
            write!(
                html,
                "<span style=\"top:{:.2}%\">{}</span>",
                y.place(*tick) * 100.0,
                (self.y_label)(*tick)
            )?;
        }
        html.push_str("</div>");
        self.lines(html, &y)?;
        html.push_str("<ul class=\"keys\">");
        for (curve, top) in self.curves.iter().zip(self.keys(&y, height)) {
            write!(
                html,
                "<li class=\"{}\" style=\"--top:{top:.1}px\"><svg class=\"swatch\" aria-hidden=\"true\">\
                 <line x1=\"0\" x2=\"100%\" y1=\"50%\" y2=\"50%\"/></svg>{}{}<span class=\"unseen\">: {}</span></li>",
                curve.class,
                curve.name,
                if curve.faulty { " <strong class=\"fault\">loses</strong>" } else { "" },
                curve.told
            )?;
        }
        html.push_str("</ul><div class=\"x\" aria-hidden=\"true\">");
        for (place, label) in &self.x {
            write!(html, "<span style=\"left:{:.2}%\">{label}</span>", place * 100.0)?;
        }
        html.push_str("</div></div></figure>\n");
        Ok(())
    }

    fn lines(&self, html: &mut String, y: &Logarithmic) -> fmt::Result {
        write!(
            html,
            "<svg class=\"lines\" viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{}: {}\"><g class=\"grid\">",
            self.title, self.axes
        )?;
        for tick in &y.ticks {
            write!(html, "<path d=\"M0 {:.1}H{SIDE}\"/>", y.place(*tick) * SIDE)?;
        }
        for (place, _) in &self.x {
            write!(html, "<path d=\"M{:.1} 0V{SIDE}\"/>", place * SIDE)?;
        }
        html.push_str("</g>");
        // What is drawn last lies on top: ours comes first in the list.
        for curve in self.curves.iter().rev() {
            write!(
                html,
                "<g class=\"{}\"><title>{}: {}</title><path d=\"",
                curve.class, curve.name, curve.told
            )?;
            for (number, (x, value)) in curve.points.iter().enumerate() {
                let command = if number == 0 { 'M' } else { 'L' };
                write!(html, "{command}{:.1} {:.1}", x * SIDE, y.place(*value) * SIDE)?;
            }
            html.push_str("\"/>");
            // A line of no length with round ends is a dot that stretching leaves round.
            for (x, value) in curve.points.iter().filter(|_| self.dots || curve.points.len() == 1) {
                let (x, y) = (x * SIDE, y.place(*value) * SIDE);
                write!(html, "<path class=\"dot\" d=\"M{x:.1} {y:.1}h0\"/>")?;
            }
            html.push_str("</g>");
        }
        html.push_str("</svg>");
        Ok(())
    }

    /// Where the names stand beside the ends of their lines, a line of text apart.
    fn keys(&self, y: &Logarithmic, height: f64) -> Vec<f64> {
        let ends =
            self.curves.iter().map(|curve| curve.points.last().map_or(0.0, |last| y.place(last.1) * height));
        let mut order: Vec<(usize, f64)> = ends.enumerate().collect();
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        // Push down what overlaps, then push up what was pushed out.
        let mut bottom = f64::MIN;
        for (_, top) in &mut order {
            *top = top.max(bottom + LINE);
            bottom = *top;
        }
        let mut ceiling = height + LINE / 2.0;
        for (_, top) in order.iter_mut().rev() {
            *top = top.min(ceiling);
            ceiling = *top - LINE;
        }
        let mut tops = vec![0.0; order.len()];
        for (which, top) in order {
            tops[which] = top;
        }
        tops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_holds_all_values() {
        for values in [vec![3.0], vec![1.0, 1.0], vec![0.2, 7.0], vec![37.0, 98_000.0], vec![1e-3, 1e9]] {
            let axis = Logarithmic::of(values.iter().copied());
            assert!(axis.ticks.len() >= 2, "{values:?}");
            for value in &values {
                assert!(
                    axis.low <= value * 1.001 && *value <= axis.high * 1.001,
                    "{values:?}: {:?}",
                    axis.ticks
                );
                assert!((0.0..=1.0).contains(&axis.place(*value)));
            }
        }
    }

    #[test]
    fn names_do_not_overlap() {
        let curve = |value| Curve {
            name: String::new(),
            class: "",
            told: String::new(),
            faulty: false,
            points: vec![(1.0, value)],
        };
        let curves = [5.0, 5.0, 5.1, 1.0, 10.0, 1.0].map(curve).into();
        let plot = Plot {
            title: String::new(),
            axes: "",
            dots: true,
            x: vec![],
            y_label: |_| String::new(),
            curves,
        };
        let axis = Logarithmic::of([1.0, 10.0].into_iter());
        let mut tops = plot.keys(&axis, HEIGHT);
        tops.sort_by(f64::total_cmp);
        assert!(tops.windows(2).all(|pair| pair[1] - pair[0] >= LINE - 1e-9), "{tops:?}");
        assert!(tops.iter().all(|top| (0.0..=HEIGHT + LINE).contains(top)), "{tops:?}");
    }
}
