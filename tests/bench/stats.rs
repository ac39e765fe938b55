//! Percentiles, and the table that people read.

use std::time::Duration;

use crate::machine;

/// Times of one kind.
#[derive(Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// The least time that is not exceeded by this share of them. They must be sorted.
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

/// Median and least of a few runs.
pub fn middle_and_least(mut runs: Vec<f64>) -> (f64, f64) {
    runs.sort_unstable_by(f64::total_cmp);
    (runs[runs.len() / 2], runs[0])
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
    None,
}

/// Prints a line as soon as it is known: a long run shows where it is.
pub struct Table(());

impl Table {
    pub fn start() -> Self {
        println!(
            "{:<52} {:>12} {:<14} {:>9}  {:<20}",
            "what", "figure", "unit", "bar", "figure / bar"
        );
        println!("{}", "-".repeat(112));
        Self(())
    }

    pub fn section(&mut self, title: &str) {
        println!("{title} (load average {} before)", machine::load_average());
    }

    pub fn row(&mut self, what: &str, figure: f64, unit: &str, bar: Bar) {
        let (bar, ratio) = match bar {
            Bar::AtLeast(bar) => (number(bar), verdict(figure / bar, figure >= bar)),
            Bar::AtMost(bar) => (number(bar), verdict(figure / bar, figure <= bar)),
            Bar::None => (String::new(), String::new()),
        };
        println!("  {what:<50} {:>12} {unit:<14} {bar:>9}  {ratio}", number(figure));
    }
}

fn verdict(ratio: f64, met: bool) -> String {
    format!("{ratio:.2} {}", if met { "met" } else { "MISSED" })
}

/// Three digits that say something, and a comma at every thousand.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}
