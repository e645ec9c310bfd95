//! Durations as Go writes them: `1h30m`, `45s`, `250ms`.

use std::time::Duration;

const MAX_LENGTH: usize = 16;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("{0:?} is not a duration: write it as 90s, 5m or 1h30m")]
    Malformed(String),
    #[error("{0:?} is not a duration that anything can wait for: it must be above zero")]
    Zero(String),
    #[error("{0:?} is too long a duration: six digits per unit and 16 characters at most")]
    TooLong(String),
}

/// Reads `text`: one or more whole numbers, each followed by `ms`, `s`, `m` or `h`; their sum is
/// above zero. At most 16 characters, which keeps it within what Go can hold.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.into());
    if text.len() > MAX_LENGTH {
        return Err(DurationError::TooLong(text.into()));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let (millis_per_unit, tail) = unit(tail).ok_or_else(malformed)?;
        if digits == 0 {
            return Err(malformed());
        }
        if digits > 6 {
            return Err(DurationError::TooLong(text.into()));
        }
        let number: u64 = number.parse().map_err(|_| malformed())?;
        sum += Duration::from_millis(number * millis_per_unit);
        rest = tail;
    }
    match (text.is_empty(), sum.is_zero()) {
        (true, _) => Err(malformed()),
        (false, true) => Err(DurationError::Zero(text.into())),
        (false, false) => Ok(sum),
    }
}

/// The milliseconds of the unit that `text` begins with, and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
        .into_iter()
        .find_map(|(name, millis)| Some((millis, text.strip_prefix(name)?)))
}

/// Writes `duration` for a reader: `1h30m`, `17.5s`, `310ms`. Under a minute to a tenth of a
/// second, above to the second: [`duration_argument`] writes what has to be read back.
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let tenths = millis / 100 % 10;
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    match millis {
        0..1000 => format!("{millis}ms"),
        1000..60_000 if tenths == 0 => format!("{seconds}s"),
        1000..60_000 => format!("{seconds}.{tenths}s"),
        _ => [(hours, "h"), (minutes, "m"), (seconds, "s")]
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, unit)| format!("{number}{unit}"))
            .collect(),
    }
}

/// Writes `duration` for a program, to the millisecond: what is written here is read back as it
/// was. Of whole seconds it is [`duration_text`].
pub fn duration_argument(duration: Duration) -> String {
    let millis = duration.subsec_millis();
    let whole = Duration::from_secs(duration.as_secs());
    match (whole.is_zero(), millis) {
        (_, 0) => duration_text(whole),
        (true, millis) => format!("{millis}ms"),
        (false, millis) => format!("{}{millis}ms", duration_text(whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_the_sum_of_its_parts() {
        for (text, millis) in [
            ("250ms", 250),
            ("60s", 60_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1m1ms", 60_001),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_duration_is_refused_and_quoted() {
        for text in ["", "5", "5 m", "-5m", "1.5h", "5d", "m", "5m3"] {
            assert_eq!(duration(text), Err(DurationError::Malformed(text.into())));
        }
        assert_eq!(duration("0s"), Err(DurationError::Zero("0s".into())));
        assert_eq!(
            duration("1234567s"),
            Err(DurationError::TooLong("1234567s".into()))
        );
        assert_eq!(
            duration("5").unwrap_err().to_string(),
            r#""5" is not a duration: write it as 90s, 5m or 1h30m"#
        );
    }

    #[test]
    fn a_written_duration_is_short_and_reads_back() {
        for (millis, text) in [
            (310, "310ms"),
            (2000, "2s"),
            (17_543, "17.5s"),
            (60_000, "1m"),
            (5_400_000, "1h30m"),
            (3_661_000, "1h1m1s"),
        ] {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration("1h1m1s"), Ok(Duration::from_secs(3661)));
    }

    #[test]
    fn an_argument_has_every_millisecond_and_no_fraction() {
        for (millis, text) in [
            (310, "310ms"),
            (1500, "1s500ms"),
            (60_001, "1m1ms"),
            (60_000, "1m"),
            (900_000, "15m"),
        ] {
            let written = duration_argument(Duration::from_millis(millis));
            assert_eq!(written, text);
            assert_eq!(duration(&written), Ok(Duration::from_millis(millis)));
        }
    }
}
