//! What weights are rounded to at load, and what that takes.

use weir_kernels::packed::Format;

use crate::spec::DecoderSpec;
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

    /// What the weights of a model take, whose file has `file_bytes` of them.
    pub(crate) fn weight_bytes(self, spec: &DecoderSpec, file_bytes: u64) -> u64 {
        let Rounding {
            projections,
            vocabulary,
        } = self.rounding();
        let (Some(projections), Some(vocabulary)) = (projections, vocabulary) else {
            return file_bytes;
        };
        let packed = |format: Format, numbers: u64| {
            let blocks = numbers / format.block_weights() as u64;
            blocks.saturating_mul(format.block_bytes() as u64)
        };
        let projections = packed(projections, spec.projection_numbers());
        projections.saturating_add(packed(vocabulary, spec.vocabulary_numbers()))
    }

    /// The one to serve where so much memory is there; the smallest that was tried, and what it
    /// takes, where none fits.
    pub(crate) fn fitting(self, available: u64, bytes: impl Fn(Self) -> u64) -> Result<Self, u64> {
        let choices: &[Self] = match self {
            Self::Auto => &[Self::None, Self::Q8],
            Self::None => &[Self::None],
            Self::Q8 => &[Self::Q8],
            Self::Q4 => &[Self::Q4],
        };
        let least = choices.iter().map(|choice| bytes(*choice)).min();
        choices
            .iter()
            .copied()
            .find(|choice| bytes(*choice) <= available)
            .ok_or(least.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_automatic_is_eight_bits_only_where_that_fits_and_more_does_not() {
        let bytes = |choice| match choice {
            Quantization::None => 100,
            Quantization::Q8 => 53,
            _ => 28,
        };
        assert_eq!(
            Quantization::Auto.fitting(100, bytes),
            Ok(Quantization::None)
        );
        assert_eq!(Quantization::Auto.fitting(99, bytes), Ok(Quantization::Q8));
        assert_eq!(Quantization::Auto.fitting(52, bytes), Err(53));
        assert_eq!(Quantization::None.fitting(99, bytes), Err(100));
        assert_eq!(Quantization::Q4.fitting(28, bytes), Ok(Quantization::Q4));
    }
}
