//! The outline of a JSON text, without taking it apart: where its top-level elements are and which placeholders it holds.
//!
//! Content is stored and passed on as it was received, byte for byte, so it is checked here, once and fully: a text that is not JSON
//! would break every client it is sent to. No recursion, no copy.

use std::ops::Range;

/// Levels of nesting that are passed on. The parsers of some clients give up, or overflow their stack, near a thousand.
pub const DEPTH_MAX: usize = 512;
/// Arguments of one event or ack.
pub const ELEMENTS_MAX: usize = 1024;

/// What was found in a JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The elements of the array that the text is; empty if it is no array.
    pub(crate) elements: Vec<Range<usize>>,
    /// Every object with a `_placeholder`, in order.
    pub(crate) placeholders: Vec<Placeholder>,
    /// The first character that is not white space.
    pub(crate) first: u8,
}

/// An object that clients take for the place of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// Where the digits of its number are; none if it has no number, more than one, or another value than a plain integer there.
    pub(crate) number: Option<Range<usize>>,
}

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON: unexpected character at byte {at}")]
    Syntax {
        /// Where it went wrong.
        at: usize,
    },
    /// Nested more deeply than [`DEPTH_MAX`].
    #[error("JSON is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    /// More elements in the outermost array than [`ELEMENTS_MAX`].
    #[error("more than {ELEMENTS_MAX} arguments")]
    TooMany,
}

/// Checks `text` and finds its outline.
pub(crate) fn outline(text: &str) -> Result<Outline, JsonError> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, levels: Vec::new(), found: Outline::default() };
    scan.document(text)?;
    Ok(scan.found)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    levels: Vec<Level>,
    found: Outline,
}

enum Level {
    Array,
    Object(Object),
}

/// What is known of an object that is being read.
#[derive(Default)]
struct Object {
    key: Key,
    marked: Mark,
    number: Number,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Key {
    Placeholder,
    Number,
    #[default]
    Other,
}

/// `_placeholder`, as clients see it: some take any true-ish value for true, and the last of several counts or the first.
#[derive(Default, PartialEq, Eq)]
enum Mark {
    #[default]
    Absent,
    /// `false` or `null`.
    No,
    Yes,
    Unclear,
}

#[derive(Default)]
enum Number {
    #[default]
    Absent,
    Plain(Range<usize>),
    Unclear,
}

impl Scan<'_> {
    fn document(&mut self, text: &str) -> Result<(), JsonError> {
        self.space();
        self.found.first = self.peek().unwrap_or_default();
        let mut start = self.at;
        loop {
            // Here a value begins, and `start` is where.
            let opened = match self.peek() {
                Some(b'{') => {
                    self.open(Level::Object(Object::default()))?;
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                        self.close();
                        false
                    } else {
                        self.key(text)?;
                        true
                    }
                }
                Some(b'[') => {
                    self.open(Level::Array)?;
                    if self.peek() == Some(b']') {
                        self.at += 1;
                        self.close();
                        false
                    } else {
                        true
                    }
                }
                _ => {
                    self.scalar()?;
                    false
                }
            };
            if !opened && !self.value_ended(start, text)? {
                return Ok(());
            }
            start = self.at;
        }
    }

    /// After a value: closes what ends here, and goes to the next value. False: the text is at its end.
    fn value_ended(&mut self, mut start: usize, text: &str) -> Result<bool, JsonError> {
        loop {
            self.note(start, text)?;
            self.space();
            match (self.levels.last(), self.peek()) {
                (None, None) => return Ok(false),
                (Some(Level::Array), Some(b',')) => {
                    self.at += 1;
                    self.space();
                    return Ok(true);
                }
                (Some(Level::Object(_)), Some(b',')) => {
                    self.at += 1;
                    self.space();
                    self.key(text)?;
                    return Ok(true);
                }
                (Some(Level::Array), Some(b']')) | (Some(Level::Object(_)), Some(b'}')) => {
                    self.at += 1;
                    self.close();
                    // Where a container began matters only in the outermost array, and was noted there.
                    start = self.at;
                }
                _ => return self.unexpected(),
            }
        }
    }

    fn open(&mut self, level: Level) -> Result<(), JsonError> {
        if DEPTH_MAX <= self.levels.len() {
            return Err(JsonError::TooDeep);
        }
        if let (1, Some(Level::Array)) = (self.levels.len(), self.levels.first()) {
            self.element(self.at..usize::MAX)?;
        }
        self.levels.push(level);
        self.at += 1;
        self.space();
        Ok(())
    }

    fn close(&mut self) {
        if let Some(Level::Object(object)) = self.levels.pop() {
            let number = match (object.marked, object.number) {
                (Mark::Absent | Mark::No, _) => return,
                (Mark::Yes, Number::Plain(digits)) => Some(digits),
                _ => None,
            };
            self.found.placeholders.push(Placeholder { number });
        }
    }

    /// Takes note of the value from `start` to here.
    fn note(&mut self, start: usize, text: &str) -> Result<(), JsonError> {
        let end = self.at;
        let value = text.get(start..end).unwrap_or_default();
        let outermost = self.levels.len() == 1;
        match self.levels.last_mut() {
            Some(Level::Array) if outermost => match self.found.elements.last_mut() {
                Some(element) if element.end == usize::MAX => element.end = end,
                _ => self.element(start..end)?,
            },
            Some(Level::Object(object)) => object.note(start, value),
            _ => {}
        }
        Ok(())
    }

    fn element(&mut self, range: Range<usize>) -> Result<(), JsonError> {
        if ELEMENTS_MAX <= self.found.elements.len() {
            return Err(JsonError::TooMany);
        }
        self.found.elements.push(range);
        Ok(())
    }

    /// `"key" :` and the space behind it.
    fn key(&mut self, text: &str) -> Result<(), JsonError> {
        let start = self.at;
        self.string()?;
        let raw = text.get(start..self.at).unwrap_or_default();
        let key = if raw.contains('\\') {
            match serde_json::from_str::<String>(raw).as_deref() {
                Ok("_placeholder") => Key::Placeholder,
                Ok("num") => Key::Number,
                _ => Key::Other,
            }
        } else {
            match raw {
                r#""_placeholder""# => Key::Placeholder,
                r#""num""# => Key::Number,
                _ => Key::Other,
            }
        };
        if let Some(Level::Object(object)) = self.levels.last_mut() {
            object.key = key;
        }
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.unexpected(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        word.iter().try_for_each(|byte| self.expect(*byte))
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.expect(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            for _ in 0..4 {
                                match self.peek() {
                                    Some(byte) if byte.is_ascii_hexdigit() => self.at += 1,
                                    _ => return self.unexpected(),
                                }
                            }
                        }
                        _ => return self.unexpected(),
                    }
                }
                Some(0x20..) => self.at += 1,
                _ => return self.unexpected(),
            }
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.unexpected();
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return self.unexpected();
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn unexpected<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax { at: self.at })
    }
}

