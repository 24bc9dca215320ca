//! The report as bars: the median of each case, with a line from its fastest to its slowest run.

use crate::cases::Who;
use crate::measure::{Measured, Outcome};

const WIDTH: f64 = 860.0;
/// Where the bars begin, and how long the longest of a group is, in pixels.
const LEFT: f64 = 180.0;
const LONGEST: f64 = 560.0;
const BAR: f64 = 18.0;
const GAP: f64 = 6.0;
const OURS: &str = "#1f6feb";
const THEIRS: &str = "#9aa4b2";

/// Draws every group under the other, each on a scale of its own.
pub(crate) fn draw(title: &str, outcomes: &[Outcome]) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    text(&mut body, (8.0, y), "bold", title);
    for outcome in outcomes {
        y += 2.0 * BAR;
        text(&mut body, (8.0, y), "bold", outcome.name);
        y += GAP;
        let slowest = outcome.cases.iter().filter_map(|case| Some(case.spread()?.max)).fold(0.0, f64::max);
        for case in &outcome.cases {
            bar(&mut body, y, LONGEST / slowest, case);
            y += BAR + GAP;
        }
    }
    let height = y + BAR;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// Draws one case at this height, so many pixels for a second.
fn bar(body: &mut String, y: f64, scale: f64, case: &Measured) {
    let baseline = y + BAR - 5.0;
    text(body, (16.0, baseline), "normal", case.tool);
    let Some(spread) = case.spread() else {
        return text(body, (LEFT, baseline), "normal", "failed");
    };
    let fill = if case.who == Who::Metaferry { OURS } else { THEIRS };
    let (width, middle) = (spread.median * scale, y + BAR / 2.0);
    let (from, to) = (LEFT + spread.min * scale, LEFT + spread.max * scale);
    line(body, format_args!("<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>"));
    line(body, format_args!("<path d=\"M{from:.1} {middle}H{to:.1}\" stroke=\"black\"/>"));
    text(body, (LEFT + spread.max * scale + GAP, baseline), "normal", &format!("{:.2} s", spread.median));
}

fn text(body: &mut String, (x, y): (f64, f64), weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    line(body, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\">{words}</text>"));
}

/// Appends a line.
fn line(body: &mut String, arguments: std::fmt::Arguments<'_>) {
    body.push_str(&format!("{arguments}\n"));
}
