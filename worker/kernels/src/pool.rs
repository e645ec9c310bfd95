//! A few threads that share the pieces of one kernel.
//!
//! Which thread computes which piece is left to chance; the pieces themselves, and the arithmetic
//! in them, are the same for any number of threads. Idle threads spin shortly, because the next
//! kernel mostly comes within a microsecond, and then sleep: under a processor quota spinning is
//! paid for with the time that the work needs.
#![allow(
    unsafe_code,
    reason = "threads that outlive a kernel borrow its closure and its output for as long as it runs"
)]

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

/// About ten microseconds: longer than the gap between two kernels of one forward pass.
const SPINS: u32 = 2_000;

/// Below this many multiplications, some twenty microseconds, waking other threads costs more than
/// it saves.
const WORTH_SHARING: usize = 1 << 19;

/// Its threads end when it is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    // One kernel at a time.
    turn: Mutex<()>,
}

struct Shared {
    /// Counts kernels; a worker that sees it move has work.
    round: AtomicUsize,
    work: UnsafeCell<Option<Work>>,
    next_piece: AtomicUsize,
    /// Workers that have not yet finished the round.
    busy: AtomicUsize,
    panicked: AtomicBool,
    ending: AtomicBool,
    caller: UnsafeCell<Option<Thread>>,
}

#[derive(Clone, Copy)]
struct Work {
    piece: *const (dyn Fn(usize) + Sync),
    pieces: usize,
}

// SAFETY: `work` and `caller` are written only by the thread that holds `turn` while no worker is
// busy, and read by workers only between the release of `round` and of `busy`. The closure behind
// `piece` is `Sync` and outlives the round, because `Pool::run` waits for `busy`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Pool {
    /// `threads` counts the caller of [`Pool::run`]; where the system refuses a thread, the pool
    /// has fewer.
    pub(crate) fn new(threads: NonZeroUsize) -> Self {
        let shared = Arc::new(Shared {
            round: AtomicUsize::new(0),
            work: UnsafeCell::new(None),
            next_piece: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            caller: UnsafeCell::new(None),
        });
        let workers = (1..threads.get())
            .map_while(|index| {
                let shared = Arc::clone(&shared);
                thread::Builder::new()
                    .name(format!("kernels-{index}"))
                    .spawn(move || shared.serve())
                    .ok()
            })
            .collect();
        Self {
            shared,
            workers,
            turn: Mutex::new(()),
        }
    }

    /// How many threads share the pieces, the caller among them.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `piece` once for each of `0..pieces`, and returns when all are done. All threads take
    /// part where the pieces, at so many multiplications each, are worth it.
    ///
    /// # Panics
    /// Where a piece panics, after the others have ended.
    pub(crate) fn run(&self, (pieces, each): (usize, usize), piece: &(dyn Fn(usize) + Sync)) {
        if pieces <= 1 || pieces.saturating_mul(each) < WORTH_SHARING || self.workers.is_empty() {
            (0..pieces).for_each(piece);
            return;
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; the round ends below, before the borrow does.
        let piece: *const (dyn Fn(usize) + Sync) = unsafe {
            std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(piece)
        };
        let work = Work { piece, pieces };
        // SAFETY: `turn` is held and no worker is busy.
        unsafe {
            *shared.work.get() = Some(work);
            *shared.caller.get() = Some(thread::current());
        }
        shared.next_piece.store(0, Ordering::Relaxed);
        shared.busy.store(self.workers.len(), Ordering::Relaxed);
        shared.round.fetch_add(1, Ordering::Release);
        for worker in &self.workers {
            worker.thread().unpark();
        }
        shared.work_off(work);
        let mut spins = 0;
        while shared.busy.load(Ordering::Acquire) != 0 {
            wait(&mut spins);
        }
        drop(turn);
        assert!(
            !shared.panicked.swap(false, Ordering::Relaxed),
            "a piece of a kernel panicked"
        );
    }

    /// Cuts `output` into runs of `length` and calls `piece` with the index and the run, which
    /// takes `each` multiplications.
    pub(crate) fn run_chunks<T: Send>(
        &self,
        output: &mut [T],
        (length, each): (usize, usize),
        piece: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let all = Disjoint::new(output);
        self.run((all.length.div_ceil(length), each), &|index| {
            let start = index * length;
            let end = (start + length).min(all.length);
            // SAFETY: runs of different indices do not overlap, and each index is called once.
            piece(index, unsafe { all.run(start, end - start) });
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.shared.round.fetch_add(1, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker's panic was already told by `run`.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn serve(&self) {
        let mut seen = 0;
        loop {
            let mut spins = 0;
            while self.round.load(Ordering::Acquire) == seen {
                wait(&mut spins);
            }
            seen += 1;
            if self.ending.load(Ordering::Relaxed) {
                return;
            }
            // SAFETY: the round was released after `work` and `caller` were written, and they are
            // not written again before `busy` is released below.
            let (work, caller) = unsafe { (*self.work.get(), (*self.caller.get()).clone()) };
            if let Some(work) = work {
                self.work_off(work);
            }
            self.busy.fetch_sub(1, Ordering::Release);
            if let Some(caller) = caller {
                caller.unpark();
            }
        }
    }

    fn work_off(&self, work: Work) {
        // SAFETY: `Pool::run` keeps the closure alive until no worker is busy.
        let piece = unsafe { &*work.piece };
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let index = self.next_piece.fetch_add(1, Ordering::Relaxed);
                if index >= work.pieces {
                    return;
                }
                piece(index);
            }
        }));
        if result.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// Spins for a while, then sleeps until somebody unparks this thread (or for no reason).
fn wait(spins: &mut u32) {
    if *spins < SPINS {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        thread::park();
    }
}

/// An output that several threads write, each its own part.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    length: usize,
    output: PhantomData<&'a mut [T]>,
}

