//! A small plot over time: for those who would rather look than read.

use maud::{Markup, html};

/// Of the drawing's own coordinates; the page stretches it.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 80.0;

/// The last value is beside the name already: the drawing shows how it came to that.
pub fn draw(values: &[f64]) -> Markup {
    let largest = values.iter().copied().fold(0.0, f64::max);
    let curve = curve(values, largest);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
            @if values.len() > 1 {
                path.area d={ "M0 " (HEIGHT) " L" (curve) " L" (WIDTH) " " (HEIGHT) " Z" } {}
                path.curve d={ "M" (curve) } {}
            }
            line.base x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
        }
    }
}

/// The whole width, whatever the number of points; the largest touches the top.
fn curve(values: &[f64], largest: f64) -> String {
    let step = WIDTH / (values.len().max(2) - 1) as f64;
    let scale = if largest > 0.0 { (HEIGHT - 2.0) / largest } else { 0.0 };
    let point = |(index, value): (usize, &f64)| {
        format!("{:.1} {:.1}", index as f64 * step, HEIGHT - value * scale)
    };
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_edge_to_edge_and_to_the_top() {
        assert_eq!(curve(&[0.0, 5.0, 10.0], 10.0), "0.0 80.0 150.0 41.0 300.0 2.0");
        assert_eq!(curve(&[0.0, 0.0], 0.0), "0.0 80.0 300.0 80.0");
        draw(&[]);
    }
}
