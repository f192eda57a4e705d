//! Charts as SVG. Their colours are names that the page's style sheet makes light or dark.

use std::ops::Range;

use anyhow::anyhow;
use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, ChartContext},
    coord::{
        Shift,
        cartesian::Cartesian2d,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, PathElement, Text},
    prelude::IntoLogRange,
    style::{Color, RGBColor, TextStyle},
};

use crate::number::rounded;

/// Text and axes: `#000001` for the style sheet.
const INK: RGBColor = RGBColor(0, 0, 1);

/// What stands behind everything else.
const GRID: RGBColor = RGBColor(0, 0, 2);

/// Colours that the style sheet tells apart.
pub(super) const COLOURS: usize = 6;

/// What is drawn in the colour of this number: `#000010` and so on for the style sheet.
fn colour(number: usize) -> RGBColor {
    RGBColor(0, 0, 0x10 + (number % COLOURS) as u8)
}

/// Pixels, before the page makes it as wide as its column.
const WIDTH: u32 = 440;
const LINES_HEIGHT: u32 = 240;
const STRIP_HEIGHT: u32 = 48;
const AXIS_HEIGHT: u32 = 40;
const LETTERS: f64 = 14.0;

/// Letters of a name that fit.
const NAME_MAX: usize = 62;

/// Some marks on a line of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Strip {
    /// What they belong to.
    pub(super) name: String,
    /// The marks.
    pub(super) marks: Vec<Mark>,
    /// Where a dashed line crosses the strip.
    pub(super) bound: Option<f64>,
}

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    /// Where.
    pub(super) value: f64,
    /// The number of its colour.
    pub(super) colour: usize,
    /// How it looks.
    pub(super) look: Look,
}

/// How a mark looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Large and full.
    Full,
    /// Small and full.
    Small,
    /// Hollow and below the others: the control's.
    Control,
}

type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, X> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>;

/// Where the values are, and whether they are too far apart for an even scale.
fn scale(values: impl Iterator<Item = f64>) -> Option<(Range<f64>, bool)> {
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let positive = values.iter().copied().filter(|value| *value > 0.0).min_by(f64::total_cmp);
    match positive {
        Some(positive) if least > 0.0 && most / positive > 20.0 => Some((positive / 1.3..most * 1.3, true)),
        _ if most > 0.0 => Some((least.min(0.0)..most * 1.08, false)),
        _ => Some((least.min(0.0)..1.0, false)),
    }
}

/// One strip for each thing, one below the other. With a line through each at `all`. Nothing without values.
pub(super) fn strips(strips: &[Strip], all: Option<f64>, unit: &str) -> anyhow::Result<Option<String>> {
    let marks = strips.iter().flat_map(|strip| &strip.marks).map(|mark| mark.value);
    if scale(marks.clone()).is_none() {
        return Ok(None);
    }
    let bounds = strips.iter().filter_map(|strip| strip.bound);
    let Some((range, far_apart)) = scale(marks.chain(bounds).chain(all)) else { return Ok(None) };
    let height = AXIS_HEIGHT + STRIP_HEIGHT * strips.len() as u32;
    svg(height, |root| {
        if far_apart {
            draw_strips(root, range.clone().log_scale(), range, strips, (all, unit))
        } else {
            draw_strips(root, range.clone(), range, strips, (all, unit))
        }
    })
    .map(Some)
}

