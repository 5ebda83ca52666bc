//! A document as Markdown (`CommonMark` with tables), which is also what a terminal shows.

use super::document::{Block, Document, Figure, Plot, Section};
use crate::text::plain;

pub(crate) fn markdown(document: &Document) -> String {
    let sections: Vec<_> = document.sections.iter().map(section).collect();
    format!("# {}\n{}", escape(&document.title), sections.concat())
}

fn section(section: &Section) -> String {
    let block = |block: &Block| match block {
        Block::Text(words) => format!("\n{}\n", escape(words)),
        Block::Table { headings, rows } => format!("\n{}", table(headings, rows)),
        Block::Plot(plot) => format!("\n{}", in_figures(plot)),
    };
    let blocks: Vec<_> = section.blocks.iter().map(block).collect();
    format!("\n## {}\n{}", escape(&section.title), blocks.concat())
}

fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let align = |column: usize| if column == 0 { "---".to_owned() } else { "---:".to_owned() };
    let mut lines = vec![line(headings.iter().map(|heading| escape(heading)).collect())];
    lines.push(line((0..headings.len()).map(align).collect()));
    lines.extend(rows.iter().map(|row| line(row.iter().map(|cell| escape(cell)).collect())));
    lines.concat()
}

/// What a plot is in text: between which values its lines are.
fn in_figures(plot: &Plot) -> String {
    if !plot.has_points() {
        return format!("{}: nothing was there to draw.\n", escape(&plot.title));
    }
    let row = |line: &super::Line| {
        let mut values: Vec<Figure> = line.points.iter().map(|(_, value)| *value).collect();
        values.sort_by(|a, b| a.least().total_cmp(&b.least()).then(a.is_above().cmp(&b.is_above())));
        let at = |place: usize| plot.unit.show(values.get(place).copied());
        vec![line.name.clone(), at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
    };
    let rows: Vec<_> = plot.lines.iter().map(row).collect();
    format!("{}:\n\n{}", escape(&plot.title), table(&["over time", "lowest", "median", "highest"], &rows))
}

/// So that it is text and nothing else, wherever it stands.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in plain(text).chars() {
        if "\\`*[]<>|&#!~".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::{Line, Unit};

    #[test]
    fn what_comes_from_outside_stays_text() {
        let rows = vec![vec!["a|b\n<script>".to_owned(), "1".to_owned()]];
        let section = Section::new("Now").table(&["x", "y"], rows, "").text("[a](b)");
        let text = markdown(&Document { title: "T".into(), sections: vec![section] });
        assert_eq!(text, "# T\n\n## Now\n\n| x | y |\n| --- | ---: |\n| a\\|b\\\\n\\<script\\> | 1 |\n\n\\[a\\](b)\n");
    }

    #[test]
    fn a_plot_is_said_in_figures() {
        let points = vec![(1.0, Figure::Is(0.5)), (2.0, Figure::Is(0.25)), (3.0, Figure::Is(1.0))];
        let (line, none) = (Line { name: "all".into(), points }, Line { name: "none".into(), points: vec![] });
        let mut plot =
            Plot { title: "P".into(), unit: Unit::Share, from: 1.0, to: 3.0, step: 1.0, lines: vec![line, none] };
        let text = in_figures(&plot);
        assert!(text.contains("| all | 25.00 % | 50.00 % | 100.00 % |\n| none | - | - | - |\n"), "{text}");
        plot.lines[0].points.extend([(4.0, Figure::Above(1.0)), (5.0, Figure::Is(1.0))]);
        assert!(in_figures(&plot).contains("| all | 25.00 % | 100.00 % | \\> 100.00 % |\n"), "{}", in_figures(&plot));
        plot.lines.clear();
        assert_eq!(in_figures(&plot), "P: nothing was there to draw.\n");
    }
}
