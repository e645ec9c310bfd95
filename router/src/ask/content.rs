//! What was said in a conversation, and by whom.

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    System,
    User,
    Assistant,
    /// A tool, which answers one call.
    Tool,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub role: Role,
    pub parts: Vec<Part>,
}

/// Part of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Image(Image),
    /// What an assistant thought before it spoke.
    Thought {
        text: String,
        /// What its maker wants back with it, as the client had it from us.
        proof: Option<String>,
    },
    /// An assistant will not say.
    Refusal(String),
    /// An assistant calls a tool.
    Call {
        id: String,
        name: String,
        /// One JSON object, as text.
        arguments: String,
    },
    /// What a tool answered; its texts and images follow in the same message.
    Result {
        call_id: String,
        is_error: bool,
    },
    /// Something that only its own wire can say.
    Foreign,
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    Url(String),
    /// `data` in base64.
    Inline {
        media_type: String,
        data: String,
    },
}

impl Role {
    /// Its name on OpenAI's wire and to chat templates.
    pub fn word(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

impl Message {
    /// Its texts, one after the other; a refusal is a text like any other to whoever reads on.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) | Part::Refusal(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    pub fn thought(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Thought { text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    pub fn has_images(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| matches!(part, Part::Image(_)))
    }

    /// The call that it answers.
    pub fn answers(&self) -> Option<&str> {
        self.parts.iter().find_map(|part| match part {
            Part::Result { call_id, .. } => Some(call_id.as_str()),
            _ => None,
        })
    }

    pub fn bytes(&self) -> usize {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) | Part::Refusal(text) | Part::Thought { text, .. } => text.len(),
            Part::Call {
                name, arguments, ..
            } => name.len() + arguments.len(),
            Part::Image(_) | Part::Result { .. } | Part::Foreign => 0,
        });
        parts.sum()
    }
}

impl Image {
    /// Of a URL, which may hold the image itself.
    pub fn of_url(url: &str) -> Self {
        let inline = url.strip_prefix("data:").and_then(|rest| {
            let (head, data) = rest.split_once(',')?;
            let media_type = head.strip_suffix(";base64")?;
            Some(Image::Inline {
                media_type: media_type.split(';').next().unwrap_or_default().to_owned(),
                data: data.to_owned(),
            })
        });
        inline.unwrap_or_else(|| Image::Url(url.to_owned()))
    }

    pub fn url(&self) -> String {
        match self {
            Image::Url(url) => url.clone(),
            Image::Inline { media_type, data } => format!("data:{media_type};base64,{data}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_in_a_url_is_the_same_there_and_back() {
        let url = "data:image/png;base64,AAAA";
        let inline = Image::Inline {
            media_type: "image/png".into(),
            data: "AAAA".into(),
        };
        assert_eq!(Image::of_url(url), inline);
        assert_eq!(inline.url(), url);
        for plain in ["https://a/b.png", "data:image/svg+xml,<svg/>"] {
            assert_eq!(Image::of_url(plain), Image::Url(plain.into()));
        }
    }
}
