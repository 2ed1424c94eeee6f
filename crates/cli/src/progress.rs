//! The bar that says how far a job is, how fast it goes, and when it will be over. It is drawn on
//! standard error, and only for somebody who watches.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::terminal;
use crate::values::spell;

/// Redraws of a job in which nothing happens: its time goes on.
const TICK: Duration = Duration::from_millis(250);

/// A second of a slow disk.
const BYTES_MIN: u64 = 128 << 20;

pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar for so many tasks; without a number, a count.
    pub(crate) fn new(what: &str, tasks: Option<u64>) -> Self {
        if !terminal::stderr_is_alive() {
            return Self(ProgressBar::hidden());
        }
        let template = match tasks {
            Some(_) => "{msg:>8} [{bar:30}] {pos}/{len}  {rate}  {left}",
            None => "{msg:>8} {pos} done  {rate}  {elapsed}",
        };
        // Without colours: NO_COLOR has nothing to ask of it.
        let style = ProgressStyle::with_template(template);
        let style = style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
            .with_key("rate", write_rate)
            .with_key("left", write_left);
        let bar = match tasks {
            Some(tasks) => ProgressBar::new(tasks),
            None => ProgressBar::no_length(),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// A bar for so many bytes, if they are many enough to be waited for.
    pub(crate) fn of_bytes(what: &str, bytes: u64) -> Self {
        if bytes < BYTES_MIN || !terminal::stderr_is_alive() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template(
            "{msg:>8} [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  {left}",
        );
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(bytes);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(style.progress_chars("=> ").with_key("left", write_left));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    pub(crate) fn more(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    pub(crate) fn one_more(&self) {
        self.0.inc(1);
    }

    /// Takes the bar away while `print` writes to the terminal.
    pub(crate) fn aside<R>(&self, print: impl FnOnce() -> R) -> R {
        self.0.suspend(print)
    }

    /// Prints on standard error while the bar is away; for another thread.
    pub(crate) fn printer(&self) -> impl Fn(&str) + Send + 'static {
        let bar = self.0.clone();
        move |text| bar.suspend(|| eprint!("{text}"))
    }

    pub(crate) fn finish(self) {
        self.0.finish_and_clear();
    }
}

fn write_rate(state: &ProgressState, to: &mut dyn Write) {
    let _ = match state.per_sec() {
        rate if rate < 10.0 => write!(to, "{rate:.1}/s"),
        rate => write!(to, "{rate:.0}/s"),
    };
}

/// Nothing is known before the first result.
fn write_left(state: &ProgressState, to: &mut dyn Write) {
    if state.pos() > 0 {
        let left = Duration::from_secs(state.eta().as_secs() + 1);
        let _ = write!(to, "{} left", spell(left).replace(".0 s", " s"));
    }
}

impl Drop for Progress {
    /// However the job ends, the line is left clean.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
