//! What parsing a JSON text takes, told before it is parsed.

/// More than any conversation has with all its tools. `[0,0,...]` fills memory with 36 times its
/// own length.
pub const MOST_VALUES: usize = 200_000;

/// Whether a JSON text may have more values than [`MOST_VALUES`]. A short one is not looked at: each value
/// takes a byte at least.
pub fn has_too_many_values(json: &[u8]) -> bool {
    json.len() >= MOST_VALUES && most_values(json) > MOST_VALUES
}

/// At most how many values a JSON text has: one, and one more for each comma and each bracket that
/// opens, outside of strings.
pub fn most_values(json: &[u8]) -> usize {
    let (mut is_string, mut is_escaped, mut values) = (false, false, 1);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b',' | b'[' | b'{' if !is_string => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_too_many_is_seen_in_the_shortest_text_that_has_it() {
        let zeros = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        // The list is a value itself.
        assert!(!has_too_many_values(zeros(MOST_VALUES - 1).as_bytes()));
        assert!(has_too_many_values(zeros(MOST_VALUES).as_bytes()));
        let opened = "[".repeat(MOST_VALUES);
        assert!(has_too_many_values(opened.as_bytes()));
    }

    #[test]
    fn commas_in_text_are_no_values() {
        assert_eq!(most_values(br#"{"a,\"[{,": [1, 2, "x,y\\"]}"#), 5);
    }
}
