//! Plots as SVG, drawn by hand: lines over one axis each way, or bars with their spread. No font, no script.

use std::fmt::Write;

use crate::summary::Spread;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
const BAR_HEIGHT: f64 = 26.0;
const BAR_LEFT: f64 = 230.0;
/// Told apart also by who doesn't see colours (Okabe and Ito).
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// A plot and the name of its file.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Of the file, without its ending.
    pub name: String,
    pub title: String,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Lines { x: Axis, y: Axis, lines: Vec<Line> },
    Bars { unit: String, bars: Vec<(String, Spread)> },
}

#[derive(Clone, Debug)]
pub struct Axis {
    pub label: String,
    pub logarithmic: bool,
}

impl Axis {
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), logarithmic: false }
    }

    pub fn logarithmic(label: &str) -> Self {
        Self { label: label.to_owned(), logarithmic: true }
    }
}

/// Points with their spread upwards and downwards.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, Spread)>,
}

impl Plot {
    pub fn bars(name: &str, title: &str, unit: &str, bars: Vec<(String, Spread)>) -> Self {
        let kind = Kind::Bars { unit: unit.to_owned(), bars };
        Self { name: name.to_owned(), title: title.to_owned(), kind }
    }

    pub fn lines(name: &str, title: &str, x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), kind: Kind::Lines { x, y, lines } }
    }

    pub fn svg(&self) -> String {
        let (body, height) = match &self.kind {
            Kind::Lines { x, y, lines } => (draw_lines(x, y, lines), HEIGHT),
            Kind::Bars { unit, bars } => draw_bars(unit, bars),
        };
        let title = text(
            WIDTH / 2.0,
            26.0,
            "middle",
            &format!("<tspan font-size=\"16\">{}</tspan>", escape(&self.title)),
        );
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{title}{body}</svg>\n"
        )
    }
}

/// From values to places between two edges.
struct Scale {
    from: f64,
    to: f64,
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// Wide enough for the values; a linear one begins at zero.
    fn over(values: impl Iterator<Item = f64> + Clone, logarithmic: bool, from: f64, to: f64) -> Self {
        let highest = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        let lowest = values.fold(highest, f64::min);
        let (low, high) = if logarithmic {
            (10_f64.powf(lowest.max(1e-9).log10().floor()), 10_f64.powf(highest.log10().ceil()))
        } else {
            let step = step(highest);
            (0.0, (highest / step).ceil() * step)
        };
        Self { from, to, low, high: if high > low { high } else { low * 10.0 + 1.0 }, logarithmic }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut tick = self.low;
        while tick <= self.high * 1.0001 && ticks.len() < 32 {
            ticks.push(tick);
            tick = if self.logarithmic { tick * 10.0 } else { tick + step(self.high) };
        }
        ticks
    }
}

/// A round number of which some five go into `highest`.
fn step(highest: f64) -> f64 {
    let power = 10_f64.powf((highest / 5.0).max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| highest / step <= 6.0)
        .unwrap_or(power)
}

fn draw_lines(x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let across = Scale::over(points().map(|(at, _)| *at), x.logarithmic, LEFT, WIDTH - RIGHT);
    let up = Scale::over(
        points().flat_map(|(_, spread)| [spread.lowest, spread.highest]),
        y.logarithmic,
        HEIGHT - BOTTOM,
        TOP,
    );
    let mut svg = String::new();
    for tick in up.ticks() {
        let at = up.place(tick);
        svg.push_str(&stroke(LEFT, at, WIDTH - RIGHT, at, "#ddd", 1.0));
        svg.push_str(&text(LEFT - 6.0, at + 4.0, "end", &short(tick)));
    }
    for tick in across.ticks() {
        let at = across.place(tick);
        svg.push_str(&stroke(at, TOP, at, HEIGHT - BOTTOM, "#eee", 1.0));
        svg.push_str(&text(at, HEIGHT - BOTTOM + 18.0, "middle", &short(tick)));
    }
    svg.push_str(&text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16.0, "middle", &escape(&x.label)));
    svg.push_str(&text(LEFT - 60.0, TOP - 12.0, "start", &escape(&y.label)));
    for (number, line) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        for ends in line.points.windows(2) {
            let [(x1, y1), (x2, y2)] =
                [&ends[0], &ends[1]].map(|(at, spread)| (across.place(*at), up.place(spread.median)));
            svg.push_str(&stroke(x1, y1, x2, y2, colour, 2.0));
        }
        for (at, spread) in &line.points {
            let (at, middle) = (across.place(*at), up.place(spread.median));
            svg.push_str(&stroke(at, up.place(spread.lowest), at, up.place(spread.highest), colour, 1.5));
            let _ = writeln!(svg, "<circle cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
        let at = TOP + 8.0 + 20.0 * number as f64;
        svg.push_str(&stroke(WIDTH - RIGHT + 12.0, at, WIDTH - RIGHT + 32.0, at, colour, 3.0));
        svg.push_str(&text(WIDTH - RIGHT + 38.0, at + 4.0, "start", &escape(&line.name)));
    }
    svg
}

