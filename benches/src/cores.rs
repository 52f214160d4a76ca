//! Cores apart: what a core of the server makes can only be told while client and database keep to another.

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::{Builder, Runtime};

/// The cores that this process may use, by number.
pub fn all() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("the system doesn't tell which cores there are")?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Keeps a thread, or a process that has one, to some cores; `None`: this thread. What it starts from then on keeps to them too.
pub fn keep_to(who: Option<Pid>, cores: &[usize]) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(who, &set)
}

/// A core for some work and whatever it starts: tasks, and threads of its own.
pub struct Core {
    number: usize,
    runtime: Runtime,
}

impl Core {
    pub fn of(number: usize) -> Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all().on_thread_start(move || {
            // Where it can't, what was measured would be wrong: better none.
            keep_to(None, &[number]).expect("a thread may keep to a core of its process");
        });
        Ok(Self { number, runtime: runtime.build()? })
    }

    /// Does the work on the core.
    pub fn run<T: Send, F: Future<Output = Result<T>>>(&self, work: impl FnOnce() -> F + Send) -> Result<T> {
        let on_its_own = || {
            keep_to(None, &[self.number])?;
            self.runtime.block_on(work())
        };
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                scope.spawn(on_its_own).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// Ends what it started. A runtime can't be dropped where another works.
    pub fn end(self) {
        self.runtime.shutdown_background();
    }
}