// SAFETY: the parts that threads get do not overlap, which `run` makes its callers promise.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(output: &'a mut [T]) -> Self {
        Self {
            start: output.as_mut_ptr(),
            length: output.len(),
            output: PhantomData,
        }
    }

    /// # Safety
    /// No two runs that exist at a time overlap.
    #[allow(
        clippy::mut_from_ref,
        reason = "giving several threads their own parts is what this is for"
    )]
    pub(crate) unsafe fn run(&self, start: usize, length: usize) -> &mut [T] {
        assert!(
            start + length <= self.length,
            "a piece lies within the output"
        );
        // SAFETY: within the output, and the caller promises that nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> Pool {
        Pool::new(NonZeroUsize::new(threads).unwrap())
    }

    #[test]
    fn every_piece_is_called_once_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let pool = pool(threads);
            for pieces in [0, 1, 2, 63, 500] {
                let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                pool.run((pieces, WORTH_SHARING), &|index| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        }
    }

    #[test]
    fn pieces_that_are_worth_little_stay_on_the_thread_that_asks() {
        let asking = thread::current().id();
        pool(4).run((100, 10), &|_| assert_eq!(thread::current().id(), asking));
    }

    #[test]
    fn threads_that_went_to_sleep_wake_up_for_the_next_kernel() {
        let pool = pool(3);
        for _ in 0..5 {
            let mut output = vec![0; 1000];
            pool.run_chunks(&mut output, (7, WORTH_SHARING), |index, run| {
                run.fill(index)
            });
            assert!(
                output
                    .iter()
                    .enumerate()
                    .all(|(at, value)| *value == at / 7)
            );
            // Long enough that workers stop spinning.
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn a_piece_that_panics_fails_the_kernel_and_not_the_next() {
        let pool = pool(2);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            pool.run((8, WORTH_SHARING), &|index| {
                assert!(index != 3, "piece three")
            });
        }));
        assert!(failed.is_err());
        pool.run((8, WORTH_SHARING), &|_| {});
    }
}
