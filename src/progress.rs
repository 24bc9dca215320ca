//! Draws what a monitor counts: a line on a terminal, plain lines elsewhere, objects with `--json`, nothing with `--quiet`.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use metaferry_pipeline::{Glance, Monitor};

use crate::context::Context;
use crate::output::tell;

/// Draws until it is dropped.
pub(crate) struct Progress {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

enum Style {
    Bar(ProgressBar),
    Lines,
    Objects,
}

impl Progress {
    pub(crate) fn start(context: &Context) -> Self {
        let style = match (context.common.quiet, context.common.json, std::io::stderr().is_terminal()) {
            (true, ..) => return Self { over: None, thread: None },
            (_, true, _) => Style::Objects,
            (_, _, true) => Style::Bar(bar()),
            _ => Style::Lines,
        };
        let (over, ended) = channel();
        let monitor = Arc::clone(&context.monitor);
        let draw = move || {
            let mut pen = Pen { style, phase: "", since: Instant::now(), drawn: Instant::now() };
            while ended.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                pen.draw(&monitor);
            }
            if let Style::Bar(bar) = pen.style {
                bar.finish_and_clear();
            }
        };
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw).ok();
        Self { over: Some(over), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // A panic while drawing has been printed; it must not hide how the command ended.
            drop(thread.join());
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {human_pos}/{human_len} rows");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

struct Pen {
    style: Style,
    phase: &'static str,
    since: Instant,
    drawn: Instant,
}

impl Pen {
    fn draw(&mut self, monitor: &Monitor) {
        let glance = monitor.glance();
        let is_new = glance.phase != self.phase;
        if is_new {
            self.phase = glance.phase;
            self.since = Instant::now();
        }
        let (rate, left) = self.pace(&glance);
        let pace = format!("{} {} rows/s{left}", glance.phase, HumanCount(rate));
        let due = is_new || self.drawn.elapsed() >= Duration::from_secs(5);
        match &self.style {
            Style::Bar(bar) => {
                bar.set_length(glance.expected.max(glance.scanned));
                bar.set_position(glance.scanned);
                bar.set_message(pace);
                bar.tick();
            }
            Style::Lines if due => match (glance.scanned, glance.expected) {
                (0, 0) => tell(glance.phase),
                (rows, 0) => tell(format_args!("{pace}, {rows} rows")),
                (rows, expected) => tell(format_args!("{pace}, {rows} of about {expected} rows")),
            },
            Style::Objects if due => {
                tell(serde_json::json!({
                    "version": 1, "event": "progress", "phase": glance.phase, "rows": glance.scanned,
                    "loaded": glance.loaded, "expected": glance.expected, "rows_per_second": rate,
                }));
            }
            _ => return,
        }
        self.drawn = Instant::now();
    }

    /// Rows a second, and the time left in words.
    fn pace(&self, glance: &Glance) -> (u64, String) {
        let seconds = self.since.elapsed().as_secs_f64().max(0.001);
        let rate = (glance.scanned as f64 / seconds) as u64;
        let rows_left = glance.expected.saturating_sub(glance.scanned);
        let left = match rows_left.checked_div(rate) {
            Some(seconds) if rows_left > 0 => format!(", about {} left", HumanDuration(Duration::from_secs(seconds))),
            _ => String::new(),
        };
        (rate, left)
    }
}

/// Follows the memory of another process until it ends, and returns its peak in bytes; 0 where the system does not tell.
pub(crate) fn watch_peak(child: &mut std::process::Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while let Ok(None) = child.try_wait() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = kib.map_or(peak, |kib| peak.max(kib * 1024));
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}
