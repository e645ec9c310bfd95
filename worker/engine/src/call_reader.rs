//! Reads calls of tools out of what models write them in, as it comes.

mod named;
mod objects;

use self::{named::Named, objects::Objects};

/// More of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPiece {
    /// Which of the answer's calls.
    pub index: u32,
    /// With the first piece of a call.
    pub name: Option<String>,
    /// More of the arguments' JSON.
    pub arguments: String,
}

/// One character more of the arguments of the call of that index.
fn add(pieces: &mut Vec<CallPiece>, index: u32, character: char) {
    match pieces.last_mut().filter(|piece| piece.index == index) {
        Some(piece) => piece.arguments.push(character),
        None => pieces.push(CallPiece {
            index,
            name: None,
            arguments: character.to_string(),
        }),
    }
}

/// How a model writes calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Written {
    /// Each as an object that has its name in it, with whatever marks around.
    #[default]
    Objects,
    /// Each as a name with the object of its arguments behind it. Marks that are text to the
    /// tokenizer are no part of the name, nor are so many bytes of an id behind it.
    Named { marks: Vec<String>, id_bytes: usize },
}

#[derive(Debug)]
pub(crate) enum CallReader {
    Objects(Objects),
    Named(Named),
}

impl CallReader {
    pub fn new(written: Written) -> Self {
        match written {
            Written::Objects => Self::Objects(Objects::default()),
            Written::Named { marks, id_bytes } => Self::Named(Named::new(marks, id_bytes)),
        }
    }

    pub fn push(&mut self, text: &str) -> Vec<CallPiece> {
        match self {
            Self::Objects(objects) => objects.push(text),
            Self::Named(named) => named.push(text),
        }
    }

    /// Calls that have begun.
    pub fn calls(&self) -> u32 {
        match self {
            Self::Objects(objects) => objects.calls(),
            Self::Named(named) => named.calls(),
        }
    }

    /// Where JSON begins in a text between two calls, and whether what stands before that is the
    /// model's choice: a name is.
    pub fn json_in(&self, text: &str) -> (usize, bool) {
        match self {
            Self::Objects(_) => (text.find(['{', '[']).unwrap_or(text.len()), false),
            Self::Named(_) => {
                let from = text.find('{').unwrap_or(text.len());
                (from, text[..from].contains(char::is_alphanumeric))
            }
        }
    }
}

impl Default for CallReader {
    fn default() -> Self {
        Self::new(Written::default())
    }
}

/// Names and arguments of the calls in `pieces` of a text.
#[cfg(test)]
fn read<'a>(
    mut reader: CallReader,
    pieces: impl IntoIterator<Item = &'a str>,
) -> Vec<(String, String)> {
    let mut calls: Vec<(String, String)> = Vec::new();
    for piece in pieces.into_iter().flat_map(|piece| reader.push(piece)) {
        if let Some(name) = piece.name {
            assert_eq!(calls.len(), piece.index as usize);
            calls.push((name, String::new()));
        }
        calls[piece.index as usize].1.push_str(&piece.arguments);
    }
    assert_eq!(calls.len(), reader.calls() as usize);
    calls
}
