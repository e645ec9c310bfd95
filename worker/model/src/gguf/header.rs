//! The head of one file: its metadata, and which tensor lies where.
//!
//! Everything is checked here: counts and lengths against what follows, offsets against the
//! alignment, the end of the file and each other, shapes against their types.

use std::collections::BTreeMap;
use std::ops::Range;

use super::cursor::Cursor;
use super::item::{Item, Kind};
use super::metadata::{Place, Typed as _};
use super::tensor::Stored;

const MAGIC: [u8; 4] = *b"GGUF";

/// More than any model has: each takes memory beyond what the file takes.
const MOST_KEYS: usize = 1 << 16;
const MOST_TENSORS: usize = 1 << 17;

const LONGEST_KEY: usize = 1 << 10;
const LONGEST_NAME: usize = 256;
const MOST_DIMENSIONS: u32 = 4;

const ALIGNMENT: &str = "general.alignment";
const USUAL_ALIGNMENT: u32 = 32;
/// A page of the largest kind that files are mapped by.
const LARGEST_ALIGNMENT: u32 = 1 << 16;

pub(super) struct Header {
    pub(super) values: BTreeMap<String, Place>,
    pub(super) tensors: BTreeMap<String, Placed>,
}

/// Where a tensor is.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) shape: Vec<usize>,
    pub(super) stored: Stored,
    /// In the file. Empty for a type that is not served.
    pub(super) range: Range<usize>,
}

impl Header {
    /// # Errors
    /// Says what is wrong with the file, in words that complete "it is not what it should be".
    pub(super) fn read(file: &[u8]) -> Result<Self, String> {
        let mut cursor = Cursor::new(file, 0);
        let magic = cursor.array::<4>("the mark of a GGUF file")?;
        if magic != MAGIC {
            return Err(format!(
                "it begins with {magic:02x?}, where a GGUF file has \"GGUF\""
            ));
        }
        match cursor.u32("the version")? {
            2 | 3 => {}
            version if matches!(version.swap_bytes(), 1..=3) => {
                return Err("it is written for big-endian machines".to_owned());
            }
            version => return Err(format!("its version is {version}, where 2 and 3 are read")),
        }
        // A tensor takes a name's length, a count, one dimension, a type and an offset; a key its
        // length, a type and a byte.
        let tensors = cursor.count(8 + 4 + 8 + 4 + 8, "the number of tensors")?;
        let keys = cursor.count(8 + 4 + 1, "the number of keys")?;
        if tensors > MOST_TENSORS || keys > MOST_KEYS {
            return Err(format!(
                "it has {tensors} tensors and {keys} keys, where {MOST_TENSORS} and {MOST_KEYS} \
                 are read"
            ));
        }
        let values = values(&mut cursor, keys)?;
        let alignment = alignment(file, &values)?;
        let mut places = Vec::with_capacity(tensors);
        for _ in 0..tensors {
            places.push(Written::read(&mut cursor)?);
        }
        let start = cursor.at().next_multiple_of(alignment);
        Ok(Self {
            values,
            tensors: placed(places, start, alignment, file.len())?,
        })
    }
}

fn values(cursor: &mut Cursor<'_>, keys: usize) -> Result<BTreeMap<String, Place>, String> {
    let mut values = BTreeMap::new();
    for _ in 0..keys {
        let key = name(cursor, "a key", LONGEST_KEY)?;
        let kind = Kind::read(cursor).map_err(|why| format!("`{key}`: {why}"))?;
        let start = cursor.at();
        Item::read(cursor, kind).map_err(|why| format!("`{key}`: {why}"))?;
        if values.insert(key.clone(), Place { kind, start }).is_some() {
            return Err(format!("it has the key `{key}` twice"));
        }
    }
    Ok(values)
}

fn alignment(file: &[u8], values: &BTreeMap<String, Place>) -> Result<usize, String> {
    let Some(place) = values.get(ALIGNMENT) else {
        return Ok(USUAL_ALIGNMENT as usize);
    };
    let item = Item::read(&mut Cursor::new(file, place.start), place.kind)?;
    match u32::of(item) {
        Some(size) if size.is_power_of_two() && (8..=LARGEST_ALIGNMENT).contains(&size) => {
            Ok(size as usize)
        }
        _ => Err(format!(
            "`{ALIGNMENT}` is {item}, where a power of two from 8 to {LARGEST_ALIGNMENT} is \
             expected"
        )),
    }
}