impl Object {
    fn note(&mut self, start: usize, value: &str) {
        match std::mem::take(&mut self.key) {
            Key::Placeholder => {
                self.marked = match (&self.marked, value) {
                    (Mark::Absent, "true") => Mark::Yes,
                    (Mark::Absent | Mark::No, "false" | "null") => Mark::No,
                    _ => Mark::Unclear,
                };
            }
            Key::Number => {
                let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                self.number = match (&self.number, plain) {
                    (Number::Absent, true) => Number::Plain(start..start + value.len()),
                    _ => Number::Unclear,
                };
            }
            Key::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn elements(text: &str) -> Vec<&str> {
        outline(text).unwrap().elements.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn the_elements_of_an_array_are_found_as_they_are_written() {
        assert_eq!(
            elements(r#" [ "a,]" , {"b" : [1, 2]} ,-1.5e+3,[],{}, null ,[[3],4] ] "#),
            [r#""a,]""#, r#"{"b" : [1, 2]}"#, "-1.5e+3", "[]", "{}", "null", "[[3],4]"]
        );
        assert_eq!(elements("[]"), [""; 0]);
        assert_eq!(elements(r#"{"a":[1]}"#), [""; 0]);
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_goes_wrong() {
        for (text, at) in [
            ("", 0),
            ("[1,]", 3),
            ("[1 2]", 3),
            (r#"{"a"}"#, 4),
            (r#"{"a":1,}"#, 7),
            ("[01]", 2),
            ("[1.]", 3),
            ("[tru]", 4),
            (r#"["\x"]"#, 3),
            (r#"["\u12g4"]"#, 6),
            ("[\"a\nb\"]", 3),
            ("[1]x", 3),
            ("[1", 2),
            ("{1:2}", 1),
        ] {
            assert_eq!(outline(text), Err(JsonError::Syntax { at }), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        assert!(outline(&("[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX))).is_ok());
        assert_eq!(outline(&"[".repeat(DEPTH_MAX + 1)), Err(JsonError::TooDeep));
        assert_eq!(outline(&r#"{"a":"#.repeat(200_000)), Err(JsonError::TooDeep));
    }

    #[test]
    fn the_number_of_arguments_is_bounded() {
        let text = format!("[{}0]", "0,".repeat(ELEMENTS_MAX));
        assert_eq!(outline(&text), Err(JsonError::TooMany));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let key = prop_oneof![Just("num".to_owned()), Just("_placeholder".to_owned()), ".{0,4}"];
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<i32>().prop_map(|n| serde_json::Value::from(f64::from(n) / 8.0)),
            ".{0,8}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
                proptest::collection::vec((key.clone(), inner), 0..5)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_json_text_is_accepted_and_its_elements_are_its_own(value in json()) {
            let text = serde_json::to_string_pretty(&value).unwrap();
            let found = outline(&text).unwrap();
            if value.is_array() {
                let read: Vec<serde_json::Value> =
                    found.elements.iter().map(|at| serde_json::from_str(&text[at.clone()]).unwrap()).collect();
                prop_assert_eq!(value, serde_json::Value::Array(read));
            }
        }

        #[test]
        fn it_agrees_with_another_parser_on_what_json_is(text in r#"[\[\]{}",:0-9eE+.truefalsn\\ u-]{0,12}"#) {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(outline(&text).is_ok(), theirs, "{}", text);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            drop(outline(&text));
        }
    }
}
