//! A plot as SVG. Drawn by plotters: scales, ticks and their labels are more than lines between points.

use crate::measured::{Line, Plot, Unit, time};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::error::Error;

const SIZE: (u32, u32) = (960, 280);

/// Told apart also by those who see no red or no green (Okabe and Ito).
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

const GREY: RGBColor = RGBColor(87, 96, 106);

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Of a line by its place, for what explains it.
pub(super) fn color(place: usize) -> String {
    let RGBColor(red, green, blue) = COLORS[place % COLORS.len()];
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// # Errors
///
/// In a few words, why it cannot be drawn.
pub(super) fn svg(plot: &Plot) -> Result<String, String> {
    let mut text = String::new();
    draw(plot, &mut text).map_err(|error| format!("It cannot be drawn: {error}."))?;
    Ok(text)
}

fn draw(plot: &Plot, text: &mut String) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    {
        let mut builder = ChartBuilder::on(&area);
        builder.margin(10).x_label_area_size(28).y_label_area_size(70);
        let mut chart = builder.build_cartesian_2d(plot.from..plot.to, 0.0..top(plot)).map_err(owned)?;
        axes(&mut chart, plot)?;
        for (line, color) in plot.lines.iter().zip(COLORS.into_iter().cycle()) {
            if !line.points.is_empty() {
                curve(&mut chart, line, color, plot.step)?;
            }
        }
    }
    area.present().map_err(owned)?;
    Ok(())
}

fn owned(error: impl Error) -> Box<dyn Error> {
    error.to_string().into()
}

fn axes(chart: &mut Chart<'_, '_>, plot: &Plot) -> Result<(), Box<dyn Error>> {
    let shown = match plot.to - plot.from {
        span if span > 2.0 * DAY => 5..10,
        span if span > HOUR => 11..16,
        _ => 11..19,
    };
    let when = |at: &f64| time(*at).get(shown.clone()).unwrap_or_default().to_owned();
    let what = |value: &f64| label(plot.unit, *value);
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(GREY.mix(0.2)).axis_style(GREY.mix(0.6));
    mesh.x_labels(9).y_labels(6).x_label_formatter(&when).y_label_formatter(&what).label_style(("sans-serif", 14));
    mesh.draw().map_err(owned)
}

/// Where there are no points, there is no line.
fn curve(chart: &mut Chart<'_, '_>, line: &Line, color: RGBColor, step: f64) -> Result<(), Box<dyn Error>> {
    for part in line.points.chunk_by(|a, b| b.0 - a.0 <= step * 1.5) {
        let places = part.iter().map(|(at, value)| (*at, value.least()));
        if part.len() == 1 {
            chart.draw_series(places.map(|place| Circle::new(place, 2, color.filled()))).map_err(owned)?;
        } else {
            chart.draw_series(LineSeries::new(places, color.stroke_width(2))).map_err(owned)?;
        }
    }
    Ok(())
}

/// Of the scale: a little more than the greatest value.
fn top(plot: &Plot) -> f64 {
    let greatest = plot.lines.iter().flat_map(|line| &line.points).map(|(_, value)| value.least()).fold(0.0, f64::max);
    match plot.unit {
        Unit::Share => 1.0,
        _ if greatest > 0.0 => greatest * 1.05,
        _ => 1.0,
    }
}

fn label(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Share => format!("{:.0} %", value * 100.0),
        Unit::PerSecond | Unit::Count if value < 10.0 => format!("{value:.2}"),
        Unit::PerSecond | Unit::Count => format!("{value:.0}"),
        Unit::Seconds if value < 1.0 => format!("{:.2} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>, unit: Unit) -> Plot {
        let points = points.into_iter().map(|(at, value)| (at, value.into())).collect();
        let line = Line { name: "a".into(), points };
        Plot { title: String::new(), unit, from: 0.0, to: 100.0, step: 1.0, lines: vec![line] }
    }

    #[test]
    fn a_gap_in_the_points_is_a_gap_in_the_line() {
        let points = vec![(1.0, 1.0), (2.0, 2.0), (10.0, 3.0), (11.0, 4.0), (50.0, 1.0)];
        let text = svg(&plot(points, Unit::PerSecond)).unwrap();
        let lines = text.matches("stroke=\"#0072B2\"").count();
        assert_eq!((lines, text.matches("<circle").count()), (2, 1), "{text}");
    }

    #[test]
    fn nothing_breaks_the_scale() {
        for points in [vec![(1.0, 0.0), (2.0, 0.0)], vec![(1.0, 1e-9)], vec![(1.0, 1e300), (2.0, 0.0)], vec![]] {
            for unit in [Unit::Share, Unit::Seconds, Unit::Count] {
                let text = svg(&plot(points.clone(), unit)).unwrap();
                assert!(!text.contains("NaN") && !text.contains("inf"), "{points:?}");
            }
        }
    }
}
