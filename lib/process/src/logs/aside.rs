//! Lines on their way out, on a thread of their own: whoever reads them may stand still, and nobody who has
//! something to say waits for that.
//!
//! What waits is bounded; a line that finds no room is left out, and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Some thousands of lines: more than a reader that is only slow is ever behind.
const ROOM_BYTES: usize = 4 << 20;

enum Told {
    Line(Vec<u8>),
    /// Answered once all lines before it are out.
    Flush(Sender<()>),
}

/// Makes writers of lines; clones share the room.
#[derive(Clone)]
pub(super) struct Aside {
    told: Sender<Told>,
    room: Arc<Room>,
}

struct Room {
    limit: usize,
    waiting: AtomicUsize,
    left_out: AtomicU64,
}

impl Aside {
    /// Has a thread write to `out`, for as long as there is anybody to say something.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_room(out, ROOM_BYTES)
    }

    fn with_room(out: impl Write + Send + 'static, limit: usize) -> io::Result<Self> {
        let (told, lines) = channel();
        let room = Arc::new(Room {
            limit,
            waiting: AtomicUsize::new(0),
            left_out: AtomicU64::new(0),
        });
        let shared = room.clone();
        // Nobody waits for its end: it may stand still for ever.
        thread::Builder::new()
            .name("log lines".to_owned())
            .spawn(move || write_out(lines, out, &shared))?;
        Ok(Self { told, room })
    }

    /// Waits until what was said is out, but not longer than that.
    pub fn flush(&self, limit: Duration) {
        let (out, is_out) = channel();
        if self.told.send(Told::Flush(out)).is_ok() {
            // Late or never: there is nobody to tell.
            is_out.recv_timeout(limit).ok();
        }
    }

    fn say(&self, line: &[u8]) {
        let bytes = line.len();
        let waiting = self.room.waiting.fetch_add(bytes, Ordering::Relaxed);
        let has_room = waiting + bytes <= self.room.limit;
        if !has_room || self.told.send(Told::Line(line.to_vec())).is_err() {
            self.room.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.room.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_out(lines: Receiver<Told>, mut out: impl Write, room: &Room) {
    for told in lines {
        match told {
            Told::Line(line) => {
                // With nobody to read there is nobody to tell.
                out.write_all(&line).ok();
                room.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                let left_out = room.left_out.swap(0, Ordering::Relaxed);
                if left_out > 0 {
                    tracing::warn!(lines = left_out, "nobody read log lines, some are left out");
                }
            }
            Told::Flush(out) => drop(out.send(())),
        }
    }
}

impl<'a> MakeWriter<'a> for Aside {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes whole lines, as the subscriber writes them.
pub(super) struct Line<'a>(&'a Aside);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, MutexGuard};

    const SOON: Duration = Duration::from_secs(10);

    /// A reader that reads nothing while somebody holds it.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Reader {
        fn hold(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }

        fn read(&self) -> String {
            String::from_utf8(self.hold().clone()).unwrap()
        }
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.hold().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let reader = Reader::default();
        let aside = Aside::to(reader.clone()).unwrap();
        for line in ["one\n", "two\n"] {
            aside.make_writer().write_all(line.as_bytes()).unwrap();
        }
        aside.flush(SOON);
        assert_eq!(reader.read(), "one\ntwo\n");
    }

    #[test]
    fn a_reader_that_stands_still_stops_nobody_and_takes_no_more_than_the_room() {
        let reader = Reader::default();
        let aside = Aside::with_room(reader.clone(), 100).unwrap();
        let held = reader.hold();
        for _ in 0..1000 {
            aside.make_writer().write_all(b"123456789\n").unwrap();
        }
        assert!(aside.room.waiting.load(Ordering::Relaxed) <= 100);
        assert_eq!(aside.room.left_out.load(Ordering::Relaxed), 990);
        // It ends although nothing comes out.
        aside.flush(Duration::from_millis(1));
        drop(held);
        aside.flush(SOON);
        assert_eq!(reader.read(), "123456789\n".repeat(10));
        assert_eq!(aside.room.left_out.load(Ordering::Relaxed), 0, "told of");
    }
}
