//! How much memory this process may still take: the least that the machine or a control group says.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Memory that can be taken without anything being swapped or killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub bytes: u64,
    /// No control group says how much of it is ours: others on the machine may want it too.
    pub is_shared: bool,
}

impl Memory {
    /// Nothing where the system does not say.
    pub fn available() -> Option<Self> {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Option<Self> {
        let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
        let machine = machine.and_then(|text| available_in(&text));
        let memberships = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let groups = GROUPS.iter().flat_map(|version| {
            let folders = version.folders(root, &memberships);
            folders
                .into_iter()
                .filter_map(|folder| version.left(&folder))
        });
        let group = groups.min();
        let bytes = machine.into_iter().chain(group).min()?;
        Some(Self {
            bytes,
            is_shared: group.is_none_or(|group| group > bytes),
        })
    }
}

/// Where a version of control groups says what it allows and what is taken.
struct Version {
    /// What its groups lie below.
    hierarchy: &'static str,
    /// By which `/proc/self/cgroup` names it.
    controller: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// Pages of files: they count as taken, and are given back as soon as somebody needs memory.
    /// Weights that were just read are among them.
    cached: [&'static str; 2],
}

const GROUPS: [Version; 2] = [
    Version {
        hierarchy: "sys/fs/cgroup",
        controller: "",
        limit: "memory.max",
        usage: "memory.current",
        cached: ["active_file", "inactive_file"],
    },
    Version {
        hierarchy: "sys/fs/cgroup/memory",
        controller: "memory",
        limit: "memory.limit_in_bytes",
        usage: "memory.usage_in_bytes",
        cached: ["total_active_file", "total_inactive_file"],
    },
];

impl Version {
    /// The group of this process and all its parents, each of which may have a limit. A container
    /// sees its own group as the root, so the root itself is asked too.
    fn folders(&self, root: &Path, memberships: &str) -> Vec<PathBuf> {
        let hierarchy = root.join(self.hierarchy);
        let ours = memberships.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, group) = (fields.next()?, fields.next()?);
            let is_ours = controllers.split(',').any(|name| name == self.controller);
            is_ours.then(|| hierarchy.join(group.trim_start_matches('/')))
        });
        let group = ours.unwrap_or_else(|| hierarchy.clone());
        let parents = group.ancestors().map(Path::to_owned);
        parents
            .take_while(|path| path.starts_with(&hierarchy))
            .collect()
    }

    /// What a group has left; nothing where it has no limit.
    fn left(&self, group: &Path) -> Option<u64> {
        let read = |file: &str| fs::read_to_string(group.join(file)).ok();
        // Without a limit the file says `max`, which is no number.
        let limit: u64 = read(self.limit)?.trim().parse().ok()?;
        let usage: u64 = read(self.usage)?.trim().parse().ok()?;
        let stat = read("memory.stat").unwrap_or_default();
        let cached = self.cached.iter().filter_map(|key| entry(&stat, key));
        Some(limit.saturating_sub(usage.saturating_sub(cached.sum())))
    }
}

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
        memory(files).map(|memory| memory.bytes)
    }

    fn memory(files: &[(&str, &str)]) -> Option<Memory> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Memory::below(root.path())
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
    fn the_limit_of_a_parent_counts_too() {
        let machine = ("proc/meminfo", "MemAvailable:    4096 kB\n");
        let v2 = [
            machine,
            ("proc/self/cgroup", "0::/pods/one\n"),
            ("sys/fs/cgroup/pods/one/memory.max", "max\n"),
            ("sys/fs/cgroup/pods/one/memory.current", "100\n"),
            ("sys/fs/cgroup/pods/memory.max", "1000\n"),
            ("sys/fs/cgroup/pods/memory.current", "300\n"),
        ];
        assert_eq!(available(&v2), Some(700));
        let v1 = [
            machine,
            ("proc/self/cgroup", "5:cpu,cpuacct:/a\n3:memory:/pods/one\n"),
            ("sys/fs/cgroup/memory/pods/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/pods/memory.usage_in_bytes", "200\n"),
        ];
        assert_eq!(available(&v1), Some(800));
    }

    #[test]
    fn memory_without_a_limit_of_our_own_is_shared() {
        let machine = ("proc/meminfo", "MemAvailable:    4096 kB\n");
        let limit = |text| {
            let usage = ("sys/fs/cgroup/memory.current", "0\n");
            memory(&[machine, ("sys/fs/cgroup/memory.max", text), usage]).unwrap()
        };
        assert!(!limit("4096\n").is_shared);
        assert!(limit("max\n").is_shared);
        // More than there is says nothing.
        assert!(limit("9223372036854771712\n").is_shared);
    }

    #[test]
    fn this_machine_says_something() {
        assert!(Memory::available().is_some_and(|memory| memory.bytes > 0));
    }
}
