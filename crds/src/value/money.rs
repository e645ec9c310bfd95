//! Decimal numbers: money in US dollars, and fractions. Never a float, so that sums are exact.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;

/// Why a text is not the decimal number that a field wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("{0:?} is not a decimal number: write digits with at most one point, as in 0.75")]
    Malformed(String),
    #[error("{0:?} is out of range: a fraction is from 0 to 1")]
    NotAFraction(String),
}

/// Reads `text`: digits, and at most one point with digits on both sides; never negative.
pub fn decimal(text: &str) -> Result<Decimal, DecimalError> {
    let malformed = || DecimalError::Malformed(text.into());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return Err(malformed());
    }
    Decimal::from_str(text).map_err(|_| malformed())
}

/// An amount of US dollars, never negative. What is more than can be counted is the most that can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

impl Money {
    /// The amount, for arithmetic.
    pub fn amount(self) -> Decimal {
        self.0
    }

    /// What is left of it after `other`; never below zero.
    #[must_use]
    pub fn less(self, other: Money) -> Money {
        Money::from(self.0.saturating_sub(other.0))
    }

    /// So many times as much, or the most that there is.
    #[must_use]
    pub fn times(self, factor: Decimal) -> Money {
        Money::from(self.0.saturating_mul(factor))
    }

    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// What `tokens` cost at this price per million.
    pub fn per_million(self, tokens: u64) -> Money {
        let million = self.0.saturating_mul(Decimal::from(tokens));
        Money(million / Decimal::from(1_000_000))
    }
}

impl From<Decimal> for Money {
    /// A negative amount is zero: nothing that Weir counts is ever given back.
    fn from(amount: Decimal) -> Self {
        Money(amount.max(Decimal::ZERO))
    }
}

impl FromStr for Money {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decimal(text).map(Money)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::ops::Add for Money {
    type Output = Money;

    fn add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        amounts.fold(Money::default(), |sum, amount| sum + amount)
    }
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fraction(Decimal);

impl Fraction {
    /// The fraction as it was written.
    pub fn exact(self) -> Decimal {
        self.0
    }

    /// The nearest float, for comparing with what is measured.
    pub fn value(self) -> f64 {
        f64::try_from(self.0).unwrap_or_default()
    }
}

impl FromStr for Fraction {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = decimal(text)?;
        if number > Decimal::ONE {
            return Err(DecimalError::NotAFraction(text.into()));
        }
        Ok(Fraction(number))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_adds_up_without_rounding() {
        let dime: Money = "0.1".parse().unwrap();
        let sum: Money = std::iter::repeat_n(dime, 3).sum();
        assert_eq!(sum.to_string(), "0.3");
        assert_eq!(sum.less(dime).to_string(), "0.2");
        assert!(dime.less(sum).is_zero());
        let price: Money = "3".parse().unwrap();
        assert_eq!(price.per_million(41).to_string(), "0.000123");
    }

    #[test]
    fn more_than_can_be_counted_is_the_most_that_can() {
        let most = Money::from(Decimal::MAX);
        assert_eq!(most + most, most);
        assert_eq!([most, most].into_iter().sum::<Money>(), most);
        assert_eq!(most.times(Decimal::TEN), most);
        assert_eq!(most.per_million(2_000_000), most.per_million(1));
        let cent: Money = "0.01".parse().unwrap();
        assert!(cent.less(most).is_zero() && most.less(cent) <= most);
        assert!(most + cent >= most);
    }

    #[test]
    fn a_text_that_is_no_decimal_is_refused_and_quoted() {
        for text in [
            "", "-1", "1e3", ".5", "5.", "1.2.3", "1,5", "+1", "1_0", "NaN",
        ] {
            assert_eq!(
                text.parse::<Money>(),
                Err(DecimalError::Malformed(text.into())),
                "{text:?}"
            );
        }
        let long = "9".repeat(40);
        assert_eq!(decimal(&long), Err(DecimalError::Malformed(long)));
    }

    #[test]
    fn a_fraction_ends_at_one() {
        assert_eq!("0.75".parse::<Fraction>().unwrap().value(), 0.75);
        assert_eq!("1".parse::<Fraction>().unwrap().to_string(), "1");
        assert_eq!(
            "1.01".parse::<Fraction>(),
            Err(DecimalError::NotAFraction("1.01".into()))
        );
    }
}
