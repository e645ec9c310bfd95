//! What lines say of the span they are in: what was known when it began.
//!
//! What is recorded of a span later is for traces. To write that into its text as well would read the text
//! again and write it anew, for each field of each ask.

use std::fmt;

use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, FormattedFields};

/// As `F` writes them, once.
pub(super) struct Once<F>(pub F);

impl<'writer, F> FormatFields<'writer> for Once<F>
where
    F: FormatFields<'writer>,
{
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        self.0.format_fields(writer, fields)
    }

    fn add_fields(&self, _: &'writer mut FormattedFields<Self>, _: &Record<'_>) -> fmt::Result {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::format::JsonFields;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_says_what_its_span_began_with_and_not_what_was_recorded_since() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .with_span_list(false)
            .fmt_fields(Once(JsonFields::new()))
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("ask", id = "a1", cost = tracing::field::Empty);
            span.record("cost", "0.3");
            let _entered = span.enter();
            tracing::warn!("somebody should know");
        });
        let line = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            line["span"],
            serde_json::json!({ "name": "ask", "id": "a1" })
        );
    }
}
