//! How far it is: a bar on a terminal, a line now and then elsewhere. Always visible.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(250);
/// How many ticks pass between two lines where there is no terminal.
const TICKS_PER_LINE: u32 = 40;

/// Progress over all workloads, by their expected durations.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    bar: Option<ProgressBar>,
    total: Duration,
    now: Mutex<Now>,
}

struct Now {
    /// Of the workloads that are over.
    done: Duration,
    began: Instant,
    expected: Duration,
    workload: &'static str,
    message: String,
}

impl Progress {
    /// `total`: all that is expected. Runs until the process ends.
    pub fn new(total: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {wide_msg}");
            let bar = ProgressBar::new(millis(total));
            bar.with_style(style.expect("the template is well-formed"))
        });
        let now = Now {
            done: Duration::ZERO,
            began: Instant::now(),
            expected: Duration::ZERO,
            workload: "",
            message: String::new(),
        };
        let progress = Self(Arc::new(Inner { bar, total, now: Mutex::new(now) }));
        tokio::spawn(progress.clone().show());
        progress
    }

    /// A workload begins.
    pub fn begin(&self, workload: &'static str, expected: Duration) {
        let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        let expected_before = now.expected;
        now.done += expected_before;
        now.began = Instant::now();
        now.expected = expected;
        now.workload = workload;
        now.message.clear();
    }

    /// A line that stays.
    pub fn say(&self, message: &str) {
        match &self.0.bar {
            Some(bar) => bar.println(message),
            None => eprintln!("{message}"),
        }
    }

    /// What is being done, until the next is said.
    pub fn now(&self, message: &str) {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner).message = message.to_owned();
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.0.bar {
            bar.finish_and_clear();
        }
    }

    async fn show(self) {
        let mut ticks = tokio::time::interval(TICK);
        for count in 0_u32.. {
            ticks.tick().await;
            let (at, text) = {
                let now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
                // A workload that takes longer than expected waits at its end.
                (
                    now.done + now.began.elapsed().min(now.expected),
                    format!("{}: {}", now.workload, now.message),
                )
            };
            match &self.0.bar {
                Some(bar) => {
                    bar.set_position(millis(at));
                    bar.set_message(text);
                }
                None if count % TICKS_PER_LINE == 1 => {
                    let percent = 100.0 * at.as_secs_f64() / self.0.total.as_secs_f64().max(1.0);
                    eprintln!("[{percent:3.0} %] {text}");
                }
                None => {}
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