fn draw_strips<X>(
    root: &Root<'_>,
    axis: X,
    range: Range<f64>,
    strips: &[Strip],
    (all, unit): (Option<f64>, &str),
) -> anyhow::Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let rows = strips.len() as f64;
    let mut chart: Chart<'_, '_, X::CoordDescType> = ChartBuilder::on(root)
        .margin(4)
        .margin_right(20)
        .x_label_area_size(AXIS_HEIGHT - 8)
        .build_cartesian_2d(axis, rows..0.0)
        .map_err(drawing)?;
    mesh(&mut chart, unit, false)?;
    let dashed = |x: f64, from: f64, until: f64| {
        let piece = 0.09;
        let pieces = ((until - from) / piece / 2.0) as u32;
        (0..=pieces).map(move |number| {
            let top = from + f64::from(number) * 2.0 * piece;
            vec![(x, top), (x, (top + piece).min(until))]
        })
    };
    for (number, strip) in strips.iter().enumerate() {
        let top = number as f64;
        let name = shortened(&strip.name);
        let area = chart.plotting_area();
        area.draw(&Text::new(name, (range.start, top + 0.06), letters())).map_err(drawing)?;
        let line = PathElement::new([(range.start, top + 0.58), (range.end, top + 0.58)], GRID);
        area.draw(&line).map_err(drawing)?;
        if let Some(all) = all {
            let line = PathElement::new([(all, top + 0.4), (all, top + 0.94)], INK.stroke_width(2));
            area.draw(&line).map_err(drawing)?;
        }
        for piece in strip.bound.into_iter().flat_map(|bound| dashed(bound, top + 0.4, top + 0.94)) {
            area.draw(&PathElement::new(piece, colour(1).stroke_width(2))).map_err(drawing)?;
        }
        for Mark { value, colour: number, look } in strip.marks.iter().filter(|mark| mark.value.is_finite()) {
            let (down, size, style) = match look {
                Look::Full => (0.58, 6, colour(*number).filled()),
                Look::Small => (0.58, 3, colour(*number).filled()),
                Look::Control => (0.81, 4, colour(*number).stroke_width(2)),
            };
            area.draw(&Circle::new((*value, top + down), size, style)).map_err(drawing)?;
        }
    }
    Ok(())
}

