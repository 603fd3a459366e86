//! `multiplane route check`: is a routing specification right, and what does it mean?

use crate::failure::{Failure, say};
use crate::render::printable;
use multiplane_bench::table::Table;
use multiplane_bus::routing::{Place, RoutingError};
use multiplane_bus::{Route, RoutingSpec};
use std::io::{self, Write};
use std::path::PathBuf;

/// The most of a line that is shown around a mistake, in characters.
const SHOWN: usize = 100;

/// Work with routing specifications
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check a routing specification and show what it means
    ///
    /// Mistakes go to standard error, each with its place and a cure, and the exit code is then 2. So do warnings
    /// about what is legal but probably not meant, with exit code 0.
    #[command(after_help = "Example:\n  multiplane route check spec.csv")]
    Check {
        /// The CSV file
        file: PathBuf,
    },
}

pub(crate) fn run(Command::Check { file }: &Command) -> Result<(), Failure> {
    let spec = RoutingSpec::from_path(file).map_err(|error| {
        explain(&error);
        Failure::Told(2)
    })?;
    let source = printable(&file.to_string_lossy());
    for warning in spec.lint() {
        say(format_args!("{source}: warning: {warning}"));
    }
    let routes = spec.routes();
    let mut out = io::stdout().lock();
    let noun = if routes.len() == 1 { "backplane" } else { "backplanes" };
    writeln!(out, "{source}: {} {noun}", routes.len())?;
    Ok(write!(out, "{}", table(routes))?)
}

fn table(routes: &[Route]) -> Table {
    let mut table = Table::of_text(["backplane", "address", "receives from", "topics", "publishes into"]);
    let port = |port: Option<u16>| port.map_or_else(|| "nothing".to_owned(), |port| port.to_string());
    for route in routes {
        let topics = match route.subscriber_port {
            None => String::new(),
            Some(_) => {
                let shown =
                    route.topics.iter().map(|topic| if topic.is_empty() { "(every topic)" } else { topic });
                shown.collect::<Vec<_>>().join(" ")
            }
        };
        table.row([
            printable(&route.name),
            route.host.clone(),
            port(route.subscriber_port),
            printable(&topics),
            port(route.publisher_port),
        ]);
    }
    table
}

/// Each mistake in a line, with an arrow under the bad cell.
fn explain(error: &RoutingError) {
    let source = printable(error.source_name());
    for problem in error.problems() {
        match &problem.place {
            None => say(format_args!("{source}: {problem}")),
            Some(place) => {
                say(format_args!("{source}:{}:{}: {problem}", place.line, place.column));
                arrow(error.text(), place)
                    .into_iter()
                    .flatten()
                    .for_each(|line| say(format_args!("    {line}")));
            }
        }
    }
}

/// The line of the mistake and the arrow under it.
fn arrow(text: &str, place: &Place) -> Option<[String; 2]> {
    let (before, rest) = text.split_at_checked(place.span.start)?;
    let line_start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let line_end = rest.find(['\n', '\r']).unwrap_or(rest.len());
    let line = text.get(line_start..place.span.start + line_end)?;
    let marked = text.get(place.span.start..place.span.end.min(place.span.start + line_end))?;
    // One column each, whatever they are, so that the arrow stands right.
    let line: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.is_empty() {
        return None;
    }
    let column = place.column - 1;
    let skipped = (column + SHOWN / 2).saturating_sub(SHOWN).min(column);
    let shown: String = line.iter().skip(skipped).take(SHOWN).collect();
    let length = marked.chars().count().clamp(1, SHOWN - (column - skipped).min(SHOWN - 1));
    Some([shown.trim_end().to_owned(), format!("{}{}", " ".repeat(column - skipped), "^".repeat(length))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> Vec<[String; 2]> {
        let error = RoutingSpec::parse(text, "spec.csv").unwrap_err();
        error.problems().iter().filter_map(|p| arrow(error.text(), p.place.as_ref()?)).collect()
    }

    const HEADER: &str = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\r\n";

    #[test]
    fn the_arrow_stands_under_the_cell() {
        let text = format!("{HEADER}BP1,10.0.0.1,,,0\r\nBP2,10.0.0.1,99999,\"[é]\",\r\n");
        assert_eq!(
            drawn(&text),
            [["BP1,10.0.0.1,,,0", "               ^"], ["BP2,10.0.0.1,99999,\"[é]\",", "             ^^^^^"]]
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let topic = "x".repeat(400);
        let [[line, arrow]] = &drawn(&format!("{HEADER}BP1,10.0.0.1,1,\"[{topic}]\",0\n"))[..] else {
            panic!()
        };
        assert!(line.chars().count() <= SHOWN && line.ends_with(",0"), "{line}");
        assert_eq!(line.chars().count(), arrow.chars().count());
    }
}
