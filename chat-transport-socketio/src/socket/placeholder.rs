//! The places that binary attachments have in a JSON text: `{"_placeholder":true,"num":0}`.
//!
//! A client can write such an object into its content by hand. Sent on inside a packet with attachments, one that points nowhere makes
//! the official client throw, and one that points at another message's attachment shows that. So content is checked before it is
//! kept, and renumbered where several messages share a packet. Pure; texts stay as they are but for the numbers.

use super::json::{self, JsonError};

/// Why content with placeholders is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceholderError {
    /// The text is not JSON, or too deep.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// An object with `_placeholder` that is not exactly `true`, `false` or `null`, or without exactly one plain integer `num`.
    #[error("an object with _placeholder is not of the form {{\"_placeholder\":true,\"num\":<integer>}}")]
    Unclear,
    /// A number without attachment.
    #[error("placeholder {number} has no attachment: there are {attachments}")]
    OutOfRange {
        /// What the placeholder says.
        number: u64,
        /// How many attachments there are.
        attachments: usize,
    },
}

/// Checks that every placeholder in `json` points at one of `attachments` attachments, also if there are none.
/// Answers the numbers that are used, ascending, once each.
///
/// # Errors
/// The text is not JSON, or a placeholder is unclear or points nowhere.
pub fn check(json: &str, attachments: usize) -> Result<Vec<usize>, PlaceholderError> {
    check_outline(json, &json::outline(json)?, attachments)
}

pub(crate) fn check_outline(
    json: &str,
    outline: &json::Outline,
    attachments: usize,
) -> Result<Vec<usize>, PlaceholderError> {
    let mut used = Vec::new();
    for placeholder in &outline.placeholders {
        let number = number(json, placeholder).ok_or(PlaceholderError::Unclear)?;
        match usize::try_from(number) {
            Ok(index) if index < attachments => used.push(index),
            _ => return Err(PlaceholderError::OutOfRange { number, attachments }),
        }
    }
    used.sort_unstable();
    used.dedup();
    Ok(used)
}

/// Writes `map(number)` for the number of every placeholder in `json`; all other bytes stay as they are.
///
/// # Errors
/// The text is not JSON, or a placeholder is unclear.
pub fn renumber(json: &str, map: impl Fn(u64) -> u64) -> Result<String, PlaceholderError> {
    let mut numbers = Vec::new();
    for placeholder in &json::outline(json)?.placeholders {
        let number = number(json, placeholder).ok_or(PlaceholderError::Unclear)?;
        numbers.push((placeholder.number.clone().ok_or(PlaceholderError::Unclear)?, number));
    }
    numbers.sort_unstable_by_key(|(range, _)| range.start);
    let mut written = String::with_capacity(json.len() + numbers.len());
    let mut copied = 0;
    for (range, number) in numbers {
        written.push_str(json.get(copied..range.start).unwrap_or_default());
        written.push_str(&map(number).to_string());
        copied = range.end;
    }
    written.push_str(json.get(copied..).unwrap_or_default());
    Ok(written)
}

fn number(json: &str, placeholder: &json::Placeholder) -> Option<u64> {
    json.get(placeholder.number.clone()?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_in_use_are_reported_once_each() {
        let text = r#"{"a":{"_placeholder":true,"num":2},"b":[{"num":0,"_placeholder":true},{"_placeholder":true,"num":2}]}"#;
        assert_eq!(check(text, 3), Ok(vec![0, 2]));
        assert_eq!(check(r#"["plain",{"num":5},{"_placeholder":false,"num":9}]"#, 0), Ok(vec![]));
    }

    #[test]
    fn a_placeholder_that_points_nowhere_is_refused() {
        let text = r#"[{"_placeholder":true,"num":7}]"#;
        assert_eq!(check(text, 7), Err(PlaceholderError::OutOfRange { number: 7, attachments: 7 }));
        assert_eq!(check(text, 0), Err(PlaceholderError::OutOfRange { number: 7, attachments: 0 }));
        assert_eq!(check(text, 8), Ok(vec![7]));
    }

    #[test]
    fn what_some_client_may_take_for_a_placeholder_is_refused() {
        for text in [
            r#"{"_placeholder":true}"#,
            r#"{"_placeholder":true,"num":"0"}"#,
            r#"{"_placeholder":true,"num":-1}"#,
            r#"{"_placeholder":true,"num":0.5}"#,
            r#"{"_placeholder":true,"num":0e0}"#,
            r#"{"_placeholder":true,"num":[0]}"#,
            r#"{"_placeholder":true,"num":{"_placeholder":true,"num":0}}"#,
            r#"{"_placeholder":1,"num":0}"#,
            r#"{"_placeholder":"x","num":0}"#,
            r#"{"_placeholder":[true],"num":0}"#,
            r#"{"_placeholder":true,"_placeholder":false,"num":0}"#,
            r#"{"_placeholder":false,"_placeholder":true,"num":0}"#,
            r#"{"_placeholder":true,"num":0,"num":0}"#,
            r#"{"\u005fplaceholder":true,"num":"x"}"#,
            r#"{"_placeholder":true,"num":99999999999999999999999}"#,
        ] {
            assert_eq!(check(text, 1), Err(PlaceholderError::Unclear), "{text}");
        }
        assert_eq!(check(r#"{"\u005fplaceholder":true,"n\u0075m":0}"#, 1), Ok(vec![0]));
    }

    #[test]
    fn renumbering_leaves_every_other_byte_untouched() {
        let text = r#" { "num" : 9, "x" : [ {"_placeholder":true, "num": 0 } , {"num":10,"_placeholder" : true}, 1.50 ] } "#;
        let shifted = r#" { "num" : 9, "x" : [ {"_placeholder":true, "num": 3 } , {"num":13,"_placeholder" : true}, 1.50 ] } "#;
        assert_eq!(renumber(text, |number| number + 3).as_deref(), Ok(shifted));
        assert_eq!(renumber("[1]", |number| number + 3).as_deref(), Ok("[1]"));
        let nested = r#"{"_placeholder":true,"x":{"_placeholder":true,"num":1},"num":0}"#;
        assert_eq!(
            renumber(nested, |number| number + 1).as_deref(),
            Ok(r#"{"_placeholder":true,"x":{"_placeholder":true,"num":2},"num":1}"#)
        );
    }
}
