//! Bytes of a stream put together to events, however they were cut on the way.

use memchr::memchr2;

/// The longest event of a stream; a provider that sends more is not one.
const LONGEST_EVENT: usize = 4 << 20;

/// The stream so far, behind the last whole event.
#[derive(Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// The lines of data of the event that is coming.
    data: Vec<u8>,
    has_data: bool,
    /// The last line ended in `\r`; a `\n` behind it belongs to that end.
    has_return: bool,
}

impl Events {
    /// The data of the events that `bytes` complete. Names of events, comments and empty events say
    /// nothing: the data says what kind it is. And whether the next event is longer than any should be,
    /// so that nothing behind it can be read.
    pub fn take(&mut self, bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let mut events = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr2(b'\n', b'\r', rest).map_or(rest.len(), |end| end + 1);
            let (part, behind) = rest.split_at(end);
            rest = behind;
            let ends_in_return = part.ends_with(b"\r");
            if std::mem::replace(&mut self.has_return, ends_in_return) && part == b"\n" {
                continue;
            }
            if self.line.len() + part.len() + self.data.len() > LONGEST_EVENT {
                return (events, true);
            }
            let is_whole = ends_in_return || part.ends_with(b"\n");
            // Most lines come whole, and are looked at where they are.
            if is_whole && self.line.is_empty() {
                events.extend(self.take_line(part.trim_ascii_end()));
                continue;
            }
            self.line.extend_from_slice(part);
            if is_whole {
                let mut line = std::mem::take(&mut self.line);
                events.extend(self.take_line(line.trim_ascii_end()));
                line.clear();
                self.line = line;
            }
        }
        (events, false)
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            self.has_data = false;
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then_some(data);
        }
        let data = line.strip_prefix(b"data:")?;
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(data.trim_ascii_start());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &str, at: usize) -> Vec<String> {
        let mut events = Events::default();
        let pieces = stream.as_bytes().chunks(at);
        let read = pieces.flat_map(|piece| events.take(piece).0);
        read.map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn events_are_the_same_however_the_stream_was_cut() {
        let stream = ": hello\r\n\r\nevent: a\r\ndata: {\"é\":1}\r\n\r\ndata:\n\ndata: {\ndata: }\n\n\ndata: [DONE]\n\ndata: half";
        let expected = ["{\"é\":1}", "{\n}", "[DONE]"];
        for at in 1..stream.len() {
            assert_eq!(read(stream, at), expected, "cut every {at} bytes");
        }
    }

    #[test]
    fn lines_end_in_every_way_that_the_format_knows() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = "event: a\ndata: {\ndata: }\n\ndata: 1\n\n: c\n".replace('\n', end);
            for at in 1..stream.len() {
                assert_eq!(
                    read(&stream, at),
                    ["{\n}", "1"],
                    "{end:?} cut every {at} bytes"
                );
            }
        }
    }

    #[test]
    fn an_event_without_end_is_not_gathered_without_end() {
        let mut events = Events::default();
        let page = vec![b'x'; LONGEST_EVENT / 4];
        let taken: Vec<_> = (0..5).map(|_| events.take(&page)).collect();
        assert!(taken[4].1 && !taken[0].1);
        let mut events = Events::default();
        let line = [b"data: ".as_slice(), &page, b"\n"].concat();
        let taken: Vec<_> = (0..5).map(|_| events.take(&line)).collect();
        assert!(taken[4].1 && !taken[0].1);
    }
}