fn name(cursor: &mut Cursor<'_>, what: &str, longest: usize) -> Result<String, String> {
    let bytes = cursor.text(&format!("the length of the name of {what}"))?;
    if bytes.is_empty() || bytes.len() > longest {
        return Err(format!(
            "the name of {what} takes {} bytes, where 1 to {longest} are expected",
            bytes.len()
        ));
    }
    match std::str::from_utf8(bytes) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) => Err(format!("the name of {what} is not UTF-8")),
    }
}

/// A tensor as the file describes it.
struct Written {
    name: String,
    /// Row-major.
    shape: Vec<usize>,
    stored: Stored,
    /// From where the tensors begin.
    offset: u64,
    bytes: usize,
}

impl Written {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let name = name(cursor, "a tensor", LONGEST_NAME)?;
        let dimensions = cursor.u32("the number of dimensions")?;
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(format!(
                "tensor `{name}` has {dimensions} dimensions, where 1 to {MOST_DIMENSIONS} are \
                 expected"
            ));
        }
        let mut written = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            written.push(cursor.u64("a dimension")?);
        }
        let stored = Stored::of(cursor.u32("the type of a tensor")?);
        let offset = cursor.u64("the offset of a tensor")?;
        let (shape, bytes) =
            size(&written, stored).map_err(|why| format!("tensor `{name}` {why}"))?;
        Ok(Self {
            name,
            shape,
            stored,
            offset,
            bytes,
        })
    }
}

/// The row-major shape of dimensions that a file lists columns first, and the bytes it takes.
fn size(written: &[u64], stored: Stored) -> Result<(Vec<usize>, usize), String> {
    let too_large = || format!("has dimensions {written:?}, which no memory holds");
    let mut shape = Vec::with_capacity(written.len());
    for &dimension in written.iter().rev() {
        shape.push(usize::try_from(dimension).map_err(|_| too_large())?);
    }
    if shape.contains(&0) {
        return Err(format!("has dimensions {written:?}, where none may be 0"));
    }
    let product = shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    let elements = product.ok_or_else(too_large)?;
    let Stored::Served(kind) = stored else {
        return Ok((shape, 0));
    };
    let columns = shape.last().copied().unwrap_or(1);
    if !columns.is_multiple_of(kind.block()) {
        return Err(format!(
            "has rows of {columns} numbers, where {kind} stores {} together",
            kind.block()
        ));
    }
    let bytes = (elements / kind.block()).checked_mul(kind.block_bytes());
    Ok((shape, bytes.ok_or_else(too_large)?))
}

/// The places in the file, none of which reaches into another.
fn placed(
    mut written: Vec<Written>,
    start: usize,
    alignment: usize,
    file_bytes: usize,
) -> Result<BTreeMap<String, Placed>, String> {
    written.sort_by_key(|tensor| tensor.offset);
    let mut tensors = BTreeMap::new();
    let mut end = 0;
    let mut before = String::new();
    for tensor in written {
        let Written { name, offset, .. } = tensor;
        if !offset.is_multiple_of(alignment as u64) {
            return Err(format!(
                "tensor `{name}` lies at {offset}, which is no multiple of the alignment \
                 {alignment}"
            ));
        }
        let range = usize::try_from(offset)
            .ok()
            .and_then(|offset| offset.checked_add(start))
            .and_then(|first| Some(first..first.checked_add(tensor.bytes)?))
            .filter(|range| range.end <= file_bytes);
        let Some(range) = range else {
            return Err(format!(
                "tensor `{name}` takes {} bytes at {offset} after the header of {start}, where \
                 the file ends after {file_bytes}",
                tensor.bytes
            ));
        };
        if range.start < end {
            return Err(format!("tensors `{before}` and `{name}` overlap"));
        }
        end = range.end;
        let placed = Placed {
            shape: tensor.shape,
            stored: tensor.stored,
            range,
        };
        if tensors.insert(name.clone(), placed).is_some() {
            return Err(format!("it has the tensor `{name}` twice"));
        }
        before = name;
    }
    Ok(tensors)
}
