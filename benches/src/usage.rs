//! How much processor time the load took: here, and in all processes of PostgreSQL.

use std::fs;
use std::time::Duration;

/// A clock tick of /proc, the same on every architecture Linux gives us.
const TICK: Duration = Duration::from_millis(10);

/// Processor time so far, user and system.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    pub client: Duration,
    pub server: Duration,
}

impl CpuTime {
    /// Now. What /proc doesn't tell counts as nothing.
    pub fn now(postmaster: Option<i32>) -> Self {
        let client = Stat::read("self").map_or(0, |stat| stat.own_ticks);
        let mut server = 0;
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let Some(stat) = Stat::read(&pid.to_string()) else { continue };
            if Some(pid) == postmaster {
                server += stat.own_ticks + stat.ended_children_ticks;
            } else if Some(stat.parent) == postmaster {
                server += stat.own_ticks;
            }
        }
        let time = |ticks: u64| TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        Self { client: time(client), server: time(server) }
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            client: self.client.saturating_sub(earlier.client),
            server: self.server.saturating_sub(earlier.server),
        }
    }
}

/// What is needed of /proc/PID/stat (proc(5)).
struct Stat {
    parent: i32,
    own_ticks: u64,
    ended_children_ticks: u64,
}

impl Stat {
    fn read(pid: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The command's name, in parentheses, may hold anything; what follows it are plain fields, the third first.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: ticks(11)? + ticks(12)?,
            ended_children_ticks: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_no_trouble() {
        let stat = Stat::parse("7 (a) b (c) S 3 7 7 0 -1 4 0 0 0 0 100 20 5 6 20 0 1 0 9 0 0").unwrap();
        assert_eq!((stat.parent, stat.own_ticks, stat.ended_children_ticks), (3, 120, 11));
    }
}
