//! The periods of budgets: the hours, days and months of UTC.

use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};
use weir_crds::Period;

/// One hour, day or month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub begins: Timestamp,
    /// The first moment that is no part of it.
    pub ends: Timestamp,
}

impl Span {
    /// The period that holds `time`.
    pub fn holding(period: Period, time: Timestamp) -> Self {
        let moment = Offset::UTC.to_datetime(time);
        let date = moment.date();
        let (begins, length) = match period {
            Period::Hour => (date.at(moment.hour(), 0, 0, 0), 1.hour()),
            Period::Day => (date.at(0, 0, 0, 0), 1.day()),
            Period::Month => (date.first_of_month().at(0, 0, 0, 0), 1.month()),
        };
        let ends = begins.checked_add(length).ok();
        let ends = ends.and_then(|ends| Offset::UTC.to_timestamp(ends).ok());
        Self {
            begins: Offset::UTC.to_timestamp(begins).unwrap_or(Timestamp::MIN),
            ends: ends.unwrap_or(Timestamp::MAX),
        }
    }
}

/// What a person calls the period that begins then: `2026-11`, `2026-11-22`, `2026-11-22 08:00`.
pub fn name(period: Period, begins: Timestamp) -> String {
    let begins = Offset::UTC.to_datetime(begins);
    let form = match period {
        Period::Hour => "%Y-%m-%d %H:%M",
        Period::Day => "%Y-%m-%d",
        Period::Month => "%Y-%m",
    };
    begins.strftime(form).to_string()
}

/// The period in a sentence.
pub fn word(period: Period) -> &'static str {
    match period {
        Period::Hour => "hour",
        Period::Day => "day",
        Period::Month => "month",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_holds_its_first_moment_and_not_its_last() {
        for (period, time, begins, ends) in [
            (
                Period::Hour,
                "2026-11-22T08:59:59.999Z",
                "2026-11-22T08:00:00Z",
                "2026-11-22T09:00:00Z",
            ),
            (
                Period::Day,
                "2026-12-31T23:59:59Z",
                "2026-12-31T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                Period::Month,
                "2028-02-29T12:00:00Z",
                "2028-02-01T00:00:00Z",
                "2028-03-01T00:00:00Z",
            ),
            (
                Period::Month,
                "2026-12-01T00:00:00Z",
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
        ] {
            let span = Span::holding(period, time.parse().unwrap());
            assert_eq!(span.begins.to_string(), begins, "{time}");
            assert_eq!(span.ends.to_string(), ends, "{time}");
            assert_eq!(Span::holding(period, span.begins), span, "{time}");
            assert_ne!(Span::holding(period, span.ends), span, "{time}");
        }
    }

    #[test]
    fn the_ends_of_all_time_are_periods_as_well() {
        for period in [Period::Hour, Period::Day, Period::Month] {
            for time in [Timestamp::MIN, Timestamp::MAX] {
                let span = Span::holding(period, time);
                assert!(span.begins <= time && time <= span.ends, "{span:?}");
            }
        }
    }

    #[test]
    fn a_period_is_called_by_what_tells_it_from_others() {
        let begins = "2026-11-22T08:00:00Z".parse().unwrap();
        assert_eq!(name(Period::Month, begins), "2026-11");
        assert_eq!(name(Period::Day, begins), "2026-11-22");
        assert_eq!(name(Period::Hour, begins), "2026-11-22 08:00");
    }
}
