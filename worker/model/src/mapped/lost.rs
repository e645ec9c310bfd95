//! Says which file is at fault when the system ends this process for touching what a file has lost.
//!
//! The system sends SIGBUS where a page of a map is no longer in its file, or cannot be read. The
//! handler only reads atomics, writes one line and hands over to what handled the signal before, so
//! that the process ends as it would have.

use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc::{c_int, c_void, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

/// A list that grows at its end and never shrinks, so that a handler can walk it at any time. It has
/// as many places as there were ever files mapped at the same time.
type Link = OnceLock<&'static Place>;

static PLACES: Link = OnceLock::new();

/// What handled the signal before, once our handler is there.
static BEFORE: OnceLock<Result<SigAction, Errno>> = OnceLock::new();

#[derive(Debug)]
struct Place {
    line: String,
    is_taken: AtomicBool,
    start: AtomicUsize,
    /// The same as the start where nothing is watched.
    end: AtomicUsize,
    next: Link,
}

/// Watches the bytes of a map until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(&'static Place);

impl Watch {
    pub(super) fn over(bytes: &[u8], path: &Path) -> Self {
        let line = format!(
            "CrashLoop: the weights' file {} shrank while it was served, or cannot be read any more\n",
            path.display()
        );
        let place = again(&line).unwrap_or_else(|| append(line));
        let start = bytes.as_ptr() as usize;
        place.start.store(start, Ordering::Relaxed);
        place.end.store(start + bytes.len(), Ordering::Release);
        Self(place)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.end.store(0, Ordering::Relaxed);
        self.0.start.store(0, Ordering::Relaxed);
        self.0.is_taken.store(false, Ordering::Release);
    }
}

fn places() -> impl Iterator<Item = &'static Place> {
    let first = PLACES.get().copied();
    std::iter::successors(first, |place| place.next.get().copied())
}

/// The place of a file that was mapped before and is not now.
fn again(line: &str) -> Option<&'static Place> {
    places().find(|place| place.line == line && !place.is_taken.swap(true, Ordering::Acquire))
}

fn append(line: String) -> &'static Place {
    let place: &'static Place = Box::leak(Box::new(Place {
        line,
        is_taken: AtomicBool::new(true),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        next: OnceLock::new(),
    }));
    let mut link = &PLACES;
    while link.set(place).is_err() {
        if let Some(taken) = link.get() {
            link = &taken.next;
        }
    }
    place
}

/// From now on a process that dies of a page that a mapped file has lost names the file on standard
/// error first. Any other SIGBUS does what it did before.
///
/// # Errors
/// Where the system takes no handler.
pub fn tell_of_lost_pages() -> io::Result<()> {
    let before = BEFORE.get_or_init(|| {
        let action = SigAction::new(
            SigHandler::SigAction(tell),
            // A thread whose stack is used up has another one for handlers.
            SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK,
            SigSet::empty(),
        );
        #[allow(unsafe_code, reason = "only a handler learns of a page that is gone")]
        // SAFETY: the handler does only what may be done at any time; see `tell`.
        unsafe {
            sigaction(Signal::SIGBUS, &action)
        }
    });
    (*before)?;
    Ok(())
}

/// Codes of faults that the system found. What another process sends has others.
const FAULTS: std::ops::RangeInclusive<c_int> = 1..=0x80;

/// The only one that is no instruction's, which would come again when the handler returns: memory
/// broke that nobody has read yet.
const FOUND_BROKEN: c_int = 5;

extern "C" fn tell(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    #[allow(
        unsafe_code,
        reason = "the system hands over what happened as a pointer"
    )]
    // SAFETY: the system passes a valid `siginfo_t` to a handler that was installed with SA_SIGINFO,
    // and for SIGBUS it has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let is_fault = FAULTS.contains(&code);
    if is_fault
        && let Some(place) = places().find(|place| {
            let end = place.end.load(Ordering::Acquire);
            (place.start.load(Ordering::Relaxed)..end).contains(&address)
        })
    {
        // With standard error gone there is nobody left to tell.
        nix::unistd::write(io::stderr(), place.line.as_bytes()).ok();
    }
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let before = match BEFORE.get() {
        Some(Ok(before)) => before,
        _ => &default,
    };
    #[allow(
        unsafe_code,
        reason = "what handled the signal before is to handle it now"
    )]
    // SAFETY: it is the action that was there, or the system's own.
    let restored = unsafe { sigaction(Signal::SIGBUS, before) };
    restored.ok();
    if !is_fault || code == FOUND_BROKEN {
        // It waits until this handler returns.
        raise(Signal::SIGBUS).ok();
    }
}
