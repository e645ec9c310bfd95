//! Names the instruction set that every kernel of a process computes with.
//!
//! Tokens are comparable within one class and not across two: an answer begun on one may only be
//! resumed on the same.

use std::fmt;

/// One set of kernels, from the widest to the one that runs anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelClass {
    /// [`KernelClass::Avx512`], and products of numbers in bf16 in pairs.
    Avx512Bf16,
    Avx512,
    Avx2,
    Portable,
}

impl KernelClass {
    /// Every class, best first.
    pub const ALL: [Self; 4] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Portable];

    /// The best class that this processor can run.
    pub fn detect() -> Self {
        Self::ALL
            .into_iter()
            .find(|class| class.is_available())
            .unwrap_or(Self::Portable)
    }

    /// Whether this processor can run the class.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => {
                is_x86_feature_detected!("avx512bf16") && Self::Avx512.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 | Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// This class or, where it rounds inputs of weights in full precision, the best that does not.
    pub fn without_rounding(self) -> Self {
        match self {
            Self::Avx512Bf16 => Self::Avx512,
            other => other,
        }
    }

    /// Whether inputs are rounded to bf16 where they meet weights that are stored so.
    pub(crate) fn pairs(self) -> bool {
        self == Self::Avx512Bf16
    }

    /// The name by which two replicas recognise that they compute alike.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for KernelClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
