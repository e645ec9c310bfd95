//! What is found, as tables and a picture for people.

use std::fmt::Write;
use std::path::Path;

use super::curves::{BARS, Curve, Curves};

const BEGIN: &str = "<!-- written by the simulation -->\n";
const END: &str = "<!-- until here -->\n";
const COLOURS: [&str; 4] = ["#1668a8", "#d97706", "#15803d", "#94a3b8"];

/// A picture's field: where it begins, how large it is, and the most seconds that it shows.
const FIELD: (f64, f64) = (250.0, 170.0);
const GAP: (f64, f64) = (50.0, 60.0);
const SECONDS: f64 = 30.0;

/// Holds the page and its picture to what was found; `WEIR_REWRITE=1` writes them.
#[allow(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of a program"
)]
pub fn check(all: &[Curves]) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let read = |name| std::fs::read_to_string(docs.join(name)).unwrap_or_default();
    let page = read("scaling.md");
    let (head, rest) = page.split_once(BEGIN).expect("the page has a place for it");
    let (_, tail) = rest.split_once(END).expect("that place has an end");
    let page_now = format!("{head}{BEGIN}{}{END}{tail}", tables(all));
    let picture_now = picture(all);
    if std::env::var_os("WEIR_REWRITE").is_some() {
        std::fs::write(docs.join("scaling.md"), page_now).unwrap();
        std::fs::write(docs.join("scaling.svg"), picture_now).unwrap();
        return;
    }
    let is_same = page == page_now && read("scaling.svg") == picture_now;
    assert!(
        is_same,
        "docs/scaling is not what is found now; WEIR_REWRITE=1 writes it:\n{}",
        tables(all)
    );
}

fn tables(all: &[Curves]) -> String {
    let mut text = String::from("\n| arrivals | 95 % wait at most | ours |");
    for other in &all[0].others {
        write!(text, " {} |", other.name).unwrap();
    }
    text += "\n| --- | --- | --- | --- | --- | --- |\n";
    for (curves, bar) in all.iter().flat_map(|curves| BARS.map(|bar| (curves, bar))) {
        write!(text, "| {} | {bar} s |", curves.kind).unwrap();
        for curve in curves.all() {
            match curve.hours_within(bar) {
                Some(hours) => write!(text, " {hours:.1} |").unwrap(),
                None => text += " never |",
            }
        }
        text += "\n";
    }
    text += "\nWith the settings that each has by itself, and at least one replica (the fixed count is the least that takes \
        as many hours as ours):\n\n| arrivals | way | replica-hours | wait p50 | p95 | p99 | refused | flaps |\n\
        | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for curves in all {
        for curve in curves.all() {
            let came = &curve.usual.came;
            let waits = [0.5, 0.95, 0.99].map(|share| came.waited(share));
            writeln!(
                text,
                "| {} | {}: {} | {:.1} | {:.1} s | {:.1} s | {:.1} s | {} of {} | {} |",
                curves.kind,
                curve.name,
                curve.usual.setting,
                came.hours,
                waits[0],
                waits[1],
                waits[2],
                came.refused,
                curves.asks,
                came.flaps
            )
            .unwrap();
        }
    }
    text + "\n"
}

fn picture(all: &[Curves]) -> String {
    let (width, height) = (
        3.0 * (FIELD.0 + GAP.0) + 20.0,
        2.0 * (FIELD.1 + GAP.1) + 20.0,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (place, curves) in all.iter().enumerate() {
        field(&mut svg, curves, corner(place));
    }
    let (left, top) = corner(all.len());
    for (line, curve) in all[0].all().enumerate() {
        let y = top + 30.0 + 22.0 * line as f64;
        let colour = COLOURS[line];
        writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2.5\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            left + 30.0,
            left + 38.0,
            y + 4.0,
            curve.name
        )
        .unwrap();
    }
    svg + "</svg>\n"
}

fn corner(place: usize) -> (f64, f64) {
    let (row, column) = ((place / 3) as f64, (place % 3) as f64);
    (
        50.0 + column * (FIELD.0 + GAP.0),
        30.0 + row * (FIELD.1 + GAP.1),
    )
}

/// Seconds upward, replica-hours to the right: nearer to the corner is better.
fn field(svg: &mut String, curves: &Curves, (left, top): (f64, f64)) {
    let (width, height) = FIELD;
    let bottom = top + height;
    let shown = |curve: &Curve| {
        let front = curve.front().into_iter();
        let shown = front.filter(|(_, wait)| *wait <= SECONDS);
        shown.collect::<Vec<_>>()
    };
    let hours = curves.all().flat_map(shown).map(|(hours, _)| hours);
    let most = hours.fold(0.0, f64::max).ceil();
    let x = |hours: f64| left + width * hours / most;
    let y = |wait: f64| bottom - height * wait / SECONDS;
    writeln!(
        svg,
        "<text x=\"{left}\" y=\"{}\" font-weight=\"600\">{}</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#444\">replica-hours</text>",
        top - 8.0,
        curves.kind,
        left + width,
        bottom + 30.0
    )
    .unwrap();
    for tenth in 0..=3 {
        let wait = f64::from(10 * tenth);
        writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"{0:.1}\" x2=\"{1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\" fill=\"#444\">{wait} s</text>",
            y(wait),
            left + width,
            left - 5.0,
            y(wait) + 4.0
        )
        .unwrap();
    }
    for quarter in 0..=4 {
        let hours = most * f64::from(quarter) / 4.0;
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#444\">{hours:.1}</text>",
            x(hours),
            bottom + 15.0
        )
        .unwrap();
    }
    let lines: Vec<_> = curves.all().zip(COLOURS).collect();
    for (curve, colour) in lines.into_iter().rev() {
        let mut points = String::new();
        let mut last: Option<(f64, f64)> = None;
        for (hours, wait) in shown(curve) {
            // Until there, no setting comes to a shorter wait.
            if let Some((_, before)) = last {
                write!(points, "{:.1},{:.1} ", x(hours), y(before)).unwrap();
            }
            write!(points, "{:.1},{:.1} ", x(hours), y(wait)).unwrap();
            last = Some((hours, wait));
        }
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.trim_end()
        )
        .unwrap();
    }
}
