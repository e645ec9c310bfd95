//! What a process may take that renders a template.

use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, rlim_t, setrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// Memory beyond what the process has when it begins. A conversation has no more text than the context
/// can hold, some megabytes, and what is made of them takes some ten times that; the system takes a
/// part for the thread's own heap.
pub const MOST_BYTES: u64 = 256 << 20;

/// Processor time for all that is tried, and then for each conversation. Of templates that are
/// known, the trial takes some milliseconds.
pub const MOST_TIME: Duration = Duration::from_secs(2);

/// No more memory from here on, and no core files. Where memory runs out all the same and the system
/// chooses a process to end, it chooses this one. It may end all of a container at once, as Kubernetes
/// has it do.
pub(super) fn limit_memory() -> nix::Result<()> {
    // Where the system has no such file, it chooses by itself.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let most = address_space().saturating_add(MOST_BYTES);
    lower(Resource::RLIMIT_AS, most)?;
    lower(Resource::RLIMIT_CORE, 0)
}

/// So much processor time from now on; the process ends where it takes more. The system counts whole
/// seconds, and so it may be given up to one more.
pub(super) fn limit_time() -> nix::Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let used = usage.user_time() + usage.system_time();
    let used = rlim_t::try_from(used.tv_sec() + 1).unwrap_or(0);
    let (_, most) = getrlimit(Resource::RLIMIT_CPU)?;
    let until = used.saturating_add(MOST_TIME.as_secs()).min(most);
    setrlimit(Resource::RLIMIT_CPU, until, most)
}

fn lower(resource: Resource, to: rlim_t) -> nix::Result<()> {
    let (_, most) = getrlimit(resource)?;
    let to = to.min(most);
    setrlimit(resource, to, to)
}

/// What the process has by now, threads' stacks and the program itself among it. Nothing where the
/// system does not say.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').next().and_then(|pages| pages.parse().ok());
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|bytes| u64::try_from(bytes).ok());
    pages.unwrap_or(0).saturating_mul(page.unwrap_or(4096))
}
