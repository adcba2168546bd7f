//! A progress bar on standard error, where a person watches it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Printer;

/// Shows how far a burst is. Draws nothing where standard error is not a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(printer: &Printer, total: u64) -> Self {
        let target =
            if printer.is_watched() { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        // Fails only on a template that is not one.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    pub(crate) fn show(&self, done: u64, failed: u64, refreshes: u64) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(done);
        self.bar.set_message(format!("{failed} failed, {refreshes} refreshed"));
    }

    /// Takes the bar away; what follows stands on a clean line.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
