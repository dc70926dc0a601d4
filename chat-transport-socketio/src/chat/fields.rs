//! The fields of an object that a client sent: each is looked at when it is asked for, and named when it is not what it should be.

use std::collections::BTreeMap;

use chat_core::{Bookmark, InvalidId, Offset, RoomId, Since, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem::Problem;

/// An object's fields, unparsed. Unknown ones do no harm.
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// `what` names the object in the error.
    pub(super) fn parse(what: &str, json: &'a str) -> Result<Self, Problem> {
        match serde_json::from_str(json) {
            Ok(fields) => Ok(Self(fields)),
            Err(_) => Err(Problem::bad_request(format!("{what} must be an object"))),
        }
    }

    /// The JSON text of a field, byte for byte as it came.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get())
    }

    /// As [`Fields::raw`]; a field that is null counts as absent.
    fn present(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|json| *json != "null")
    }

    /// A text, if the field is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        self.parsed(name, "a string")
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, name: &str) -> Result<String, Problem> {
        self.text(name)?.ok_or_else(|| Problem::bad_request(format!("`{name}` is missing")))
    }

    /// A count, if the field is there.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.parsed(name, "a non-negative integer")
    }

    /// How many of something are wanted on a page: `usual` if it is not said, and at most `max`.
    pub(super) fn limit(&self, usual: u32, max: u32) -> Result<u32, Problem> {
        match self.count("limit")? {
            None => Ok(usual),
            Some(0) => Err(Problem::bad_request("`limit` must be at least 1")),
            Some(limit) => Ok(u32::try_from(limit).unwrap_or(u32::MAX).min(max)),
        }
    }

    /// A bare offset, if the field is there.
    pub(super) fn offset(&self, name: &str) -> Result<Option<Offset>, Problem> {
        self.count(name)?.map(|number| offset(name, number)).transpose()
    }

    /// The user that must be there.
    pub(super) fn user(&self) -> Result<UserId, Problem> {
        UserId::new(&self.required_text("user")?).map_err(|invalid| invalid_field("user", &invalid))
    }

    /// Yes or no, which must be said.
    pub(super) fn required_flag(&self, name: &str) -> Result<bool, Problem> {
        let flag = self.parsed(name, "true or false")?;
        flag.ok_or_else(|| Problem::bad_request(format!("`{name}` is missing")))
    }

    /// The room that must be there, by a name that clients may use.
    pub(super) fn room(&self) -> Result<RoomId, Problem> {
        RoomId::from_client(&self.required_text("room")?).map_err(|invalid| invalid_field("room", &invalid))
    }

    /// A room, if the field is there.
    pub(super) fn room_if_any(&self, name: &str) -> Result<Option<RoomId>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        RoomId::from_client(&text).map(Some).map_err(|invalid| invalid_field(name, &invalid))
    }

    /// A `pos` or a bare offset, if the field is there.
    pub(super) fn place(&self, name: &str) -> Result<Option<Since>, Problem> {
        self.present(name).map(|json| place(name, json)).transpose()
    }

    /// Every field, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.get()))
    }

    fn parsed<T: Deserialize<'a>>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let Some(json) = self.present(name) else { return Ok(None) };
        match serde_json::from_str(json) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Problem::bad_request(format!("`{name}` must be {expected}"))),
        }
    }
}

/// What is wrong with a field that is to be a name or an id. Does not repeat it.
pub(super) fn invalid_field(name: &str, invalid: &InvalidId) -> Problem {
    Problem::bad_request(format!("`{name}`: {invalid}"))
}

fn offset(name: &str, number: u64) -> Result<Offset, Problem> {
    let too_large = || Problem::bad_request(format!("`{name}`: an offset is at most {}", Offset::MAX));
    Offset::new(number).ok_or_else(too_large)
}

/// A `pos` as the server gave it, or a bare offset.
pub(super) fn place(name: &str, json: &str) -> Result<Since, Problem> {
    if let Ok(number) = serde_json::from_str::<u64>(json) {
        return offset(name, number).map(Since::Offset);
    }
    let text: Option<String> = serde_json::from_str(json).ok();
    text.and_then(|text| text.parse::<Bookmark>().ok()).map(Since::Bookmark).ok_or_else(|| {
        Problem::bad_request(format!("`{name}` must be a `pos` as the server gave it, or an offset"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Fields<'_> {
        Fields::parse("the request", json).unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    #[test]
    fn a_field_that_is_not_what_it_should_be_is_named() {
        let fields =
            parse(r#"{"room":7,"last":-1,"limit":1.5,"id":"\ud800","after":"x","before":9007199254740992}"#);
        for (problem, message) in [
            (fields.required_text("room").unwrap_err(), "`room` must be a string"),
            (fields.required_text("name").unwrap_err(), "`name` is missing"),
            (fields.text("id").unwrap_err(), "`id` must be a string"),
            (fields.count("last").unwrap_err(), "`last` must be a non-negative integer"),
            (fields.count("limit").unwrap_err(), "`limit` must be a non-negative integer"),
            (
                fields.place("after").unwrap_err(),
                "`after` must be a `pos` as the server gave it, or an offset",
            ),
            (fields.place("before").unwrap_err(), "`before`: an offset is at most 9007199254740991"),
        ] {
            assert_eq!(problem, Problem::bad_request(message));
        }
    }

    #[test]
    fn anything_but_an_object_is_refused() {
        for json in ["null", "[]", "1", "\"x\"", "true", r#"{"\ud800":1}"#] {
            assert_eq!(
                Fields::parse("the request", json).err(),
                Some(Problem::bad_request("the request must be an object")),
                "{json}"
            );
        }
    }

    #[test]
    fn null_counts_as_absent_where_a_field_may_be_absent() {
        let fields = parse(r#"{"after":null,"last":null,"name":null}"#);
        assert_eq!(fields.place("after"), Ok(None));
        assert_eq!(fields.count("last"), Ok(None));
        assert_eq!(fields.text("name"), Ok(None));
        assert_eq!(fields.raw("name"), Some("null"));
    }

    #[test]
    fn raw_text_is_byte_for_byte_what_came() {
        let fields = parse("{ \"content\" : {\"a\" :\t1.50, \"\\u0061\":\"\\ud800\"} , \"room\":\"x\"}");
        assert_eq!(fields.raw("content"), Some("{\"a\" :\t1.50, \"\\u0061\":\"\\ud800\"}"));
    }

    #[test]
    fn a_place_is_a_position_or_an_offset() {
        let fields = parse(r#"{"a":17,"b":"a1.17.ff","c":"17"}"#);
        assert_eq!(fields.place("a"), Ok(Some(Since::Offset(Offset::new(17).unwrap()))));
        assert_eq!(fields.place("b"), Ok(Some(Since::Bookmark("a1.17.ff".parse().unwrap()))));
        assert!(fields.place("c").is_err());
    }
}
