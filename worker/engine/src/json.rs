//! Follows a JSON document as it is written, character by character: what is structure, what is a
//! value, and how deep. It does not judge: what is no JSON is followed as well as it can be.

#[derive(Debug, Default)]
pub(crate) struct Follower {
    levels: Vec<Level>,
    string: Option<Role>,
    escaped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// A name is expected, and then what it names.
    Object {
        named: bool,
    },
    Array,
}

/// What a character is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Brackets, commas, colons, white space, the quotes around names and before strings.
    Structure,
    Name,
    /// A number, a word, or what is in a string and the quote that ends it: where it ends is the
    /// writer's choice too.
    Value,
}

impl Follower {
    pub fn push(&mut self, character: char) -> Role {
        if let Some(role) = self.string {
            return self.within_string(role, character);
        }
        match character {
            '{' => self.levels.push(Level::Object { named: false }),
            '[' => self.levels.push(Level::Array),
            '}' | ']' => drop(self.levels.pop()),
            ':' | ',' => {
                if let Some(Level::Object { named }) = self.levels.last_mut() {
                    *named = character == ':';
                }
            }
            '"' => {
                let is_name = self.levels.last() == Some(&Level::Object { named: false });
                self.string = Some(if is_name { Role::Name } else { Role::Value });
            }
            _ if character.is_whitespace() => {}
            _ => return Role::Value,
        }
        Role::Structure
    }

    fn within_string(&mut self, role: Role, character: char) -> Role {
        if self.escaped {
            self.escaped = false;
            return role;
        }
        match character {
            '\\' => self.escaped = true,
            '"' => {
                self.string = None;
                if role == Role::Name {
                    return Role::Structure;
                }
            }
            _ => {}
        }
        role
    }

    /// Arrays and objects that are open, outermost first.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    pub fn in_string(&self) -> bool {
        self.string.is_some()
    }

    /// Follows a piece and says whether any of it is a value, or would be one day where it is
    /// empty: the beginning of a character.
    pub fn has_value(&mut self, piece: &str) -> bool {
        if piece.is_empty() {
            return self.string == Some(Role::Value);
        }
        // Not `any`: everything must be followed.
        let values = piece.chars().filter(|c| self.push(*c) == Role::Value);
        values.count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(document: &str) -> String {
        let mut follower = Follower::default();
        let value = |c: &char| follower.push(*c) == Role::Value;
        document.chars().filter(value).collect()
    }

    #[test]
    fn values_are_told_from_names_and_structure() {
        assert_eq!(values(r#"{"a": "x", "b": [1, null]}"#), r#"x"1null"#);
        assert_eq!(values(r#"{"a": {"b": "c:,{"}, "d": ""}"#), r#"c:,{"""#);
        assert_eq!(values(r#"["\"", "\\"]"#), r#"\""\\""#);
        assert_eq!(values("  -1.5e3 "), "-1.5e3");
    }

    #[test]
    fn a_piece_within_a_character_belongs_to_what_the_character_belongs_to() {
        let mut follower = Follower::default();
        assert!(!follower.has_value(r#"{"na"#));
        assert!(!follower.has_value(""));
        assert!(!follower.has_value(r#"me":""#));
        assert!(follower.has_value(""));
        assert!(follower.has_value("ö\""));
        assert!(!follower.has_value(","));
    }
}