fn draw_bars(unit: &str, bars: &[(String, Spread)]) -> (String, f64) {
    let bottom = TOP + BAR_HEIGHT * 1.5 * bars.len() as f64;
    let across = Scale::over(bars.iter().map(|(_, spread)| spread.highest), false, BAR_LEFT, WIDTH - 110.0);
    let mut svg = String::new();
    for tick in across.ticks() {
        let at = across.place(tick);
        svg.push_str(&stroke(at, TOP - 6.0, at, bottom, "#ddd", 1.0));
        svg.push_str(&text(at, bottom + 16.0, "middle", &short(tick)));
    }
    for (number, (name, spread)) in bars.iter().enumerate() {
        let top = TOP + BAR_HEIGHT * 1.5 * number as f64;
        let (middle, colour) = (top + BAR_HEIGHT / 2.0, COLOURS[number % COLOURS.len()]);
        let width = (across.place(spread.median) - BAR_LEFT).max(0.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{BAR_LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>"
        );
        svg.push_str(&stroke(
            across.place(spread.lowest),
            middle,
            across.place(spread.highest),
            middle,
            "#222",
            1.5,
        ));
        svg.push_str(&text(BAR_LEFT - 8.0, middle + 4.0, "end", &escape(name)));
        svg.push_str(&text(across.place(spread.highest) + 8.0, middle + 4.0, "start", &short(spread.median)));
    }
    svg.push_str(&text((BAR_LEFT + WIDTH - 110.0) / 2.0, bottom + 38.0, "middle", &escape(unit)));
    (svg, bottom + 50.0)
}

fn stroke(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, width: f64) -> String {
    format!(
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n"
    )
}

/// `content` is markup already.
fn text(x: f64, y: f64, anchor: &str, content: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>\n")
}

/// `12000` → `12k`.
fn short(value: f64) -> String {
    let (number, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let digits = if number >= 100.0 || (number - number.round()).abs() < 1e-9 {
        0
    } else if number >= 1.0 {
        1
    } else {
        2
    };
    format!("{number:.digits$}{unit}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread { median, lowest: median * 0.9, highest: median * 1.1 }
    }

    #[test]
    fn more_is_further_right_and_further_up() {
        let linear = Scale::over([10.0, 95.0].into_iter(), false, 0.0, 100.0);
        assert_eq!((linear.low, linear.high), (0.0, 100.0));
        let logarithmic = Scale::over([3.0, 950.0].into_iter(), true, 0.0, 300.0);
        assert_eq!(
            logarithmic.ticks().iter().map(|tick| tick.round()).collect::<Vec<_>>(),
            [1.0, 10.0, 100.0, 1000.0]
        );
        assert!((logarithmic.place(100.0) - 200.0).abs() < 1e-6);
    }

    #[test]
    fn a_plot_names_its_lines_and_escapes_what_is_markup() {
        let lines =
            vec![Line { name: "a < b".into(), points: vec![(1.0, spread(10.0)), (8.0, spread(100.0))] }];
        let plot =
            Plot::lines("curve", "t", Axis::logarithmic("in flight"), Axis::linear("commands/s"), lines);
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b") && svg.matches("<circle").count() == 2, "{svg}");
        let bars = Plot::bars("b", "t", "commands/s", vec![("one".into(), spread(12_345.0))]).svg();
        assert!(bars.contains(">12.3k<"), "{bars}");
    }

    #[test]
    fn nothing_to_plot_is_no_trouble() {
        assert!(Plot::bars("b", "t", "u", vec![]).svg().ends_with("</svg>\n"));
        assert!(
            Plot::lines("l", "t", Axis::linear("x"), Axis::logarithmic("y"), vec![]).svg().contains("<svg")
        );
    }
}
