//! `weir worker`: one replica, tied to the life of the process that started it.

use std::io::{Read, stdin};
use std::process::ExitCode;
use std::thread;

use nix::sys::signal::{Signal, raise};

/// Runs a worker until it is told to end, or until standard input closes: whoever started it holds
/// the other end, so it closes also when that process is killed.
pub(crate) fn main(args: weir_worker::Args) -> ExitCode {
    if args.render_apart {
        // It reads standard input itself, and ends with it.
        return weir_worker::run(args);
    }
    thread::spawn(|| {
        // Nothing is ever written to it; reading returns when it closes.
        let _ = stdin().read_to_end(&mut Vec::new());
        // The signal is what a person or a kubelet would send; a process can always signal itself.
        let _ = raise(Signal::SIGTERM);
    });
    weir_worker::run(args)
}
