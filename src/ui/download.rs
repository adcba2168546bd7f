//! How far a download is, on standard error, where a person watches it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Printer;

/// A bar where the length is known, a count of bytes where it is not.
pub(crate) struct Download {
    bar: ProgressBar,
}

impl Download {
    pub(crate) fn new(printer: &Printer, length: Option<u64>) -> Self {
        let target =
            if printer.is_watched() { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(length, target);
        let template = match length {
            Some(_) => "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {bytes} {bytes_per_sec} {elapsed}",
        };
        // Fails only on a template that is not one.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if printer.is_watched() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar }
    }

    pub(crate) fn show(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }
}

/// However the download ends, what follows stands on a clean line.
impl Drop for Download {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
