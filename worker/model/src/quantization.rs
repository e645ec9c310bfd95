//! What weights are rounded to at load, and what that takes.

use weir_kernels::packed::Format;

use crate::weights::Rounding;

/// How weights that a file has in full precision are to be served. A GGUF file keeps its own
/// types, whatever is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantization {
    /// As the file has them; in eight bits where that does not fit in memory and eight bits do.
    #[default]
    Auto,
    None,
    Q8,
    /// Four bits, but for the embedding and the head, which get eight.
    Q4,
}

impl Quantization {
    pub const ALL: [Self; 4] = [Self::Auto, Self::None, Self::Q8, Self::Q4];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::None => "None",
            Self::Q8 => "Q8",
            Self::Q4 => "Q4",
        }
    }

    pub(crate) fn rounding(self) -> Rounding {
        let eight = Some(Format::Q8_0);
        match self {
            Self::Auto | Self::None => Rounding::default(),
            Self::Q8 => Rounding {
                projections: eight,
                vocabulary: eight,
            },
            Self::Q4 => Rounding {
                projections: Some(Format::Q4_0),
                vocabulary: eight,
            },
        }
    }

    /// What may come of it.
    pub(crate) fn choices(self) -> &'static [Self] {
        match self {
            Self::Auto => &[Self::None, Self::Q8],
            Self::None => &[Self::None],
            Self::Q8 => &[Self::Q8],
            Self::Q4 => &[Self::Q4],
        }
    }
}