/// A value over time for each list of points, in the colours from 0 on. Nothing without points.
pub(super) fn lines(all: &[&[(f64, f64)]]) -> anyhow::Result<Option<String>> {
    let points = || all.iter().flat_map(|points| points.iter());
    let Some((values, _)) = scale(points().map(|point| point.1)) else { return Ok(None) };
    let end = points().map(|point| point.0).max_by(f64::total_cmp).unwrap_or(1.0);
    let most = if values.end > 0.0 { values.end } else { 1.0 };
    let bottom = values.start.min(0.0);
    svg(LINES_HEIGHT, |root| {
        let mut chart: Chart<'_, '_, RangedCoordf64> = ChartBuilder::on(root)
            .margin(6)
            .margin_right(14)
            .x_label_area_size(34)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..end, bottom..most)
            .map_err(drawing)?;
        mesh(&mut chart, "seconds", true)?;
        for (number, points) in all.iter().enumerate() {
            for piece in pieces(points) {
                let style = colour(number).stroke_width(2);
                let area = chart.plotting_area();
                if let [point] = piece {
                    area.draw(&Circle::new(*point, 2, colour(number).filled())).map_err(drawing)?;
                }
                area.draw(&PathElement::new(piece, style)).map_err(drawing)?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// Stretches in which points follow each other as they do everywhere: what has none was not there for a while.
fn pieces(points: &[(f64, f64)]) -> Vec<&[(f64, f64)]> {
    let steps = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let most = 4.0 * crate::rounds::median(steps);
    points.chunk_by(|one, next| next.0 - one.0 <= most).collect()
}

fn mesh<X>(chart: &mut Chart<'_, '_, X>, unit: &str, across: bool) -> anyhow::Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let shown = |value: &f64| tick(*value);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(unit)
        .x_labels(7)
        .y_labels(5)
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(plotters::style::TRANSPARENT)
        .label_style(letters())
        .axis_desc_style(letters())
        .x_label_formatter(&shown)
        .y_label_formatter(&shown);
    if !across {
        mesh.disable_y_mesh().disable_y_axis();
    }
    mesh.draw().map_err(drawing)
}

/// A number on an axis.
fn tick(value: f64) -> String {
    match value.abs() {
        1e6.. => format!("{}M", value / 1e6),
        1e4.. => format!("{}k", value / 1e3),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => rounded(value).trim_end_matches('0').to_owned(),
    }
}

fn letters() -> TextStyle<'static> {
    TextStyle::from(("sans-serif", LETTERS)).color(&INK)
}

fn svg(height: u32, draw: impl FnOnce(&Root<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(&root)?;
        root.present().map_err(drawing)?;
    }
    Ok(text)
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a chart cannot be drawn: {error}")
}

/// A name that fits, without its middle: rows of one kind begin alike and end differently.
fn shortened(name: &str) -> String {
    let letters = name.chars().count();
    if letters <= NAME_MAX {
        return name.to_owned();
    }
    let head = NAME_MAX / 3;
    let tail = name.chars().skip(letters - (NAME_MAX - head - 1));
    name.chars().take(head).chain(['…']).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(shortened("short"), "short");
        let name = shortened(&format!("{}{}", "a".repeat(100), "é of nats"));
        assert!(
            name.chars().count() == NAME_MAX && name.starts_with("aaa") && name.ends_with("é of nats"),
            "{name}"
        );
    }

    #[test]
    fn a_scale_holds_all_values_and_is_even_unless_they_are_far_apart() {
        for (values, expected) in [
            (vec![], None),
            (vec![f64::NAN], None),
            (vec![1.0, 2.0], Some((0.0..2.16, false))),
            (vec![-1.0, 2.0], Some((-1.0..2.16, false))),
            (vec![0.0], Some((0.0..1.0, false))),
            (vec![1.3, 100.0, f64::INFINITY], Some((1.0..130.0, true))),
            (vec![0.0, 1.0, 100.0], Some((0.0..108.0, false))),
        ] {
            assert_eq!(scale(values.clone().into_iter()), expected, "{values:?}");
        }
    }

    #[test]
    fn a_pause_is_no_line() {
        let points = [(0.0, 1.0), (1.0, 1.0), (2.1, 1.0), (9.0, 1.0), (10.0, 1.0)];
        assert_eq!(pieces(&points), [&points[..3], &points[3..]]);
        assert_eq!(pieces(&points[..1]), [&points[..1]]);
        assert!(pieces(&[]).is_empty());
    }

    #[test]
    fn numbers_on_an_axis_are_short() {
        for (value, text) in [(0.0, "0"), (0.25, "0.25"), (50.0, "50"), (20_000.0, "20k"), (2e6, "2M")] {
            assert_eq!(tick(value), text);
        }
    }

    #[test]
    fn charts_are_drawn_and_their_names_escaped() {
        let mark = |value| Mark { value, colour: 2, look: Look::Full };
        let strip = |values: &[f64], bound| Strip {
            name: "a <fast> one".to_owned(),
            marks: values.iter().copied().map(mark).collect(),
            bound,
        };
        for values in [[1.0, 2.0], [0.01, 500.0], [f64::NAN, 1.0]] {
            let svg = strips(&[strip(&values, Some(1.5)), strip(&[1.0], None)], Some(1.0), "ms").unwrap();
            let svg = svg.unwrap();
            let circles = values.iter().filter(|value| value.is_finite()).count() + 1;
            assert_eq!(svg.matches("<circle").count(), circles, "{svg}");
            assert_eq!(svg.matches("a &lt;fast&gt; one").count(), 2);
        }
        assert_eq!(strips(&[strip(&[], Some(2.0))], Some(1.0), "ms").unwrap(), None);
        let svg = lines(&[&[(0.0, 5.0), (1.0, 6.0)], &[(0.5, 0.0)]]).unwrap().unwrap();
        assert!(svg.contains("#000010") && svg.contains("#000011"), "{svg}");
        assert_eq!(lines(&[&[]]).unwrap(), None);
    }
}
