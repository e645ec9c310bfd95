//! Writes small GGUF files, right ones and wrong ones.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A value as the format has it.
#[derive(Clone, Debug)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(u8),
    Text(Vec<u8>),
    /// Values of one type.
    Array(Vec<Value>),
    U64(u64),
    I64(i64),
    F64(f64),
    /// An array without items, of a numbered type.
    Empty(u32),
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    pub fn texts(texts: &[&str]) -> Self {
        Self::Array(texts.iter().map(|text| Self::text(text)).collect())
    }

    fn kind(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::Text(_) => 8,
            Self::Array(_) | Self::Empty(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(value) | Self::Bool(value) => out.push(*value),
            Self::I8(value) => out.extend(value.to_le_bytes()),
            Self::U16(value) => out.extend(value.to_le_bytes()),
            Self::I16(value) => out.extend(value.to_le_bytes()),
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::I32(value) => out.extend(value.to_le_bytes()),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::I64(value) => out.extend(value.to_le_bytes()),
            Self::F64(value) => out.extend(value.to_le_bytes()),
            Self::Text(bytes) => text(bytes, out),
            Self::Array(items) => {
                out.extend(items[0].kind().to_le_bytes());
                out.extend((items.len() as u64).to_le_bytes());
                items.iter().for_each(|item| item.write(out));
            }
            Self::Empty(kind) => {
                out.extend(kind.to_le_bytes());
                out.extend(0_u64.to_le_bytes());
            }
        }
    }
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    /// Columns first, as the format has them.
    pub dimensions: Vec<u64>,
    pub kind: u32,
    /// Where it says that it lies; else after the one before it.
    pub offset: Option<u64>,
    pub bytes: Vec<u8>,
}

/// A file that a test may damage before it is written.
#[derive(Clone, Debug)]
pub struct Written {
    pub magic: [u8; 4],
    pub version: u32,
    pub alignment: usize,
    /// What the file says, where it lies.
    pub tensor_count: Option<u64>,
    pub key_count: Option<u64>,
    pub values: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
}

impl Written {
    pub fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            tensor_count: None,
            key_count: None,
            values: Vec::new(),
            tensors: Vec::new(),
        }
    }

    pub fn set(&mut self, key: &str, value: Value) -> &mut Self {
        self.values.retain(|(name, _)| name != key);
        self.values.push((key.to_owned(), value));
        self
    }

    /// Adds a tensor with bytes that count up.
    pub fn add(&mut self, name: &str, dimensions: &[u64], kind: u32, bytes: usize) -> &mut Self {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dimensions: dimensions.to_vec(),
            kind,
            offset: None,
            bytes: (0..bytes).map(|at| at as u8).collect(),
        });
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        let tensors = self.tensor_count.unwrap_or(self.tensors.len() as u64);
        out.extend(tensors.to_le_bytes());
        let keys = self.key_count.unwrap_or(self.values.len() as u64);
        out.extend(keys.to_le_bytes());
        for (key, value) in &self.values {
            text(key.as_bytes(), &mut out);
            out.extend(value.kind().to_le_bytes());
            value.write(&mut out);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            data.resize(data.len().next_multiple_of(self.alignment), 0);
            text(tensor.name.as_bytes(), &mut out);
            out.extend((tensor.dimensions.len() as u32).to_le_bytes());
            for dimension in &tensor.dimensions {
                out.extend(dimension.to_le_bytes());
            }
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend_from_slice(&tensor.bytes);
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(data);
        out
    }

    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

pub fn folder() -> TempDir {
    TempDir::new().unwrap()
}
