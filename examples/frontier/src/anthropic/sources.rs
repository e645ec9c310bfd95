//! Images, documents and search results that come with messages.

use serde_json::Value;

use super::blocks::needed;
use crate::ask::Document;
use crate::refusal::Refusal;
use crate::signature::is_sealed;

pub(super) fn image(source: &Value, at: &str) -> Result<(), Refusal> {
    let at = format!("{at}.source");
    match source["type"].as_str().unwrap_or_default() {
        "base64" => {
            needed(source, "media_type", &at)?;
            needed(source, "data", &at)?;
        }
        "url" => {
            needed(source, "url", &at)?;
        }
        "file" => {
            needed(source, "file_id", &at)?;
        }
        other => {
            let wrong = format!("`{other}` is not a source of images");
            return Err(Refusal::of(format!("{at}.type"), &wrong));
        }
    }
    Ok(())
}

/// A document; only plain text is read.
pub(super) fn document(block: &Value, at: &str) -> Result<Document, Refusal> {
    let source = &block["source"];
    let at = format!("{at}.source");
    let text = match source["type"].as_str().unwrap_or_default() {
        "text" => needed(source, "data", &at)?.to_owned(),
        "base64" => needed(source, "data", &at).map(|_| String::new())?,
        "url" => needed(source, "url", &at).map(|_| String::new())?,
        "file" => needed(source, "file_id", &at).map(|_| String::new())?,
        "content" => match &source["content"] {
            Value::String(text) => text.clone(),
            Value::Array(blocks) => {
                let texts = blocks.iter().filter_map(|block| block["text"].as_str());
                texts.collect()
            }
            _ => return Err(Refusal::of(format!("{at}.content"), "field required")),
        },
        other => {
            let wrong = format!("`{other}` is not a source of documents");
            return Err(Refusal::of(format!("{at}.type"), &wrong));
        }
    };
    Ok(Document {
        title: block["title"].as_str().map(str::to_owned),
        is_cited: block["citations"]["enabled"] == true && !text.is_empty(),
        text,
    })
}

/// Results of a hosted search that come back must be the ones that were given.
pub(super) fn results(block: &Value, at: &str) -> Result<(), Refusal> {
    needed(block, "tool_use_id", at)?;
    let results = block["content"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, result) in results.iter().enumerate() {
        let at = format!("{at}.content.{index}");
        if !is_sealed(needed(result, "encrypted_content", &at)?) {
            let wrong = "invalid `encrypted_content` in search result";
            return Err(Refusal::of(format!("{at}.encrypted_content"), wrong));
        }
    }
    Ok(())
}
