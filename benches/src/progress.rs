//! How far it is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress {
    bar: Option<ProgressBar>,
    /// Seconds of load that are behind us, in milliseconds.
    done_ms: u64,
}

impl Progress {
    /// `total`: all the load there will be.
    pub fn new(total: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  (about {eta} left)");
            let bar = ProgressBar::new(millis(total));
            bar.with_style(style.expect("the template is well-formed"))
        });
        Self { bar, done_ms: 0 }
    }

    pub fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.println(message),
            None => eprintln!("{message}"),
        }
    }

    /// A round is under way since `elapsed`, with so many commands.
    pub fn tick(&self, what: &str, elapsed: Duration, commands: u64) {
        let Some(bar) = &self.bar else { return };
        bar.set_position(self.done_ms + millis(elapsed));
        let per_second = commands as f64 / elapsed.as_secs_f64().max(0.001);
        bar.set_message(format!("{what}: {per_second:.0} commands/s"));
    }

    /// A round of this length is over.
    pub fn passed(&mut self, length: Duration) {
        self.done_ms += millis(length);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done_ms);
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
