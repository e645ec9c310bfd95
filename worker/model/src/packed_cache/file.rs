//! One file of packed weights: a header of 64 bytes, a table in JSON, and the weights, each on a
//! 64-byte boundary.
//!
//! The header says in little-endian numbers what it is, its versions, how long table and file are,
//! and the table's checksum; the table says of each weight what it is, where it lies after the table,
//! and its checksum.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_kernels::Cpu;
use weir_kernels::packed::{PACK_VERSION, PackedShape};

use super::{FILE_VERSION, Identity, Unfit, checksum};
use crate::mapped::Mapped;
use crate::weight::PackedWeight;

const MAGIC: &[u8; 8] = b"weirpack";

/// Of the header, and what all else is a multiple of.
const LINE: usize = 64;

/// What is written at once, between two looks at whether to go on.
const PIECE: usize = 8 << 20;

/// A weight by its name in the model's file.
pub(crate) type Named = (String, PackedWeight);

#[derive(Deserialize, Serialize)]
struct Table {
    digest: String,
    quantization: String,
    weights: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Entry {
    format: String,
    rows: usize,
    columns: usize,
    /// From where the weights begin.
    start: usize,
    bytes: usize,
    checksum: u64,
}

/// A file that was read once, and is whole.
#[derive(Debug)]
pub(crate) struct PackedFile {
    map: Arc<Mapped>,
    weights: BTreeMap<String, (Entry, Range<usize>)>,
}

impl PackedFile {
    pub(super) fn open(path: &Path, identity: &Identity, cpu: &Cpu) -> Result<Option<Self>, Unfit> {
        let map = match Mapped::open(path) {
            Ok(map) => map,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Unfit {
                    path: path.to_owned(),
                    why: error.to_string(),
                });
            }
        };
        let weights = read(&map, identity).and_then(|weights| {
            let runs: Vec<&[u8]> = weights
                .values()
                .map(|(_, range)| &map[range.clone()])
                .collect();
            let sums = checksum::of_each(cpu, &runs);
            let mut sums = weights.iter().zip(sums);
            match sums.find(|((_, (entry, _)), sum)| entry.checksum != *sum) {
                Some(((name, _), _)) => Err(format!("the weight `{name}` is damaged")),
                None => Ok(weights),
            }
        });
        match weights {
            Ok(weights) => Ok(Some(Self {
                map: Arc::new(map),
                weights,
            })),
            Err(why) => Err(Unfit {
                path: path.to_owned(),
                why,
            }),
        }
    }

    /// The weight of that name, where it has the shape that is wanted.
    pub(crate) fn weight(&self, name: &str, shape: PackedShape) -> Option<PackedWeight> {
        let (entry, range) = self.weights.get(name)?;
        let is_it = entry.format == shape.format().name()
            && (entry.rows, entry.columns) == (shape.rows(), shape.columns())
            && range.len() == shape.bytes();
        is_it.then(|| PackedWeight::mapped(shape, &self.map, range.clone()))
    }
}

/// What the file says it holds, each with its place; none of that lies outside of the file.
fn read(
    file: &[u8],
    identity: &Identity,
) -> Result<BTreeMap<String, (Entry, Range<usize>)>, String> {
    let header = file.first_chunk::<LINE>().ok_or("it is cut off")?;
    if header[..8] != *MAGIC {
        return Err("it is no file of packed weights".to_owned());
    }
    let number = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect(WITHIN));
    let long = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().expect(WITHIN));
    if (number(8), number(12)) != (FILE_VERSION, PACK_VERSION) {
        return Err("it is of another version".to_owned());
    }
    if long(24) != file.len() as u64 {
        let length = file.len();
        return Err(format!("it has {length} bytes where it says {}", long(24)));
    }
    let rest = &file[LINE..];
    let table = usize::try_from(long(16)).ok();
    let table = table.and_then(|length| rest.get(..length));
    let table = table.filter(|table| checksum::of(table) == long(32));
    let text = table.ok_or("its table is damaged")?;
    let table: Table = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if (table.digest.as_str(), table.quantization.as_str())
        != (
            identity.digest.as_str(),
            identity.weights.quantization.name(),
        )
    {
        return Err("it is of another model".to_owned());
    }
    let first = LINE + text.len().next_multiple_of(LINE);
    let placed = table.weights.into_iter().map(|(name, entry)| {
        let start = first.checked_add(entry.start);
        let range = start.and_then(|start| Some(start..start.checked_add(entry.bytes)?));
        match range.filter(|range| range.start.is_multiple_of(LINE) && range.end <= file.len()) {
            Some(range) => Ok((name, (entry, range))),
            None => Err(format!("the weight `{name}` does not lie in it")),
        }
    });
    placed.collect()
}

const WITHIN: &str = "a number lies within the header";

/// What a file of these weights takes.
pub(super) fn bytes(weights: &[Named]) -> u64 {
    // A table entry takes some 200 bytes.
    let each = weights.iter().map(|(_, weight)| weight.bytes().len() + 256);
    each.sum::<usize>() as u64
}

/// Writes all of it, unless `is_over` says that nobody needs it any more.
pub(super) fn write(
    to: &mut impl Write,
    (identity, weights): (&Identity, &[Named]),
    is_over: &dyn Fn() -> bool,
) -> io::Result<()> {
    let (table, data) = table(identity, weights);
    let table = serde_json::to_vec(&table)?;
    let first = table.len().next_multiple_of(LINE);
    let mut header = Vec::with_capacity(LINE);
    header.extend(MAGIC);
    header.extend(FILE_VERSION.to_le_bytes());
    header.extend(PACK_VERSION.to_le_bytes());
    header.extend((table.len() as u64).to_le_bytes());
    header.extend(((LINE + first + data) as u64).to_le_bytes());
    header.extend(checksum::of(&table).to_le_bytes());
    header.resize(LINE, 0);
    to.write_all(&header)?;
    to.write_all(&table)?;
    to.write_all(&vec![0; first - table.len()])?;
    for (_, weight) in weights {
        for piece in weight.bytes().chunks(PIECE) {
            if is_over() {
                return Err(ErrorKind::Interrupted.into());
            }
            to.write_all(piece)?;
        }
        let end = weight.bytes().len();
        to.write_all(&vec![0; end.next_multiple_of(LINE) - end])?;
    }
    Ok(())
}

/// The table, and what all the weights take after it.
fn table(identity: &Identity, weights: &[Named]) -> (Table, usize) {
    let mut start = 0;
    let entries = weights.iter().map(|(name, weight)| {
        let (shape, bytes) = (weight.shape(), weight.bytes());
        let entry = Entry {
            format: shape.format().name().to_owned(),
            rows: shape.rows(),
            columns: shape.columns(),
            start,
            bytes: bytes.len(),
            checksum: checksum::of(bytes),
        };
        start += bytes.len().next_multiple_of(LINE);
        (name.clone(), entry)
    });
    let table = Table {
        digest: identity.digest.clone(),
        quantization: identity.weights.quantization.name().to_owned(),
        weights: entries.collect(),
    };
    (table, start)
}
