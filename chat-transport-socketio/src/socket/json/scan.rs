//! One walk over a JSON text: its nesting, its top-level elements, its objects. What a single token is: `token.rs`.

use std::ops::Range;

use super::object::{Key, Object};
use super::{DEPTH_MAX, JsonError, Outline};

pub(super) struct Scan<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    elements_max: usize,
    levels: Vec<Level>,
    found: Outline,
}

enum Level {
    Array,
    Object(Object),
}

impl<'a> Scan<'a> {
    /// At most `elements_max` elements are found, and more are refused; with 0, they are not looked for.
    pub(super) fn new(text: &'a str, elements_max: usize) -> Self {
        Self { bytes: text.as_bytes(), at: 0, elements_max, levels: Vec::new(), found: Outline::default() }
    }

    /// The outline of `text`, which is the one to be scanned.
    pub(super) fn outline(mut self, text: &str) -> Result<Outline, JsonError> {
        self.document(text)?;
        Ok(self.found)
    }

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
            self.found.placeholders.extend(object.placeholder());
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
        if self.elements_max == 0 {
            return Ok(());
        }
        if self.elements_max <= self.found.elements.len() {
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
}
