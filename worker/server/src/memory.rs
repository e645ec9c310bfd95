//! How much memory this process may still take: the least that the machine or a control group says.

use std::{fs, path::Path};

/// Bytes that can be taken without anything being swapped or killed; nothing where the system does
/// not say.
pub fn available_bytes() -> Option<u64> {
    available_below(Path::new("/"))
}

fn available_below(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").and_then(|text| available_in(&text));
    let groups = GROUPS.iter().filter_map(|group| {
        // Without a limit the file says `max`, which is no number.
        let limit: u64 = read(group.limit)?.trim().parse().ok()?;
        let usage: u64 = read(group.usage)?.trim().parse().ok()?;
        let stat = read(group.stat).unwrap_or_default();
        let cached: u64 = group
            .cached
            .iter()
            .filter_map(|key| entry(&stat, key))
            .sum();
        Some(limit.saturating_sub(usage.saturating_sub(cached)))
    });
    machine.into_iter().chain(groups).min()
}

/// Where a version of control groups says what it allows and what is taken.
struct Group {
    limit: &'static str,
    usage: &'static str,
    stat: &'static str,
    /// Pages of files: they count as taken, and are given back as soon as somebody needs memory.
    /// Weights that were just read are among them.
    cached: [&'static str; 2],
}

const GROUPS: [Group; 2] = [
    Group {
        limit: "sys/fs/cgroup/memory.max",
        usage: "sys/fs/cgroup/memory.current",
        stat: "sys/fs/cgroup/memory.stat",
        cached: ["active_file", "inactive_file"],
    },
    Group {
        limit: "sys/fs/cgroup/memory/memory.limit_in_bytes",
        usage: "sys/fs/cgroup/memory/memory.usage_in_bytes",
        stat: "sys/fs/cgroup/memory/memory.stat",
        cached: ["total_active_file", "total_inactive_file"],
    },
];

/// The number on the line that begins with `key`.
fn entry(stat: &str, key: &str) -> Option<u64> {
    let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
    let (_, number) = lines.find(|(name, _)| *name == key)?;
    number.trim().parse().ok()
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        available_below(root.path())
    }

    #[test]
    fn the_least_of_machine_and_control_group_counts() {
        let machine = ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    4096 kB\n");
        assert_eq!(available(&[machine]), Some(4096 * 1024));
        let group = [
            machine,
            ("sys/fs/cgroup/memory.max", "1000\n"),
            ("sys/fs/cgroup/memory.current", "400\n"),
        ];
        assert_eq!(available(&group), Some(600));
        let cached = [
            group[0],
            group[1],
            group[2],
            (
                "sys/fs/cgroup/memory.stat",
                "anon 50\nfile 320\nactive_file 100\ninactive_file 200\n",
            ),
        ];
        assert_eq!(available(&cached), Some(900));
        let unlimited = [
            machine,
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/memory.current", "400\n"),
        ];
        assert_eq!(available(&unlimited), Some(4096 * 1024));
        assert_eq!(available(&[]), None);
    }

    #[test]
    fn this_machine_says_something() {
        assert!(available_bytes().is_some_and(|bytes| bytes > 0));
    }
}
