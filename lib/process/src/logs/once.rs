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
