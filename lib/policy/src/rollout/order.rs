//! The annotation `weir.dev/rollout`, by which people end a rollout: `promote@<revision>` or
//! `rollback@<revision>`.
//!
//! It names the revision, so that it can stay where it is: one that has been obeyed, or is of another
//! revision, does nothing.

use std::fmt;
use std::str::FromStr;

/// What a person wants of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub wish: Wish,
    pub revision: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It takes over, whatever the guard says.
    Promote,
    /// It goes, and is not tried again while the annotation is there.
    Rollback,
}

impl Order {
    /// Whether it wishes this of this revision.
    pub fn is(&self, wish: Wish, revision: &str) -> bool {
        self.wish == wish && self.revision == revision
    }
}

/// As the annotation has it.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wish = match self.wish {
            Wish::Promote => "promote",
            Wish::Rollback => "rollback",
        };
        write!(f, "{wish}@{}", self.revision)
    }
}

/// Why an annotation is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no order: write promote@<revision> or rollback@<revision>")]
pub struct NoOrder(String);

impl FromStr for Order {
    type Err = NoOrder;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let none = || NoOrder(text.into());
        let (wish, revision) = text.trim().split_once('@').ok_or_else(none)?;
        let wish = match wish {
            "promote" => Wish::Promote,
            "rollback" => Wish::Rollback,
            _ => return Err(none()),
        };
        if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(none());
        }
        Ok(Self {
            wish,
            revision: revision.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_its_wish_and_its_revision() {
        let order: Order = "promote@4f0c9a2b".parse().unwrap();
        assert!(order.is(Wish::Promote, "4f0c9a2b"));
        assert!(!order.is(Wish::Promote, "4f0c9a2c") && !order.is(Wish::Rollback, "4f0c9a2b"));
        let order: Order = " rollback@4f0c9a2b\n".parse().unwrap();
        assert_eq!(order.wish, Wish::Rollback);
        assert_eq!(order.to_string(), "rollback@4f0c9a2b");
    }

    #[test]
    fn anything_else_is_none_and_says_what_to_write() {
        for text in [
            "",
            "promote",
            "promote@",
            "Promote@4f",
            "undo@4f",
            "promote@4f,rollback@4f",
        ] {
            let error = text.parse::<Order>().unwrap_err().to_string();
            assert!(error.contains("write promote@<revision>"), "{error}");
        }
    }
}
