//! A line chart on two logarithmic axes, as SVG.
//!
//! The page behind it may be light or dark: it has no background of its own, its greys and colours stand out from
//! white and from black alike (contrast 3:1 and more on both), and lines are told apart by marker and name as well.

use super::text::with_prefix;
use std::fmt::Write;

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// What the horizontal axis counts.
    pub x: String,
    /// What the vertical axis counts.
    pub y: String,
    /// Its lines.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Written at its end.
    pub name: String,
    /// (x, y), from left to right; what is not positive has no place on the chart.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
const GREY: &str = "#7a7a7a";
/// Blue, vermillion, bluish green: told apart by every eye (Okabe & Ito 2008).
const COLOURS: [&str; 3] = ["#0a7ac2", "#d55e00", "#009e73"];

/// Draws it.
pub fn svg(chart: &Chart) -> String {
    let is_drawn = |&(x, y): &(f64, f64)| x > 0.0 && y > 0.0 && x.is_finite() && y.is_finite();
    let drawn: Vec<(&Series, Vec<(f64, f64)>)> =
        chart.series.iter().map(|series| (series, series.points.iter().copied().filter(is_drawn).collect())).collect();
    let all = || drawn.iter().flat_map(|(_, points)| points);
    let x = Axis::over(all().map(|(x, _)| *x), LEFT, WIDTH - RIGHT);
    let y = Axis::over(all().map(|(_, y)| *y), HEIGHT - BOTTOM, TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"{GREY}\">\n<title>{}</title>\n",
        escaped(&chart.title)
    );
    text(&mut out, (LEFT, 24.0), "start", "font-size=\"15\" font-weight=\"600\"", &chart.title);
    text(&mut out, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14.0), "middle", "", &chart.x);
    let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
    text(&mut out, (18.0, middle), "middle", &format!("transform=\"rotate(-90 18 {middle})\""), &chart.y);
    for decade in x.decades() {
        let at = x.place(decade);
        grid(&mut out, (at, TOP), (at, HEIGHT - BOTTOM));
        text(&mut out, (at, HEIGHT - BOTTOM + 20.0), "middle", "", with_prefix(decade).trim_end());
    }
    for decade in y.decades() {
        let at = y.place(decade);
        grid(&mut out, (LEFT, at), (WIDTH - RIGHT, at));
        text(&mut out, (LEFT - 8.0, at + 4.5), "end", "", with_prefix(decade).trim_end());
    }
    let mut labels: Vec<f64> = Vec::new();
    for (index, (series, points)) in drawn.iter().enumerate() {
        let places: Vec<(f64, f64)> = points.iter().map(|(px, py)| (x.place(*px), y.place(*py))).collect();
        line(&mut out, &places, index);
        if let Some((end_x, end_y)) = places.last() {
            // A name that would lie on another one moves down.
            let mut at = end_y + 4.5;
            while labels.iter().any(|label| (label - at).abs() < 14.0) {
                at += 14.0;
            }
            labels.push(at);
            let style = format!("font-weight=\"600\" fill=\"{}\"", colour(index));
            text(&mut out, (end_x + 12.0, at), "start", &style, &series.name);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// A logarithmic axis over whole decades.
struct Axis {
    /// Exponents of ten at both ends.
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        values.for_each(|value| (low, high) = (low.min(value.log10()), high.max(value.log10())));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let low = low.floor() as i32;
        Axis { low, high: (high.ceil() as i32).max(low + 1), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|exponent| 10f64.powi(exponent))
    }
}

fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

fn grid(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{GREY}\" stroke-opacity=\"0.3\"/>"
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, more: &str, text: &str) {
    let ((x, y), text) = (at, escaped(text));
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>");
}

/// A line with its markers: a circle, a square or a diamond.
fn line(out: &mut String, places: &[(f64, f64)], index: usize) {
    let colour = colour(index);
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let path = path.join(" ");
    let _ = writeln!(out, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>");
    for (x, y) in places {
        let _ = match index % 3 {
            0 => writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\"/>"),
            turned => {
                let (left, top, turn) = (x - 4.5, y - 4.5, 45 * (turned - 1));
                writeln!(
                    out,
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"9\" height=\"9\" fill=\"{colour}\" \
                     transform=\"rotate({turn} {x:.1} {y:.1})\"/>"
                )
            }
        };
    }
}

/// Text as XML holds it. Control characters have no place in XML, not even escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let series = vec![Series { name: "a<b".to_owned(), points }];
        Chart { title: "R&D \"x\"\u{7}".to_owned(), x: "lanes".to_owned(), y: "rate".to_owned(), series }
    }

    #[test]
    fn names_cannot_break_the_markup() {
        let drawn = svg(&chart(vec![(10.0, 5.0)]));
        assert!(drawn.contains("<title>R&amp;D &quot;x&quot; </title>") && drawn.contains(">a&lt;b</text>"), "{drawn}");
    }

    #[test]
    fn points_lie_where_logarithms_put_them() {
        let drawn = svg(&chart(vec![(10.0, 1.0), (1000.0, 100.0), (0.0, 3.0), (5.0, f64::NAN)]));
        // Decades 10 to 1,000 from left to right, 1 to 100 from bottom to top.
        assert!(drawn.contains("points=\"78.0,364.0 650.0,44.0\""), "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 2, "what is not positive is left out");
    }

    #[test]
    fn a_chart_of_nothing_is_still_one() {
        let drawn = svg(&chart(Vec::new()));
        assert!(drawn.ends_with("</svg>\n") && !drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }
}
