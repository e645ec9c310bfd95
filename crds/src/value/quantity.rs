//! Kubernetes quantities: bytes of memory and thousandths of a CPU, as a number or as text.

use std::{borrow::Cow, fmt};

use rust_decimal::{Decimal, prelude::ToPrimitive};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::schema;

/// A quantity as it was written: `4`, `"500m"`, `8Gi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    Number(i64),
    Text(String),
}

/// Why a quantity is not what a field wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("{0:?} is not a quantity: write 8Gi, 500m or a whole number")]
    Malformed(String),
    #[error("{0:?} is not a quantity that can be had: it must be above zero and up to 1Pi")]
    OutOfRange(String),
}

/// Thousandths of a CPU, above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliCpu(pub u64);

impl Quantity {
    /// The quantity as a whole number of bytes, rounded up; above zero.
    pub fn bytes(&self) -> Result<u64, QuantityError> {
        self.scaled(Decimal::ONE)
    }

    /// The quantity as thousandths of a CPU, rounded up; above zero.
    pub fn milli_cpu(&self) -> Result<MilliCpu, QuantityError> {
        self.scaled(Decimal::ONE_THOUSAND).map(MilliCpu)
    }

    fn scaled(&self, scale: Decimal) -> Result<u64, QuantityError> {
        let out_of_range = || QuantityError::OutOfRange(self.to_string());
        let value = match self {
            Quantity::Number(number) => Decimal::from(*number),
            Quantity::Text(text) => parse(text)?,
        };
        if value <= Decimal::ZERO || value > Decimal::from(1_i64 << 50) {
            return Err(out_of_range());
        }
        (value * scale).ceil().to_u64().ok_or_else(out_of_range)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Number(number) => number.fmt(f),
            Quantity::Text(text) => text.fmt(f),
        }
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Quantity::Text(text.into())
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::quantity()
    }
}

fn parse(text: &str) -> Result<Decimal, QuantityError> {
    let malformed = || QuantityError::Malformed(text.into());
    let digits = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    let (number, suffix) = text.split_at(digits);
    let number = super::decimal(number).map_err(|_| malformed())?;
    let factor = factor(suffix).ok_or_else(malformed)?;
    number
        .checked_mul(factor)
        .ok_or_else(|| QuantityError::OutOfRange(text.into()))
}

fn factor(suffix: &str) -> Option<Decimal> {
    let power = |base: i64, exponent: u32| base.checked_pow(exponent).map(Decimal::from);
    match suffix {
        "" => Some(Decimal::ONE),
        "m" => Some(Decimal::new(1, 3)),
        "k" => power(1000, 1),
        "M" => power(1000, 2),
        "G" => power(1000, 3),
        "T" => power(1000, 4),
        "P" => power(1000, 5),
        "Ki" => power(1024, 1),
        "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "Ti" => power(1024, 4),
        "Pi" => power(1024, 5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_can_be_had_is_one_pebibyte() {
        assert_eq!(Quantity::from("1Pi").bytes(), Ok(1 << 50));
        assert_eq!(Quantity::Number(1 << 50).bytes(), Ok(1 << 50));
        assert_eq!(
            Quantity::from("1Pi").milli_cpu(),
            Ok(MilliCpu(1000 * (1 << 50)))
        );
        for beyond in [Quantity::from("1.1Pi"), Quantity::Number((1 << 50) + 1)] {
            assert!(matches!(beyond.bytes(), Err(QuantityError::OutOfRange(_))));
        }
    }

    #[test]
    fn memory_counts_bytes_and_cpu_thousandths() {
        assert_eq!(Quantity::from("8Gi").bytes(), Ok(8 << 30));
        assert_eq!(Quantity::from("1.5Mi").bytes(), Ok(3 << 19));
        assert_eq!(Quantity::from("64M").bytes(), Ok(64_000_000));
        assert_eq!(Quantity::Number(1 << 33).bytes(), Ok(1 << 33));
        assert_eq!(Quantity::from("500m").milli_cpu(), Ok(MilliCpu(500)));
        assert_eq!(Quantity::from("2").milli_cpu(), Ok(MilliCpu(2000)));
        assert_eq!(Quantity::Number(4).milli_cpu(), Ok(MilliCpu(4000)));
    }

    #[test]
    fn a_quantity_that_cannot_be_had_is_refused_and_quoted() {
        for text in ["", "Gi", "8GiB", "8 Gi", "-1", "1e3"] {
            let error = Quantity::from(text).bytes().unwrap_err();
            assert_eq!(error, QuantityError::Malformed(text.into()));
        }
        for quantity in [
            Quantity::from("0"),
            Quantity::Number(-4),
            Quantity::from("9000000000000Pi"),
        ] {
            assert!(matches!(
                quantity.bytes(),
                Err(QuantityError::OutOfRange(_))
            ));
        }
    }

    #[test]
    fn a_quantity_is_written_as_it_was_read() {
        for json in ["4", r#""500m""#] {
            let quantity: Quantity = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&quantity).unwrap(), json);
        }
    }
}
