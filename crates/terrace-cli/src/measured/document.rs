//! What is shown to people, whether as Markdown or as HTML. Nothing in it is markup: who writes it down escapes it.

/// A page.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) title: String,
    pub(crate) sections: Vec<Section>,
}

/// A part of a page, with its heading.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
pub(crate) enum Block {
    Text(String),
    /// Of which all columns but the first are figures.
    Table {
        headings: &'static [&'static str],
        rows: Vec<Vec<String>>,
    },
    Plot(Plot),
}

/// Lines over time.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    /// From when to when, in seconds since 1970, and how far apart the points are.
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) step: f64,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// When, in seconds since 1970, and what. Finite, in order.
    pub(crate) points: Vec<(f64, Figure)>,
}

/// A number, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Figure {
    Is(f64),
    /// It is more than that. How much more is not known.
    Above(f64),
}

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    PerSecond,
    /// A part of one.
    Share,
    Seconds,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Vec::new() }
    }

    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Text(text.into()));
        self
    }

    /// A table, or in its place, when there is nothing in it, what that means.
    pub(crate) fn table(mut self, headings: &'static [&'static str], rows: Vec<Vec<String>>, none: &str) -> Self {
        let block = if rows.is_empty() { Block::Text(none.into()) } else { Block::Table { headings, rows } };
        self.blocks.push(block);
        self
    }
}

impl Figure {
    /// The number, or the one that it is above.
    pub(crate) fn least(self) -> f64 {
        let (Self::Is(number) | Self::Above(number)) = self;
        number
    }

    pub(crate) fn is_above(self) -> bool {
        matches!(self, Self::Above(_))
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        match self {
            Self::Is(number) => Self::Is(number * factor),
            Self::Above(number) => Self::Above(number * factor),
        }
    }
}

impl From<f64> for Figure {
    fn from(number: f64) -> Self {
        Self::Is(number)
    }
}

impl Plot {
    /// Whether there is anything to draw.
    pub(crate) fn has_points(&self) -> bool {
        self.lines.iter().any(|line| !line.points.is_empty())
    }
}

impl Unit {
    /// For people; of what is not known, that.
    pub(crate) fn show(self, figure: Option<impl Into<Figure>>) -> String {
        let Some(figure) = figure.map(Into::into).filter(|figure: &Figure| figure.least().is_finite()) else {
            return "-".into();
        };
        let number = figure.least();
        let shown = match self {
            Self::Count => format!("{number:.0}"),
            Self::PerSecond => format!("{number:.1} /s"),
            Self::Share => format!("{:.2} %", number * 100.0),
            Self::Seconds => seconds(number),
        };
        if figure.is_above() { format!("> {shown}") } else { shown }
    }
}

fn seconds(number: f64) -> String {
    match number {
        _ if number >= 7200.0 => format!("{:.1} h", number / 3600.0),
        _ if number >= 120.0 => format!("{:.1} min", number / 60.0),
        _ if number >= 1.0 => format!("{number:.2} s"),
        _ if number >= 1e-3 => format!("{:.2} ms", number * 1e3),
        _ => format!("{:.1} µs", number * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_what_is_unknown_has_none() {
        assert_eq!(Unit::Share.show(Some(0.98765)), "98.77 %");
        assert_eq!(Unit::Count.show(Some(12.4)), "12");
        for (number, text) in [
            (0.0, "0.0 µs"),
            (25e-6, "25.0 µs"),
            (0.0123, "12.30 ms"),
            (1.5, "1.50 s"),
            (300.0, "5.0 min"),
            (9000.0, "2.5 h"),
        ] {
            assert_eq!(Unit::Seconds.show(Some(number)), text);
        }
        for unknown in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!(Unit::PerSecond.show(unknown), "-");
        }
        assert_eq!(Unit::Seconds.show(Some(Figure::Above(5.0))), "> 5.00 s");
        assert_eq!(Unit::Seconds.show(Some(Figure::Above(f64::INFINITY))), "-");
    }
}
