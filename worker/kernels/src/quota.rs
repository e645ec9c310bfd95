//! How many threads this process may keep busy.
//!
//! A container's share, never the host's count: more threads than the quota allows are stopped
//! together in the middle of a step, and every one of them waits for the slowest.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// max(1, floor(quota)) of the tightest cgroup above this process (v2 or v1), at most the
/// processors it may run on.
pub fn available_threads() -> NonZeroUsize {
    let affinity = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let quota = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|memberships| tightest(Path::new("/sys/fs/cgroup"), &memberships));
    match quota {
        Some(cpus) => whole(cpus).min(affinity),
        None => affinity,
    }
}

fn whole(cpus: f64) -> NonZeroUsize {
    NonZeroUsize::new(cpus.floor() as usize).unwrap_or(NonZeroUsize::MIN)
}

/// The smallest quota, in processors, of the groups named by `/proc/self/cgroup` and of all their
/// parents. A container sees its own group as the root, so the root itself is asked too.
fn tightest(root: &Path, memberships: &str) -> Option<f64> {
    memberships
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, group) = (fields.next()?, fields.next()?);
            if controllers.is_empty() {
                return Some((root.to_owned(), group, quota_v2 as fn(&Path) -> Option<f64>));
            }
            controllers.split(',').any(|name| name == "cpu").then(|| {
                let hierarchy = [controllers, "cpu"]
                    .map(|name| root.join(name))
                    .into_iter()
                    .find(|path| path.is_dir())
                    .unwrap_or_else(|| root.join("cpu"));
                (hierarchy, group, quota_v1 as fn(&Path) -> Option<f64>)
            })
        })
        .flat_map(|(hierarchy, group, quota)| {
            let group = hierarchy.join(group.trim_start_matches('/'));
            ancestors(&group, &hierarchy)
                .into_iter()
                .filter_map(move |path| quota(&path))
        })
        .min_by(f64::total_cmp)
}

fn ancestors(group: &Path, root: &Path) -> Vec<PathBuf> {
    group
        .ancestors()
        .take_while(|path| path.starts_with(root))
        .map(Path::to_owned)
        .collect()
}

/// `cpu.max` holds `QUOTA PERIOD` or `max PERIOD`.
fn quota_v2(group: &Path) -> Option<f64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let mut fields = text.split_whitespace();
    let quota: f64 = fields.next()?.parse().ok()?;
    let period: f64 = fields.next()?.parse().ok()?;
    Some(quota / period)
}

/// A quota of -1 means none.
fn quota_v1(group: &Path) -> Option<f64> {
    let number = |file: &str| -> Option<f64> {
        fs::read_to_string(group.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let quota = number("cpu.cfs_quota_us")?;
    let period = number("cpu.cfs_period_us")?;
    (quota > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("weir-quota-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_v2_quota_is_the_tightest_of_the_group_and_its_parents() {
        let root = group(
            "v2",
            &[
                ("pods/one/cpu.max", "800000 100000\n"),
                ("pods/cpu.max", "250000 100000\n"),
                ("cpu.max", "max 100000\n"),
            ],
        );
        assert_eq!(tightest(&root, "0::/pods/one\n"), Some(2.5));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_v1_quota_is_read_from_the_cpu_hierarchy() {
        let root = group(
            "v1",
            &[
                ("cpu,cpuacct/a/cpu.cfs_quota_us", "150000\n"),
                ("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
                ("cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!(
            tightest(&root, "5:cpu,cpuacct:/a\n3:memory:/a\n"),
            Some(1.5)
        );
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn no_quota_means_the_affinity_decides() {
        let root = group("none", &[("cpu.max", "max 100000\n")]);
        assert_eq!(tightest(&root, "0::/\n"), None);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_part_of_a_processor_is_one_thread() {
        assert_eq!(whole(0.5).get(), 1);
        assert_eq!(whole(3.9).get(), 3);
    }
}
