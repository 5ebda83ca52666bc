//! A document as a page that needs nothing else: no script, no font, no picture from anywhere. It is well-formed XML, too.

use super::plot;
use crate::measured::{Block, Document, Line, Plot, Section, Unit};
use crate::text::plain;
use quick_xml::escape::escape;

/// Nothing may be loaded, whatever got onto the page.
const HEAD: &str = r#"<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #d5dae0; }
table { border-collapse: collapse; margin: .8rem 0; min-width: 24rem; }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #e6e9ec; text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: #57606a; }
figure { margin: 1.2rem 0; } figcaption { font-weight: 600; }
svg { width: 100%; height: auto; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin: 0; padding: 0; }
</style>"#;

pub(super) fn html(document: &Document) -> String {
    let title = text(&document.title);
    let sections: String = document.sections.iter().map(section).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n{HEAD}\n<title>{title}</title>\n</head>\n\
         <body>\n<h1>{title}</h1>\n{sections}</body>\n</html>\n"
    )
}

/// So that it is text, in an element or in a plot.
fn text(raw: &str) -> String {
    escape(plain(raw)).into_owned()
}

fn section(section: &Section) -> String {
    let blocks: String = section.blocks.iter().map(block).collect();
    format!("<section>\n<h2>{}</h2>\n{blocks}</section>\n", text(&section.title))
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(words) => format!("<p>{}</p>\n", text(words)),
        Block::Table { headings, rows } => table(headings, rows),
        Block::Plot(plot) => figure(plot),
    }
}

fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let head = row("th", headings.iter().copied());
    let body: Vec<_> = rows.iter().map(|cells| row("td", cells.iter().map(String::as_str))).collect();
    format!("<table>\n<thead>\n{head}</thead>\n<tbody>\n{}</tbody>\n</table>\n", body.concat())
}

fn row<'a>(tag: &str, cells: impl Iterator<Item = &'a str>) -> String {
    let cells: Vec<_> = cells.map(|cell| format!("<{tag}>{}</{tag}>", text(cell))).collect();
    format!("<tr>{}</tr>\n", cells.concat())
}

fn figure(plot: &Plot) -> String {
    let drawn = if plot.has_points() { plot::svg(plot) } else { Err("Nothing was there to draw.".into()) };
    let drawn = drawn.unwrap_or_else(|why| format!("<p>{}</p>\n", text(&why)));
    format!("<figure>\n<figcaption>{}</figcaption>\n{drawn}{}</figure>\n", text(&plot.title), legend(plot))
}

/// Beneath the plot, where it hides nothing. What is above a number is drawn at it, so it is said.
fn legend(plot: &Plot) -> String {
    let lines = plot.lines.iter().enumerate().filter(|(_, line)| !line.points.is_empty());
    let line = |(place, line): (usize, &Line)| {
        format!(
            "<li><span style=\"color: {}\">&#9644;</span> {}</li>",
            plot::color(place),
            text(&explained(line, plot.unit))
        )
    };
    let lines: Vec<_> = lines.map(line).collect();
    if lines.is_empty() { String::new() } else { format!("<ul>{}</ul>\n", lines.concat()) }
}

fn explained(line: &Line, unit: Unit) -> String {
    let above = line.points.iter().map(|(_, value)| *value).find(|value| value.is_above());
    above.map_or_else(
        || line.name.clone(),
        |above| format!("{} (at {}: {})", line.name, unit.show(Some(above.least())), unit.show(Some(above))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::Figure;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    /// Whether it is well-formed: every element is closed by itself, every entity is known.
    fn elements(page: &str) -> Vec<String> {
        let mut reader = Reader::from_str(page);
        reader.config_mut().check_end_names = true;
        let (mut names, mut open) = (Vec::new(), 0);
        loop {
            match reader.read_event().expect("well-formed") {
                Event::Start(element) => {
                    open += 1;
                    names.push(element.name().as_ref().to_owned());
                }
                Event::Empty(element) => names.push(element.name().as_ref().to_owned()),
                Event::End(_) => open -= 1,
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(open, 0);
        names
    }

    #[test]
    fn what_comes_from_outside_is_no_markup() {
        let evil = "</td><script src=\"//x\">\u{0}&<img onerror='x'>]]>";
        let rows = vec![vec![evil.to_owned(), "1".to_owned()]];
        let mut section = Section::new(evil).text(evil).table(&["a", "b"], rows, "");
        let line = Line { name: evil.into(), points: vec![(1.0, Figure::Is(2.0)), (2.0, Figure::Is(3.0))] };
        let plot = Plot { title: evil.into(), unit: Unit::PerSecond, from: 0.0, to: 2.0, step: 1.0, lines: vec![line] };
        section.blocks.push(Block::Plot(plot));
        let page = html(&Document { title: evil.into(), sections: vec![section] });
        let names = elements(&page);
        assert!(names.iter().any(|name| name == "polyline"), "{names:?}");
        assert!(!names.iter().any(|name| name == "script" || name == "img"), "{names:?}");
        assert!(!page.contains('\u{0}'));
    }

    #[test]
    fn what_is_above_the_last_edge_is_said_to_be() {
        let points = vec![(1.0, Figure::Is(2.0)), (2.0, Figure::Above(5.0))];
        let lines = vec![
            Line { name: "P50".into(), points: vec![(1.0, Figure::Is(5.0))] },
            Line { name: "P95".into(), points },
        ];
        let plot = Plot { title: "P".into(), unit: Unit::Seconds, from: 0.0, to: 2.0, step: 1.0, lines };
        let figure = figure(&plot);
        assert!(figure.contains(" P50</li>") && figure.contains(" P95 (at 5.00 s: &gt; 5.00 s)</li>"), "{figure}");
        assert!(!figure.contains("inf") && !figure.contains("NaN"), "{figure}");
    }

    #[test]
    fn a_plot_without_points_says_so() {
        let plot = Plot { title: "P".into(), unit: Unit::Share, from: 0.0, to: 2.0, step: 1.0, lines: vec![] };
        assert!(figure(&plot).contains("Nothing was there to draw."));
    }
}
