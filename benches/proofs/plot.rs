//! A picture of how costs grow with the rules.

use std::fmt::Write as _;

use super::Row;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLORS: [&str; 5] = ["#0072b2", "#009e73", "#d55e00", "#999999", "#000000"];

/// Draws each cost as a multiple of the least one of them, both axes logarithmic: what grows as the
/// rules do is parallel to the dashed line.
pub(crate) fn svg(names: &[&str; 5], rows: &[Row]) -> String {
    let costs = |at: usize| {
        let of = move |row: &Row| Some((row.rules as f64, row.times[at]?.as_secs_f64()));
        rows.iter().filter_map(of).collect::<Vec<(f64, f64)>>()
    };
    let all: Vec<(f64, f64)> = (0..names.len()).flat_map(costs).collect();
    let least = all.iter().map(|(_, cost)| *cost).fold(f64::MAX, f64::min);
    let most = (all.iter().map(|(_, cost)| cost / least).fold(10.0, f64::max)).log10().ceil();
    let (first, last) = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => ((first.rules as f64).log10(), (last.rules as f64).log10()),
        _ => (0.0, 1.0),
    };
    let x = |rules: f64| LEFT + (rules.log10() - first) / (last - first) * (WIDTH - LEFT - RIGHT);
    let y = |cost: f64| HEIGHT - BOTTOM - cost.log10() / most * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n<title>Cost by number of rules</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n<text x=\"{LEFT}\" y=\"22\">time of a whole process by rules of a random firewall, as multiples of the least</text>\n"
    );
    for row in rows {
        let at = x(row.rules as f64);
        _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#eeeeee\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0,
            row.rules
        );
    }
    for power in 0..=most as i32 {
        let cost = 10f64.powi(power);
        _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1:.1}\" y2=\"{0:.1}\" stroke=\"#dddddd\"/><text x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{cost}</text>",
            y(cost),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(cost) + 4.0
        );
    }
    let (from, to) = (10f64.powf(first), 10f64.powf(last));
    _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#aaaaaa\" stroke-dasharray=\"4 4\"/>",
        x(from),
        y(1.0),
        x(to),
        y(to / from)
    );
    for (at, (name, color)) in names.iter().zip(COLORS).enumerate() {
        let costs = costs(at);
        let points: Vec<String> = costs
            .iter()
            .map(|(rules, cost)| format!("{:.1},{:.1}", x(*rules), y(cost / least)))
            .collect();
        let Some((rules, cost)) = costs.last() else { continue };
        _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"{color}\">{name}</text>",
            points.join(" "),
            x(*rules) + 6.0,
            y(cost / least) + 4.0
        );
    }
    out.push_str("</svg>\n");
    out
}
