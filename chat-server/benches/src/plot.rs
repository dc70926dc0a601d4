//! Results as pictures: SVG without background, in colours that can be seen on white and on black.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::metric::{self, Metric};
use crate::results::Results;
use crate::statistics::Spread;

const TEXT: RGBColor = RGBColor(0x80, 0x86, 0x8e);
const OURS: RGBColor = RGBColor(0x2d, 0x9c, 0x7f);
const LIMIT: RGBColor = RGBColor(0x8c, 0x8c, 0x8c);
const OTHERS: RGBColor = RGBColor(0xd0, 0x7a, 0x2d);
/// Of lines, in turn.
const LINES: &[RGBColor] = &[
    OURS,
    RGBColor(0x4f, 0x8f, 0xd6),
    RGBColor(0x9a, 0x6f, 0xd0),
    OTHERS,
    RGBColor(0xc9, 0x4f, 0x6d),
    RGBColor(0xa8, 0x96, 0x2c),
];
const WIDTH: u32 = 760;
const ROW: u32 = 26;

/// Each picture by the name of its file.
pub(crate) fn all(results: &Results) -> Result<Vec<(String, String)>> {
    let mut pictures = Vec::new();
    let mut picture = |name: &str, drawn: Result<Option<String>>| -> Result<()> {
        if let Some(drawn) = drawn? {
            pictures.push((format!("{name}.svg"), drawn));
        }
        Ok(())
    };
    for (name, ending, limit) in
        [("fanout-singly", "/s", "bare-singly"), ("fanout-limit", "limit", "bare-coalesced")]
    {
        let fits = |name: &str| name.starts_with("fanout 1 × 1000 ") && name.ends_with(ending);
        if let Some(scenario) = results.scenarios.iter().find(|scenario| fits(&scenario.name)) {
            picture(name, against(results, &scenario.name, limit, metric::SERVER_PER_DELIVERY))?;
        }
    }
    for (group, name, metric) in [
        ("idle", "memory", metric::CONNECTION_BYTES),
        ("resume", "resume", metric::RESUMED),
        ("latency", "latency", metric::DELIVERY_P99),
    ] {
        let measured = results.scenarios.iter().rfind(|scenario| {
            scenario.group == group
                && scenario.name != "idle most"
                && results.measured(&scenario.name, metric)
        });
        if let Some(scenario) = measured {
            picture(name, absolute(results, &scenario.name, metric))?;
        }
    }
    picture("durable", by_clients(results))?;
    Ok(pictures)
}

/// One bar a server: how many times what `limit` takes.
fn against(results: &Results, scenario: &str, limit: &str, metric: Metric) -> Result<Option<String>> {
    let title = format!("{scenario}: {}, as a multiple of {limit}", metric.name);
    bars(&title, rows(results, |server| results.ratio(scenario, server, limit, metric)))
}

/// One bar a server.
fn absolute(results: &Results, scenario: &str, metric: Metric) -> Result<Option<String>> {
    let unit = if metric.unit.is_empty() { String::new() } else { format!(", {}", metric.unit) };
    let title = format!("{scenario}: {}{unit}", metric.name);
    bars(&title, rows(results, |server| results.spread(scenario, server, metric)))
}

fn rows(results: &Results, of: impl Fn(&str) -> Option<Spread>) -> Vec<(&str, Spread)> {
    results.servers.iter().filter_map(|server| Some((server.name.as_str(), of(&server.name)?))).collect()
}

/// Horizontal bars with their medians beside them, and a thin line from the least to the most.
fn bars(title: &str, rows: Vec<(&str, Spread)>) -> Result<Option<String>> {
    let most = rows.iter().map(|(_, spread)| spread.most).fold(0.0, f64::max);
    if rows.len() < 2 || most <= 0.0 {
        return Ok(None);
    }
    let count = i32::try_from(rows.len())?;
    let mut drawn = String::new();
    {
        let height = ROW * u32::try_from(rows.len())? + 50;
        let area = SVGBackend::with_string(&mut drawn, (WIDTH, height)).into_drawing_area();
        let left = ("sans-serif", 13).into_font().color(&TEXT);
        area.draw_text(title, &("sans-serif", 15).into_font().color(&TEXT), (10, 8)).map_err(failed)?;
        let right = left.pos(Pos::new(HPos::Right, VPos::Center));
        let beside = left.pos(Pos::new(HPos::Left, VPos::Center));
        let (begin, width) = (170, f64::from(WIDTH) - 170.0 - 90.0);
        let x = |value: f64| begin + (value.max(0.0) / most * width) as i32;
        for ((name, spread), row) in rows.iter().zip(0..count) {
            let top = 36 + row * ROW as i32;
            let middle = top + ROW as i32 / 2;
            let colour = match name {
                name if name.starts_with("ours") => OURS,
                name if name.starts_with("bare") => LIMIT,
                _ => OTHERS,
            };
            area.draw_text(name, &right, (begin - 8, middle)).map_err(failed)?;
            let bar =
                Rectangle::new([(begin, top + 4), (x(spread.median), top + ROW as i32 - 4)], colour.filled());
            area.draw(&bar).map_err(failed)?;
            area.draw(&PathElement::new([(x(spread.least), middle), (x(spread.most), middle)], TEXT))
                .map_err(failed)?;
            let value = crate::report::number(spread.median);
            area.draw_text(&value, &beside, (x(spread.most) + 8, middle)).map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(Some(drawn))
}

/// One line a server: durable posts a second, by how many clients post.
fn by_clients(results: &Results) -> Result<Option<String>> {
    let clients = |name: &str| name.strip_prefix("durable ")?.parse::<f64>().ok();
    let line = |server: &str| -> Vec<(f64, f64)> {
        let scenarios = results.scenarios.iter();
        let point = |name: &str| Some((clients(name)?, results.spread(name, server, metric::POSTS)?.median));
        scenarios.filter_map(|scenario| point(&scenario.name)).filter(|&(_, posts)| 0.0 < posts).collect()
    };
    let lines: Vec<(&str, Vec<(f64, f64)>)> =
        results.servers.iter().map(|server| (server.name.as_str(), line(&server.name))).collect();
    let lines: Vec<_> = lines.into_iter().filter(|(_, points)| 1 < points.len()).collect();
    let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    if lines.is_empty() {
        return Ok(None);
    }
    let range = |values: Vec<f64>| {
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        least * 0.8..values.into_iter().fold(0.0, f64::max) * 1.25
    };
    let (x, y) = (range(points().map(|(x, _)| x).collect()), range(points().map(|(_, y)| y).collect()));
    let mut drawn = String::new();
    {
        let area = SVGBackend::with_string(&mut drawn, (WIDTH, 420)).into_drawing_area();
        let font = |size: i32| ("sans-serif", size).into_font().color(&TEXT);
        let mut chart = ChartBuilder::on(&area)
            .caption("durable posts a second, by the number of clients", font(15))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(70)
            .build_cartesian_2d(x.log_scale(), y.log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .axis_style(TEXT)
            .bold_line_style(TEXT.mix(0.25))
            .light_line_style(TRANSPARENT)
            .label_style(font(13))
            .x_label_formatter(&|clients| format!("{clients:.0}"))
            .y_label_formatter(&|posts| crate::report::number(posts.round()))
            .draw()
            .map_err(failed)?;
        for (index, (name, points)) in lines.iter().enumerate() {
            let colour = LINES[index % LINES.len()];
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))
                .map_err(failed)?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(font(13))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(Some(drawn))
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot cannot be drawn: {error}")
}
