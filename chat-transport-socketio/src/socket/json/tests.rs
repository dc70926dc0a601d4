use proptest::prelude::*;

use super::*;

fn elements(text: &str) -> Vec<&str> {
    arguments(text).unwrap().elements.into_iter().map(|range| &text[range]).collect()
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
    assert_eq!(arguments(&text), Err(JsonError::TooMany));
    assert!(outline(&text).is_ok(), "content may have any number of elements");
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
        let found = arguments(&text).unwrap();
        prop_assert_eq!(outline(&text).unwrap().placeholders, found.placeholders.clone());
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
        drop(arguments(&text));
    }
}
