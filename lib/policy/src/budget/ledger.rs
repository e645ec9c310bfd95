//! What is granted of a budget in one period, and how the ConfigMap `weir-budgets` keeps it: one entry
//! for each policy, in it a ledger for each of its budgets, in that a slice for each router.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use weir_crds::{Money, Period};

use super::period::Span;
use super::{Tally, text};

/// All that was granted of one budget in one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub begins: Timestamp,
    /// The first moment that is no part of the period.
    pub ends: Timestamp,
    /// What routers that are gone had and did not return: nobody knows whether they spent it.
    #[serde(with = "text")]
    pub spent: Money,
    /// What they counted.
    #[serde(default, skip_serializing_if = "Tally::is_zero")]
    pub tally: Tally,
    /// When any was taken over last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tallied: Option<Timestamp>,
    /// By the name of a router's run, which no other run has.
    #[serde(default)]
    pub slices: BTreeMap<String, Slice>,
}

/// What one run of one router may spend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    pub pod: String,
    /// All in the period, in one sum.
    #[serde(with = "text")]
    pub granted: Money,
    /// The part of it that the router does not spend any more.
    #[serde(with = "text")]
    pub returned: Money,
    /// What the run has counted, as far as it was taken over.
    #[serde(default, skip_serializing_if = "Tally::is_zero")]
    pub tally: Tally,
}

/// Of one policy.
pub type Ledgers = BTreeMap<Period, Ledger>;

impl Ledger {
    pub fn new(span: Span) -> Self {
        Self {
            begins: span.begins,
            ends: span.ends,
            spent: Money::default(),
            tally: Tally::default(),
            tallied: None,
            slices: BTreeMap::new(),
        }
    }

    /// What is spent or may be, by anybody.
    pub fn committed(&self) -> Money {
        let held = self.slices.values().map(Slice::held);
        self.spent + held.sum::<Money>()
    }
}

impl Slice {
    pub fn held(&self) -> Money {
        self.granted.less(self.returned)
    }
}

/// What the entries of the ConfigMap say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    pub policies: BTreeMap<String, Ledgers>,
    /// As they are. What was granted by such an entry is not known, so that nothing more may be.
    pub unreadable: BTreeMap<String, String>,
}

impl Book {
    pub fn read(entries: &BTreeMap<String, String>) -> Self {
        let mut book = Self::default();
        for (policy, json) in entries {
            match serde_json::from_str(json) {
                Ok(ledgers) => drop(book.policies.insert(policy.clone(), ledgers)),
                Err(_) => drop(book.unreadable.insert(policy.clone(), json.clone())),
            }
        }
        book
    }

    pub fn write(&self) -> BTreeMap<String, String> {
        let written = self.policies.iter().filter_map(|(policy, ledgers)| {
            let json = serde_json::to_string(ledgers).ok()?;
            Some((policy.clone(), json))
        });
        written.chain(self.unreadable.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_book_that_was_written_is_read_and_what_cannot_be_read_stays_as_it_is() {
        let mut ledger = Ledger::new(Span::holding(Period::Day, Timestamp::UNIX_EPOCH));
        let slice = Slice {
            pod: "weir-router-1".into(),
            granted: "1.25".parse().unwrap(),
            returned: "0.25".parse().unwrap(),
            tally: Tally::default(),
        };
        ledger.slices.insert("9f3c".into(), slice);
        ledger.spent = "2".parse().unwrap();
        assert_eq!(ledger.committed().to_string(), "3.00");
        let book = Book {
            policies: [("support".into(), [(Period::Day, ledger)].into())].into(),
            unreadable: [("odd".into(), "{\"Day\":1}".into())].into(),
        };
        let entries = book.write();
        let expected = concat!(
            r#"{"Day":{"begins":"1970-01-01T00:00:00Z","ends":"1970-01-02T00:00:00Z","spent":"2","#,
            r#""slices":{"9f3c":{"pod":"weir-router-1","granted":"1.25","returned":"0.25"}}}}"#
        );
        assert_eq!(entries["support"], expected);
        assert_eq!(Book::read(&entries), book);
    }

    #[test]
    fn an_amount_that_no_budget_has_makes_its_entry_unreadable_and_no_other() {
        let entry = |amount: &str| {
            let slice = json!({ "pod": "a", "granted": amount, "returned": "0" });
            let ledger = json!({
                "begins": "1970-01-01T00:00:00Z", "ends": "1970-01-02T00:00:00Z",
                "spent": amount, "slices": { "9f3c": slice },
            });
            json!({ "Day": ledger }).to_string()
        };
        let absurd = entry("79228162514264337593543950335");
        let entries = [
            ("absurd".to_owned(), absurd.clone()),
            ("much".to_owned(), entry("999999999999")),
        ];
        let book = Book::read(&entries.into());
        assert_eq!(book.unreadable, [("absurd".to_owned(), absurd)].into());
        let much = &book.policies["much"][&Period::Day];
        assert_eq!(much.committed().to_string(), "1999999999998");
    }

    #[test]
    fn what_is_written_can_be_read_however_much_it_is() {
        let mut ledger = Ledger::new(Span::holding(Period::Day, Timestamp::UNIX_EPOCH));
        ledger.spent = rust_decimal::Decimal::MAX.into();
        let book = Book {
            policies: [("support".into(), [(Period::Day, ledger)].into())].into(),
            ..Book::default()
        };
        let read = Book::read(&book.write());
        let limit = "999999999999".parse().unwrap();
        assert!(read.policies["support"][&Period::Day].committed() > limit);
    }
}
