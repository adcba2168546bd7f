//! Measuring in turns, and printing what came out.
//!
//! The arms of a comparison take turns (A B A B …), so that whatever else the machine does meets all of them. What counts
//! is how they relate; nothing is asserted about times.

use serde_json::{Value, json};

/// Figures of several arms; the first is ours, the others are what it is held against.
pub(crate) struct Comparison {
    name: String,
    unit: &'static str,
    arms: Vec<(&'static str, Vec<f64>)>,
}

/// How our figure is told beside another one.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each benchmark needs some of them")]
pub(crate) enum Relation {
    /// How many times the other.
    Ratio,
    /// How many times the other, which should be the target at least.
    TimesAtLeast,
    /// How many times the other, which should be the target at most.
    TimesAtMost,
    /// How much more than the other.
    Difference,
}

impl Comparison {
    /// Measures every arm once a round, after a round that does not count.
    pub(crate) fn measure<const ARMS: usize>(
        name: impl Into<String>,
        unit: &'static str,
        rounds: usize,
        arms: [(&'static str, &mut dyn FnMut() -> f64); ARMS],
    ) -> Self {
        let mut arms = arms.map(|(label, run)| (label, run, Vec::with_capacity(rounds)));
        for (_, run, _) in &mut arms {
            run();
        }
        for _ in 0..rounds {
            for (_, run, figures) in &mut arms {
                figures.push(run());
            }
        }
        Self { name: name.into(), unit, arms: arms.into_iter().map(|(label, _, figures)| (label, figures)).collect() }
    }

    /// Prints a table and a line of JSON. `target` is what our figure, or our difference to the one other arm, should be
    /// below; or what a relation to the one other arm says of itself.
    pub(crate) fn print(&self, relation: Relation, target: Option<f64>) {
        let (ours, our_figures) = &self.arms[0];
        let rounds = our_figures.len();
        let mut line = json!({"comparison": self.name, "unit": self.unit, "rounds": rounds});

        println!("{:<57} {:>10} {:>10} {:>10}", format!("{} [{}]", self.name, self.unit), "median", "min", "max");
        for (label, figures) in &self.arms {
            let figures = Figures::of(figures);
            figures.print(label);
            line[label] = figures.json();
        }
        let mut told = Figures::of(our_figures);
        for (theirs, their_figures) in &self.arms[1..] {
            let within_a_round: Vec<f64> =
                our_figures.iter().zip(their_figures).map(|(our, their)| relation.of(*our, *their)).collect();
            let ends = Figures::of(&within_a_round);
            // Of the medians: less moved by single rounds than the median of what was seen within rounds.
            let related = relation.of(Figures::of(our_figures).median, Figures::of(their_figures).median);
            let related = Figures { median: related, ..ends };
            related.print(&format!("{} {theirs}", relation.word()));
            line[format!("{} {theirs}", relation.word())] = related.json();
            if relation != Relation::Ratio {
                told = related;
            }
        }
        if let Some(target) = target {
            let (what, unit, bound, worst) = match relation {
                Relation::Ratio => (*ours, self.unit, "<", told.max),
                Relation::Difference => ("the difference", self.unit, "<", told.max),
                Relation::TimesAtLeast => ("the ratio", "times", ">=", told.min),
                Relation::TimesAtMost => ("the ratio", "times", "<=", told.max),
            };
            let met = if bound == ">=" { told.median >= target } else { told.median < target };
            let verdict = if met { "" } else { "   MISSED" };
            println!(
                "{}: {what} {:.2} {unit}, at worst {worst:.2} (target {bound} {target} {unit}){verdict}",
                self.name, told.median,
            );
            line["target"] = json!(target);
        }
        println!("{line}\n");
    }
}

impl Relation {
    fn of(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::Ratio | Self::TimesAtLeast | Self::TimesAtMost => ours / theirs,
            Self::Difference => ours - theirs,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ratio | Self::TimesAtLeast | Self::TimesAtMost => "ratio to",
            Self::Difference => "more than",
        }
    }
}

/// The median and the ends of a row of measurements; one that came to nothing (not a number) does not count.
struct Figures {
    median: f64,
    min: f64,
    max: f64,
}

impl Figures {
    fn of(figures: &[f64]) -> Self {
        let mut sorted: Vec<f64> = figures.iter().copied().filter(|figure| !figure.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        }
        let (lower, upper) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { median: f64::midpoint(lower, upper), min: sorted[0], max: sorted[sorted.len() - 1] }
    }

    fn print(&self, label: &str) {
        println!("{label:>57} {:>10.2} {:>10.2} {:>10.2}", self.median, self.min, self.max);
    }

    fn json(&self) -> Value {
        json!({"median": rounded(self.median), "min": rounded(self.min), "max": rounded(self.max)})
    }
}

/// Returns the figure with three decimals: the rest is noise.
fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}
